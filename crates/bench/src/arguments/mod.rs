//! The command line of `throng bench`: one subcommand for each scenario and one that compares results. The values of a
//! scenario are checked in `scenario`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

pub(super) use self::common::{Common, MessageArguments, Output, TargetArguments, Traffic};

use super::units::seconds;

mod common;
mod protocol;

/// Load a WebSocket server and measure it.
///
/// Without --url, this binary is started as the server for the run, on a free port and without a rate limit. Each
/// message carries a mark (#, publisher, time), so that any server that relays text can be measured.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(flatten)]
    Run(Box<Scenario>),
    /// Compare the results of runs, from files that --json wrote
    Compare(Compare),
}

#[derive(Debug, Args)]
pub(super) struct Compare {
    /// Results to compare, at least two; the others are compared with the first
    #[arg(value_name = "FILE", required = true, num_args = 2..)]
    pub(super) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) output: Output,
}

const AFTER_HELP: &str = "\
Examples:
  throng bench fanout --duration 10s --report fanout.html
  throng bench echo --connections 50 --rate 20000 --url ws://127.0.0.1:9001/ --json -
  throng bench rooms --url 'ws://127.0.0.1:8080/ws/chat/u{i}?room={r}' --template '{\"message\":\"%s\"}'
  throng bench connect --url 'wss://localhost:8443/ws/chat/u{i}' --ca ca.pem
  throng bench fanout --protocol socketio --url ws://127.0.0.1:3000 --template '42[\"chat\",\"%s\"]'
  throng bench echo --rounds 7 --url old=ws://127.0.0.1:9001/ --url new=ws://127.0.0.1:9002/ --report echo.html
  throng bench compare before.json after.json --report comparison.html
  taskset -c 1 throng bench fanout --server-prefix 'taskset -c 0' --workers 1

Exit codes: 0 success, 1 messages are missing, connections failed, or a condition of --fail-if holds, 64 wrong usage,
70 internal error.";

#[derive(Debug, Subcommand)]
pub(super) enum Scenario {
    /// One room: a few connections publish and all receive
    Fanout(Fanout),
    /// Many rooms: publishers in each, connections spread evenly over the rooms
    Rooms(Rooms),
    /// Handshakes per second
    Connect(Common),
    /// Memory per idle connection
    Idle(Idle),
    /// Slow consumers: some connections stop reading; measures the effect on the others
    Slow(Slow),
    /// Reconnect storm: all connections are reset and reconnect at once
    Storm(Storm),
    /// Latency of an echo: each connection sends and receives its own messages
    Echo(Echo),
}

#[derive(Debug, Args)]
pub(super) struct Fanout {
    /// Number of connections that publish, counted from the first
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) publishers: usize,
    #[command(flatten)]
    pub(super) traffic: Traffic,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Rooms {
    /// Number of rooms; {r} in the URL stands for a connection's room
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(super) rooms: usize,
    /// Number of connections that publish, counted from the first [default: one in each room]
    #[arg(long, value_name = "N")]
    pub(super) publishers: Option<usize>,
    #[command(flatten)]
    pub(super) traffic: Traffic,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Idle {
    /// Time to stay connected after each connection has sent a ping and received a message
    #[arg(
        long,
        visible_alias = "duration",
        value_name = "SECONDS",
        value_parser = seconds,
        default_value = "5"
    )]
    pub(super) hold: f64,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Slow {
    /// Share of the connections that stop reading, after an equally long measurement in which all of them read
    #[arg(long, value_name = "PERCENT", default_value_t = 10.0)]
    pub(super) stall: f64,
    /// Number of connections that publish, counted from the first
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) publishers: usize,
    #[command(flatten)]
    pub(super) traffic: Traffic,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Storm {
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Echo {
    #[command(flatten)]
    pub(super) traffic: Traffic,
    #[command(flatten)]
    pub(super) common: Common,
}

impl Scenario {
    /// Returns the options that every scenario has.
    pub(super) fn common(&self) -> &Common {
        match self {
            Self::Fanout(it) => &it.common,
            Self::Rooms(it) => &it.common,
            Self::Connect(common) => common,
            Self::Idle(it) => &it.common,
            Self::Slow(it) => &it.common,
            Self::Storm(it) => &it.common,
            Self::Echo(it) => &it.common,
        }
    }
}
