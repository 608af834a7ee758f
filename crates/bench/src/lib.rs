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
//!   condition.rs   conditions under which a run counts as failed (`--fail-if`)
//!   progress.rs    the progress line on the terminal
//!   table.rs       the report as rows for people
//!   plot.rs        line plots as SVG
//!   page.rs        the report as HTML
//! ```

#![forbid(unsafe_code)]

mod arguments;
mod condition;
mod connection;
mod counters;
mod counting;
mod driver;
mod environment;
mod event_loop;
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
mod report;
mod sampler;
mod scenario;
mod schedule;
mod shared;
mod spawn;
mod table;
mod target;
mod texts;
mod tls;
mod units;
mod wire;

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;

pub use self::arguments::Arguments;
use self::arguments::Output;
pub use self::counting::Deliveries;
use self::environment::Environment;
use self::progress::Progress;
use self::report::Report;

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

/// Runs a scenario and writes its report: a table to standard output, and the files that the arguments ask for.
///
/// # Errors
/// [`Failure`] lists them.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let scenario = &arguments.scenario;
    let common = scenario.common();
    let target = &common.target;
    // Checks the arguments before a server is started. Its port is not known yet and does not matter for the checks.
    let placeholder = scenario::server_url(scenario, 9);
    scenario::plan(scenario, target.url.as_ref().unwrap_or(&placeholder), None).map_err(Failure::Usage)?;
    let server = match target.url {
        Some(_) => None,
        None => {
            let options = spawn::Options {
                prefix: target.server_prefix.as_deref().unwrap_or_default(),
                workers: target.workers,
                settings: scenario::server_settings(scenario).map_err(Failure::Usage)?,
            };
            Some(spawn::Server::start(&options).map_err(Failure::Broken)?)
        }
    };
    let url = match (&server, &target.url) {
        (Some(server), _) => scenario::server_url(scenario, server.address.port()),
        (None, url) => url.clone().unwrap_or_default(),
    };
    let pid = server.as_ref().map(spawn::Server::pid).or(target.pid);
    let plan = scenario::plan(scenario, &url, pid).map_err(Failure::Usage)?;
    let mut progress = Progress::new(!common.output.quiet);
    let environment = Environment::now();
    let outcome = driver::run(&plan, &mut progress).map_err(Failure::Broken)?;
    drop(server);
    let report = Report::new(&plan, environment, outcome);
    write(&report, &common.output).map_err(Failure::Broken)?;
    let mut failures = report.failures();
    failures.extend(common.output.fail_if.iter().filter_map(|condition| condition.failure(&report)));
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Failure::Unwell(anyhow::anyhow!("{}", failures.join("; "))))
    }
}

fn write(report: &Report, output: &Output) -> anyhow::Result<()> {
    let json = || simd_json::serde::to_string(report).context("cannot write the result as JSON");
    let mut stdout = std::io::stdout().lock();
    match output.json.as_deref() {
        Some(path) if path == Path::new("-") => writeln!(stdout, "{}", json()?)?,
        path => {
            write!(stdout, "{}", table::text(&report.rows()))?;
            if let Some(path) = path {
                save(path, &format!("{}\n", json()?))?;
            }
        }
    }
    output.report.as_deref().map_or(Ok(()), |path| save(path, &page::html(report)))
}

fn save(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
