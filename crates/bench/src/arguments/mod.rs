//! The command line of `throng bench`.

use clap::{Args, Subcommand};

pub(super) use self::common::{Common, Output, Traffic};

mod common;

/// Load a WebSocket server and measure it.
///
/// Without --url a server of its own is started for the run: this binary, on a free port, without a rate limit. Each
/// message carries a mark (#, publisher, time), so that any server which relays text can be measured.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    #[command(subcommand)]
    pub(super) scenario: Scenario,
}

const AFTER_HELP: &str = "\
Examples:
  throng bench fanout --duration 10s --report fanout.html
  throng bench echo --connections 50 --rate 20000 --url ws://127.0.0.1:9001/ --json -
  throng bench rooms --url 'ws://127.0.0.1:8080/ws/chat/u{i}?room={r}' --template '{\"message\":\"%s\"}'
  taskset -c 1 throng bench fanout --server-prefix 'taskset -c 0' --workers 1

Exit codes: 0 all is well, 1 messages are missing or connections failed, 64 wrong usage, 70 internal error.";

#[derive(Debug, Subcommand)]
pub(super) enum Scenario {
    /// One room: everybody receives what few publish
    Fanout(Fanout),
    /// Many rooms with publishers in each; connections are spread evenly over them
    Rooms(Rooms),
    /// Handshakes per second
    Connect(Common),
    /// Memory per connection while nothing happens
    Idle(Idle),
    /// A share of the clients stop reading: what do the others notice?
    Slow(Slow),
    /// Everybody is cut off and comes back at once
    Storm(Storm),
    /// Latency of an echo: everybody sends, and gets back what is its own
    Echo(Echo),
}

#[derive(Debug, Args)]
pub(super) struct Fanout {
    /// The first so many of the connections publish
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) publishers: usize,
    #[command(flatten)]
    pub(super) traffic: Traffic,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Rooms {
    /// Rooms; {r} in the URL is a connection's room
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(super) rooms: usize,
    /// The first so many of the connections publish [default: one in each room]
    #[arg(long, value_name = "N")]
    pub(super) publishers: Option<usize>,
    #[command(flatten)]
    pub(super) traffic: Traffic,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Idle {
    /// How long to stay connected once each has sent a ping and received a message
    #[arg(
        long,
        visible_alias = "duration",
        value_name = "SECONDS",
        value_parser = common::seconds,
        default_value = "5"
    )]
    pub(super) hold: f64,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Slow {
    /// How many of a hundred connections stop reading, after as long a measurement with all of them reading
    #[arg(long, value_name = "PERCENT", default_value_t = 10.0)]
    pub(super) stall: f64,
    /// The first so many of the connections publish
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) publishers: usize,
    #[command(flatten)]
    pub(super) traffic: Traffic,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Storm {
    /// How often
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(super) rounds: usize,
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
    /// What all scenarios have.
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
