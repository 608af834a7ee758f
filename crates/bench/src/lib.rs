//! `throng bench`: a load generator for any WebSocket server.
//!
//! It runs on one thread with its own poller and without an async runtime. Connections that are not sampled only count
//! marks in raw bytes, so that one core keeps up with a server that delivers millions of messages per second on
//! another. The load generator knows the server over the wire alone: this crate depends on no other crate of throng,
//! because a fault in shared code would stay unnoticed.
//!
//! ```text
//! arguments ─► scenario ─► plan ─► driver: connect ─► warm-up ─► measured time ─► drain ─► outcome ─► report
//!                                    └► event_loop: connections · pacer · sampler (a thread: CPU time, memory, queues)
//! ```
//!
//! ```text
//! src/
//!   lib.rs         a run from its arguments to its report
//!   arguments/     the command line of each scenario; common (options of several scenarios), protocol (its options)
//!   candidates.rs  the servers that one run loads in turn
//!   rounds.rs      runs a scenario once, or in rounds over several servers
//!   scenario/      makes a plan of the command line and checks every limit; protocol (its choices), tests
//!   plan.rs        the plan of a run: every choice made
//!   target.rs      the URL with placeholders, the handshake request and the check of its response
//!   spawn.rs       starts a server for the run
//!   driver/        the phases of a run: connect, warm-up, measured time, drain; traffic (scenarios that publish)
//!   event_loop.rs  all connections and their poller
//!   connection/    one connection; joining (the protocol's join, and texts that are no deliveries), stalling (clients
//!                  that stop reading)
//!   units.rs       numbers with a unit
//!   tls/           TLS for wss://: the certificates that are trusted; session (the stream of one connection)
//!   wire/          WebSocket frames; tests
//!   inflate.rs     decompresses what a server sends compressed
//!   counting.rs    counts deliveries in received bytes
//!   texts.rs       collects texts without a mark
//!   protocol/      how a client joins and stays alive: socketio, centrifugo, phoenix, pusher
//!   heartbeats.rs  when clients send heartbeats of their own
//!   mark.rs        the mark in a published message
//!   message.rs     builds published messages
//!   ramp.rs        rates that rise through the measured time, and what the report says about them
//!   schedule.rs    when messages are due in an open loop
//!   pacer.rs       publishes messages at the pace of the plan
//!   shared.rs      the state that all connections share
//!   counters.rs    the counters of a run, and the texts that explain failures
//!   latency.rs     latency histograms
//!   sampler.rs     samples the server's CPU time, memory and queues once a second
//!   process.rs     reads `/proc`
//!   environment.rs version, time, machine and command line of a run
//!   outcome.rs     the raw results of a run
//!   report.rs      the report as JSON, and the failures in it
//!   results.rs     writes results to standard output and files
//!   figure.rs      the main figures of a report
//!   condition.rs   conditions under which a run counts as failed (`--fail-if`)
//!   format.rs      formats numbers, times and rows for people
//!   progress.rs    the progress line on the terminal
//!   table.rs       the report as rows for people
//!   plot.rs        line plots as SVG
//!   curves.rs      the curves of a report
//!   page.rs        the report as HTML
//!   comparison/    compares servers over several rounds: its table and page; bars (with whiskers, as SVG),
//!                  differences (between the runs), files (results that are read again); tests
//!   statistics/    medians and confidence intervals of few rounds; student (Student's t-distribution)
//! ```

#![forbid(unsafe_code)]

mod arguments;
mod candidates;
mod comparison;
mod condition;
mod connection;
mod counters;
mod counting;
mod curves;
mod driver;
mod environment;
mod event_loop;
mod figure;
mod format;
mod heartbeats;
mod inflate;
mod latency;
mod mark;
mod message;
mod outcome;
mod pacer;
mod page;
mod plan;
mod plot;
mod process;
mod progress;
mod protocol;
mod ramp;
mod report;
mod results;
mod rounds;
mod sampler;
mod scenario;
mod schedule;
mod shared;
mod spawn;
mod statistics;
mod table;
mod target;
mod texts;
mod tls;
mod units;
mod wire;

pub use self::arguments::Arguments;
use self::arguments::{Command, Output, Scenario};
use self::candidates::candidates;
use self::comparison::{Comparison, Side};
pub use self::counting::Deliveries;
use self::progress::Progress;
use self::rounds::Rounds;

/// The reason why a run failed.
#[derive(Debug)]
pub enum Failure {
    /// The command line is wrong or the machine's limits are too low. Nothing was measured.
    Usage(anyhow::Error),
    /// The run could not be carried out, or its report could not be written.
    Broken(anyhow::Error),
    /// The run was measured, but messages are missing, connections failed, or a condition of `--fail-if` holds. The
    /// error names them.
    Unwell(anyhow::Error),
}

/// Runs a scenario, or compares results, and writes the report: a table to standard output, and the files that the
/// arguments ask for.
///
/// # Errors
/// [`Failure`] lists them.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Run(scenario) => measure(scenario),
        Command::Compare(it) => {
            compare(comparison::read(&it.files).map_err(Failure::Usage)?, &it.output, false)
        }
    }
}

/// Runs a scenario once, or in rounds.
fn measure(scenario: &Scenario) -> Result<(), Failure> {
    let common = scenario.common();
    let candidates = candidates(&common.target.url, &common.target.pid).map_err(Failure::Usage)?;
    let rounds = rounds::count(scenario, &candidates).map_err(Failure::Usage)?;
    rounds::check(scenario, &candidates).map_err(Failure::Usage)?;
    let output = &common.output;
    results::check(output).map_err(Failure::Usage)?;
    let mut progress = Progress::new(!common.quiet);
    if let ([only], 1) = (candidates.as_slice(), rounds) {
        let report = rounds::once(scenario, only, &mut progress)?;
        let page = || page::html(&report);
        results::write(&report, || format::text(&report.rows()), page, output).map_err(Failure::Broken)?;
        let mut failures = report.failures();
        let conditions = output.fail_if.iter();
        failures.extend(conditions.filter_map(|it| it.failure(it.figure.of(&report))));
        return verdict(&failures);
    }
    let Rounds { sides, failure } = rounds::all(scenario, &candidates, rounds, &mut progress);
    match failure {
        None => compare(sides, output, true),
        Some(failure) => Err(keep(sides, failure, output)),
    }
}

/// Writes the comparison of the rounds that were complete before `failure`, which it returns: hours of measuring must
/// not be lost by it.
fn keep(sides: Vec<Side>, failure: Failure, output: &Output) -> Failure {
    if sides.iter().all(|side| side.reports.is_empty()) {
        return failure;
    }
    let (Failure::Usage(error) | Failure::Broken(error) | Failure::Unwell(error)) = failure;
    let mut comparison = Comparison::new(sides);
    comparison.notes.insert(0, format!("The run ended early, and these are its complete rounds: {error:#}"));
    match write_comparison(&comparison, output) {
        Ok(()) => Failure::Broken(error),
        Err(other) => Failure::Broken(error.context(format!("{other:#}, and before that"))),
    }
}

/// Writes a comparison. The failures of its runs are failures here only if these runs were made here.
fn compare(sides: Vec<Side>, output: &Output, is_own: bool) -> Result<(), Failure> {
    let comparison = Comparison::new(sides);
    write_comparison(&comparison, output).map_err(Failure::Broken)?;
    let mut failures = if is_own { comparison.failures() } else { Vec::new() };
    failures.extend(comparison.broken_conditions(&output.fail_if));
    verdict(&failures)
}

fn write_comparison(comparison: &Comparison, output: &Output) -> anyhow::Result<()> {
    let (text, page) = (|| comparison::text(comparison), || comparison::html(comparison));
    results::write(&comparison.document(), text, page, output)
}

fn verdict(failures: &[String]) -> Result<(), Failure> {
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Failure::Unwell(anyhow::anyhow!("{}", failures.join("; "))))
    }
}
