//! Samples the server's CPU time, memory and queues once a second, on its own thread so that a slow answer delays no
//! message.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};

use super::process::{self, Cpu};
use super::target::Target;
use super::tls::Tls;

const INTERVAL: Duration = Duration::from_secs(1);
/// Longest wait for `/metrics`: shorter than [`INTERVAL`], so that the next sample is not late.
const TIMEOUT: Duration = Duration::from_millis(800);
/// Largest page of metrics that is read, in bytes.
const MAX_PAGE: u64 = 1 << 20;

/// CPU time, memory and queues of the server at one moment. Values that are not known are left out.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(super) struct Sample {
    /// Seconds since the start of the phase that is sampled, which includes the warm-up.
    pub(super) at_s: f64,
    /// CPU time in user mode since the sample before, in cores. The first sample has none before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_cores: Option<f64>,
    /// CPU time in the kernel since the sample before, in cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) system_cores: Option<f64>,
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
    let mut usage = Usage::default();
    for number in 0u32.. {
        let cores = pid.and_then(process::cpu).and_then(|cpu| usage.cores(start.elapsed(), cpu));
        let queue_bytes = if has_metrics { server.queue_bytes() } else { None };
        // A server whose first answer has no such metric is not asked again.
        has_metrics &= number > 0 || queue_bytes.is_some();
        let at_s = (start.elapsed().as_secs_f64() * 100.0).round() / 100.0;
        samples.push(Sample {
            at_s,
            user_cores: cores.map(|(user, _)| user),
            system_cores: cores.map(|(_, system)| system),
            resident_kib: pid.and_then(process::resident_kib),
            queue_bytes,
        });
        let next = start + INTERVAL * (number + 1);
        let mut stopped = shared.stopped.lock();
        while !*stopped && !shared.wake.wait_until(&mut stopped, next).timed_out() {}
        if *stopped {
            break;
        }
    }
    samples
}

/// The CPU time of the server at the sample before, and when that was read.
#[derive(Debug, Default)]
struct Usage {
    before: Option<(Duration, Cpu)>,
}

impl Usage {
    /// Returns the cores used since the call before, in user mode and in the kernel.
    fn cores(&mut self, at: Duration, cpu: Cpu) -> Option<(f64, f64)> {
        let (before_at, before) = self.before.replace((at, cpu))?;
        let (length, used) = (at.saturating_sub(before_at).as_secs_f64(), cpu.since(before));
        let cores = |used: Duration| (used.as_secs_f64() / length * 1e3).round() / 1e3;
        (length > 0.0).then(|| (cores(used.user), cores(used.system)))
    }
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
    fn cores_are_the_cpu_time_of_each_interval() {
        let (ms, mut usage) = (Duration::from_millis, Usage::default());
        let cpu = |user, system| Cpu { user: ms(user), system: ms(system) };
        assert_eq!(usage.cores(ms(0), cpu(5_000, 900)), None, "there is no interval yet");
        assert_eq!(usage.cores(ms(1_000), cpu(6_500, 1_150)), Some((1.5, 0.25)));
        assert_eq!(usage.cores(ms(3_000), cpu(6_500, 1_350)), Some((0.0, 0.1)), "a late sample");
        assert_eq!(usage.cores(ms(3_000), cpu(6_500, 1_350)), None, "no time has passed");
    }

    #[test]
    fn a_gauge_is_found_by_its_whole_name() {
        let page = "# TYPE throng_queue_bytes gauge\nthrong_queue_bytes_max 7\nthrong_queue_bytes 1024\n";
        assert_eq!(gauge(page, "throng_queue_bytes"), Some(1024));
        assert_eq!(gauge("HTTP/1.1 404 Not Found\r\n\r\n", "throng_queue_bytes"), None);
    }
}
