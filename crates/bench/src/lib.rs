//! `throng bench`: the load generator, for anybody's WebSocket server.
//!
//! One thread and its own poller, no async runtime: connections that are not sampled only count marks in raw bytes, so
//! that one core keeps up with a server that delivers millions of messages per second on another. It knows the server
//! over the wire alone, and this crate depends on no other of throng's: shared code would be shared faults.
//!
//! ```text
//! arguments ─► scenario ─► plan ─► driver: connect ─► warm-up ─► measured time ─► drain ─► outcome ─► report
//!                                    └► swarm of connections · pacer · sampler (a thread: memory and queues)
//! ```
//!
//! ```text
//! src/
//!   lib.rs         a run: what is asked for, a server if need be, the result
//!   arguments/     the command line of each scenario; common (what all have)
//!   scenario/      the command line becomes a plan, every limit checked; tests
//!   plan.rs        every choice made
//!   target.rs      a URL with placeholders, and the request of each connection
//!   spawn.rs       a server of one's own
//!   driver/        the phases of a run: connect, warm-up, measured time, drain; traffic
//!   swarm.rs       the connections and their poller
//!   connection/    one connection; stalling (those that stop reading)
//!   wire/          WebSocket frames; tests
//!   counting.rs    deliveries in received bytes
//!   ear.rs         heartbeats are answered, and what is no delivery is remembered
//!   mark.rs        the mark of a message
//!   message.rs     what a publisher sends
//!   schedule.rs    when messages are due
//!   pacer.rs       publishes when it is time to
//!   shared.rs      what all connections of a run share
//!   tally.rs       what is counted, and what went wrong
//!   latency.rs     histograms
//!   sampler.rs     the server's memory and queues, once a second
//!   process.rs     what `/proc` knows
//!   circumstances.rs   version, time, machine and command line
//!   outcome.rs     what was found out
//!   report.rs      the result as JSON, and which of it is bad news
//!   progress.rs    a line on the terminal meanwhile
//!   table.rs       the result as rows for people
//!   plot.rs        line plots as SVG
//!   page.rs        the report as HTML
//! ```

#![forbid(unsafe_code)]

mod arguments;
mod circumstances;
mod connection;
mod counting;
mod driver;
mod ear;
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
mod report;
mod sampler;
mod scenario;
mod schedule;
mod shared;
mod spawn;
mod swarm;
mod table;
mod tally;
mod target;
mod wire;

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;

pub use self::arguments::Arguments;
use self::arguments::Output;
use self::circumstances::Circumstances;
pub use self::counting::Deliveries;
use self::progress::Progress;
use self::report::Report;

/// Why a run did not end well.
#[derive(Debug)]
pub enum Failure {
    /// The command line, or the machine's limits, do not allow it. Nothing was measured.
    Usage(anyhow::Error),
    /// It could not be done, or its result not be written.
    Broken(anyhow::Error),
    /// It was measured, and messages are missing or connections failed; says which.
    Unwell(anyhow::Error),
}

/// Runs a scenario and writes its result: a table to standard output, and what else is asked for.
///
/// # Errors
/// See [`Failure`].
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let scenario = &arguments.scenario;
    let common = scenario.common();
    let target = &common.target;
    // Before a server is started in vain; its port alone is not known yet.
    let placeholder = format!("ws://127.0.0.1:9{}", scenario::own_path(scenario));
    scenario::plan(scenario, target.url.as_ref().unwrap_or(&placeholder), None).map_err(Failure::Usage)?;
    let server = match target.url {
        Some(_) => None,
        None => {
            let options = spawn::Options {
                prefix: target.server_prefix.as_deref().unwrap_or_default(),
                workers: target.workers,
                settings: scenario::own_settings(scenario).map_err(Failure::Usage)?,
            };
            Some(spawn::Server::start(&options).map_err(Failure::Broken)?)
        }
    };
    let url = match (&server, &target.url) {
        (Some(server), _) => format!("ws://{}{}", server.address, scenario::own_path(scenario)),
        (None, url) => url.clone().unwrap_or_default(),
    };
    let pid = server.as_ref().map(spawn::Server::pid).or(target.pid);
    let plan = scenario::plan(scenario, &url, pid).map_err(Failure::Usage)?;
    let mut progress = Progress::new(!common.output.quiet);
    let circumstances = Circumstances::now();
    let outcome = driver::run(&plan, &mut progress).map_err(Failure::Broken)?;
    drop(server);
    let report = Report::new(&plan, circumstances, outcome);
    write(&report, &common.output).map_err(Failure::Broken)?;
    let wrong = report.failures();
    if wrong.is_empty() { Ok(()) } else { Err(Failure::Unwell(anyhow::anyhow!("{}", wrong.join("; ")))) }
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
