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
/// Longest time for the whole page of `/metrics`: shorter than [`INTERVAL`], so that the next sample is not late.
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
    loop {
        // The request comes last, because it can take a while: the time is that of the other values.
        let at = start.elapsed();
        let cores = pid.and_then(process::cpu).and_then(|cpu| usage.cores(at, cpu));
        let resident_kib = pid.and_then(process::resident_kib);
        let queue_bytes = if has_metrics { server.queue_bytes() } else { None };
        // A server whose first answer has no such metric is not asked again.
        has_metrics &= !samples.is_empty() || queue_bytes.is_some();
        samples.push(Sample {
            at_s: (at.as_secs_f64() * 100.0).round() / 100.0,
            user_cores: cores.map(|(user, _)| user),
            system_cores: cores.map(|(_, system)| system),
            resident_kib,
            queue_bytes,
        });
        let next = start + next_sample(at, start.elapsed());
        let mut stopped = shared.stopped.lock();
        while !*stopped && !shared.wake.wait_until(&mut stopped, next).timed_out() {}
        if *stopped {
            break;
        }
    }
    samples
}

/// Returns when the sample after the one of `at` is due: at a multiple of [`INTERVAL`] that is not over `now`. It is at
/// least half an interval later, because the system counts CPU time in steps of 10 ms, which are too coarse for less.
fn next_sample(at: Duration, now: Duration) -> Duration {
    let earliest = now.max(at + INTERVAL / 2);
    Duration::from_secs(earliest.as_secs() / INTERVAL.as_secs() * INTERVAL.as_secs()) + INTERVAL
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
        let end = Instant::now() + TIMEOUT;
        let stream = Timed { stream: TcpStream::connect_timeout(&self.address, TIMEOUT)?, end };
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

/// A stream that fails once its time is over. A timeout of the system is for each call alone, so that a server that
/// sends one byte after the other would never reach it.
struct Timed {
    stream: TcpStream,
    end: Instant,
}

impl Timed {
    /// Returns the time that is left.
    fn left(&self) -> std::io::Result<Option<Duration>> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(std::io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
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
    fn a_late_sample_is_left_out_and_the_next_is_on_time() {
        let next = |at, now| next_sample(Duration::from_millis(at), Duration::from_millis(now)).as_millis();
        assert_eq!([next(0, 5), next(1_000, 1_900), next(1_001, 2_000)], [1_000, 2_000, 3_000]);
        assert_eq!([next(1_000, 4_200), next(1_990, 1_995)], [5_000, 3_000], "not at once");
    }

    #[test]
    fn one_deadline_holds_for_a_page_that_comes_byte_by_byte() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let server = Metrics { address: listener.local_addr().expect("an address"), tls: None };
        let page = std::thread::spawn(move || server.page());
        let (mut stream, _) = listener.accept().expect("a client");
        // It ends, so that a client without a deadline gets a page. One that leaves ends it earlier.
        for _ in 0..40 {
            if stream.write_all(b"#").is_err() {
                break;
            }
            std::thread::sleep(TIMEOUT / 20);
        }
        drop(stream);
        let kind = page.join().expect("no panic").map_err(|error| error.kind());
        let is_late = matches!(kind, Err(std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock));
        assert!(is_late, "{kind:?}");
    }

    #[test]
    fn a_gauge_is_found_by_its_whole_name() {
        let page = "# TYPE throng_queue_bytes gauge\nthrong_queue_bytes_max 7\nthrong_queue_bytes 1024\n";
        assert_eq!(gauge(page, "throng_queue_bytes"), Some(1024));
        assert_eq!(gauge("HTTP/1.1 404 Not Found\r\n\r\n", "throng_queue_bytes"), None);
    }
}
