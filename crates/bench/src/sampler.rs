//! Samples the server's memory and queues once a second, on its own thread so that a slow answer delays no message.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use serde::Serialize;

use super::process;
use super::target::Target;
use super::tls::Tls;

const INTERVAL: Duration = Duration::from_secs(1);
/// Longest wait for `/metrics`: shorter than [`INTERVAL`], so that the next sample is not late.
const TIMEOUT: Duration = Duration::from_millis(800);
/// Largest page of metrics that is read, in bytes.
const MAX_PAGE: u64 = 1 << 20;

/// Memory and queues of the server at one moment. Values that are not known are left out.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Sample {
    /// Seconds since the start of the measured time.
    pub(super) at_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resident_kib: Option<u64>,
    /// Bytes in the queues of all clients, from the metric `throng_queue_bytes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queue_bytes: Option<u64>,
}

/// The page that has the queues of the server.
struct Metrics {
    address: SocketAddr,
    tls: Option<Tls>,
}

/// A running sampler thread.
#[derive(Debug)]
pub(super) struct Sampler {
    shared: Arc<Shared>,
    thread: JoinHandle<Vec<Sample>>,
}

#[derive(Debug, Default)]
struct Shared {
    stopped: Mutex<bool>,
    wake: Condvar,
}

impl Sampler {
    /// Starts sampling the process `pid` and `/metrics` of `target`.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub(super) fn start(pid: Option<u32>, target: &Target) -> std::io::Result<Self> {
        let server = Metrics { address: target.address, tls: target.tls.clone() };
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("sampler".into())
            .spawn(move || sample(pid, &server, &theirs))?;
        Ok(Self { shared, thread })
    }

    /// Stops the thread and returns its samples, oldest first.
    pub(super) fn finish(self) -> Vec<Sample> {
        *self.shared.stopped.lock() = true;
        self.shared.wake.notify_all();
        self.thread.join().unwrap_or_default()
    }
}

fn sample(pid: Option<u32>, server: &Metrics, shared: &Shared) -> Vec<Sample> {
    let start = Instant::now();
    let mut samples = Vec::new();
    let mut has_metrics = true;
    for number in 0u32.. {
        let queue_bytes = if has_metrics { server.queue_bytes() } else { None };
        // A server whose first answer has no such metric is not asked again.
        has_metrics &= number > 0 || queue_bytes.is_some();
        let at_s = (start.elapsed().as_secs_f64() * 100.0).round() / 100.0;
        samples.push(Sample { at_s, resident_kib: pid.and_then(process::resident_kib), queue_bytes });
        let next = start + INTERVAL * (number + 1);
        let mut stopped = shared.stopped.lock();
        while !*stopped && !shared.wake.wait_until(&mut stopped, next).timed_out() {}
        if *stopped {
            break;
        }
    }
    samples
}

impl Metrics {
    fn queue_bytes(&self) -> Option<u64> {
        gauge(&self.page().ok()?, "throng_queue_bytes")
    }

    fn page(&self) -> std::io::Result<String> {
        let stream = TcpStream::connect_timeout(&self.address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        match &self.tls {
            None => self.ask(stream),
            Some(tls) => self.ask(tls.blocking(stream)?),
        }
    }

    fn ask(&self, mut stream: impl Read + Write) -> std::io::Result<String> {
        let host = self.address;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        let mut page = String::new();
        stream.take(MAX_PAGE).read_to_string(&mut page)?;
        Ok(page)
    }
}

/// Returns the value of the series `name`, which has no labels, in a page of Prometheus text.
fn gauge(page: &str, name: &str) -> Option<u64> {
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    value.trim().parse::<f64>().ok().map(|value| value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_is_found_by_its_whole_name() {
        let page = "# TYPE throng_queue_bytes gauge\nthrong_queue_bytes_max 7\nthrong_queue_bytes 1024\n";
        assert_eq!(gauge(page, "throng_queue_bytes"), Some(1024));
        assert_eq!(gauge("HTTP/1.1 404 Not Found\r\n\r\n", "throng_queue_bytes"), None);
    }
}
