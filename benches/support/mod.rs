//! Shared parts of the benches: settings of criterion, configurations, messages, a shard with clients and a client.

pub(crate) mod clock;
pub(crate) mod crowd;
pub(crate) mod raw;

use std::io;
use std::time::Duration;

use criterion::measurement::Measurement;
use criterion::{Bencher, BenchmarkGroup, Criterion};

use throng::config::{Config, Machine, Sources};
use throng::names::{Epoch, Offset};
use throng::testing::protocol::event;
use throng::testing::protocol::frame::Frame;
use throng::testing::shard::ShardSettings;
use throng::testing::shard::batch::BatchLimits;
use throng::testing::shard::bounds::{Bounds, Overload};
use throng::testing::shard::sink::ByteStream;

/// Returns criterion with settings for short runs: the medians of two undisturbed runs agree within a few per cent, and
/// all benches together take about a minute.
pub(crate) fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .nresamples(2_000)
        .without_plots()
        .configure_from_args()
}

/// Returns whether each bench should run only once, as for `cargo test --benches` and `cargo bench -- --test`.
pub(crate) fn is_check() -> bool {
    let mut arguments = std::env::args();
    let is_bench = arguments.any(|argument| argument == "--bench");
    !is_bench || std::env::args().any(|argument| argument == "--test")
}

/// Returns whether the command line selects the bench `name`. Benches without criterion need it.
pub(crate) fn is_asked_for(name: &str) -> bool {
    let mut words = std::env::args().skip(1).filter(|word| !word.starts_with('-')).peekable();
    words.peek().is_none() || words.any(|word| name.contains(&word))
}

/// Measures work that consists of `parts` equal parts, such as members; the figure is the time of one part.
///
/// `run` does the whole work the given number of times and returns how long it took.
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

/// Returns the settings of a shard in a server with the default configuration, but without a queue budget.
pub(crate) fn settings() -> ShardSettings {
    ShardSettings {
        bounds: Bounds { messages: 1024, bytes: 1024 * 1024, age_ms: 10_000 },
        overload: Overload::Disconnect,
        queue_budget: u64::MAX,
        batch: BatchLimits { bytes: 64 * 1024, frames: 256 },
        compress_from: 256,
        linger: Duration::ZERO,
    }
}

/// Returns the configuration of a server with one worker on a free port of loopback, changed by `settings`.
pub(crate) fn config(settings: &[&str]) -> Config {
    let sources = Sources::new().set("listen=127.0.0.1:0").set("workers=1");
    match Config::load(settings.iter().fold(sources, |sources, setting| sources.set(setting))) {
        Ok(config) => config.resolve(&Machine::read()),
        Err(errors) => panic!("{errors}"),
    }
}

/// Returns the event of a chat message of `len` characters, which is about 120 bytes longer.
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

/// Parses a name that is known to be valid.
pub(crate) fn name<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text} is a valid name"))
}

/// A socket that accepts everything at once.
pub(crate) struct Null;

impl ByteStream for Null {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }
}
