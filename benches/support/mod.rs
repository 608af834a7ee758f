//! What the benches share: how long they run, what they send, and a shard with members whose sockets take everything.

pub(crate) mod clock;
pub(crate) mod crowd;
pub(crate) mod raw;

use std::io;
use std::time::Duration;

use criterion::measurement::Measurement;
use criterion::{Bencher, BenchmarkGroup, Criterion};

use throng::config::{Config, Machine, Sources};
use throng::names::{Epoch, Offset};
use throng::protocol::event;
use throng::protocol::frame::Frame;
use throng::shard::ShardSettings;
use throng::shard::batch::BatchLimits;
use throng::shard::bounds::Bounds;
use throng::shard::bounds::Overload;
use throng::shard::sink::Simulated;

/// Long enough that medians of two quiet runs agree within a few per cent, short enough that all of them together
/// take about a minute.
pub(crate) fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .nresamples(2_000)
        .without_plots()
        .configure_from_args()
}

/// True when everything is to run once, quickly: `cargo test --benches`, or `cargo bench -- --test`.
pub(crate) fn is_check() -> bool {
    let mut arguments = std::env::args();
    let is_bench = arguments.any(|argument| argument == "--bench");
    !is_bench || std::env::args().any(|argument| argument == "--test")
}

/// False when the command line names other benches than this; criterion knows it of its own ones only.
pub(crate) fn is_asked_for(name: &str) -> bool {
    let mut words = std::env::args().skip(1).filter(|word| !word.starts_with('-')).peekable();
    words.peek().is_none() || words.any(|word| name.contains(&word))
}

/// Measures what costs the same for each of `parts` (members, say): the figure is the time of one part.
///
/// `run` does the whole, that many times, and returns how long it took.
pub(crate) fn per_part<M: Measurement<Value = Duration>>(
    group: &mut BenchmarkGroup<'_, M>,
    name: &str,
    parts: usize,
    mut run: impl FnMut(u64) -> Duration,
) {
    group.bench_function(name, |bencher: &mut Bencher<'_, M>| {
        bencher.iter_custom(|iterations| {
            let whole = iterations.div_ceil(parts as u64);
            let took = run(whole);
            took.mul_f64(iterations as f64 / (whole * parts as u64) as f64)
        });
    });
}

/// The fan-out's settings as a server with default configuration has them.
pub(crate) fn settings() -> ShardSettings {
    ShardSettings {
        bounds: Bounds { messages: 1024, bytes: 1024 * 1024, age_ms: 10_000 },
        overload: Overload::Disconnect,
        queue_budget: u64::MAX,
        batch: BatchLimits { bytes: 64 * 1024, frames: 256 },
        linger: Duration::ZERO,
    }
}

/// The configuration of a server on a free port of loopback with one worker, and `settings`.
pub(crate) fn config(settings: &[&str]) -> Config {
    let sources = Sources::new().set("listen=127.0.0.1:0").set("workers=1");
    match Config::load(settings.iter().fold(sources, |sources, setting| sources.set(setting))) {
        Ok(config) => config.resolve(&Machine::read()),
        Err(errors) => panic!("{errors}"),
    }
}

/// A chat message of `len` characters, encoded: about 120 bytes more.
pub(crate) fn message(len: usize) -> Frame {
    let text = "m".repeat(len);
    event::message(
        &name("user-12345"),
        &text,
        &name("lobby"),
        Epoch::random(),
        Offset(123_456),
        1_790_000_000_000,
    )
}

/// A name that is known to be valid.
pub(crate) fn name<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text} is a valid name"))
}

/// Takes everything at once.
pub(crate) struct Null;

impl Simulated for Null {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }
}
