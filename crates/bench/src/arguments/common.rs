//! The options that several scenarios share: traffic, target, messages and output.

use std::path::PathBuf;

use clap::Args;

use super::protocol::ProtocolArguments;
use crate::candidates::{NamedPid, NamedUrl};
use crate::condition::Condition;
use crate::ramp::Ramp;
use crate::units::seconds;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Traffic")]
pub(in super::super) struct Traffic {
    /// Closed loop: number of messages that each publisher keeps in flight [default: 1; fanout: 32; slow: 8]
    #[arg(long, value_name = "N", conflicts_with = "rate")]
    pub(in super::super) in_flight: Option<usize>,
    /// Open loop: messages per second over all publishers, sent on schedule even if the server falls behind; latency
    /// counts from the time at which a message was due, so that a server that stalls cannot hide it
    #[arg(long, value_name = "PER_SECOND")]
    pub(in super::super) rate: Option<f64>,
    /// Open loop whose rate rises evenly through the measurement, from one number of messages per second to another;
    /// the warm-up has the lower one
    #[arg(long, value_name = "FROM..TO", conflicts_with_all = ["rate", "in_flight"])]
    pub(in super::super) ramp: Option<Ramp>,
    /// Length of the measurement in seconds, or with a unit (500ms, 5s, 2m), as for every duration here
    #[arg(long, visible_alias = "duration", value_name = "SECONDS", value_parser = seconds, default_value = "5")]
    pub(in super::super) seconds: f64,
    /// Length of the traffic before the measurement
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "1")]
    pub(in super::super) warm_up: f64,
    /// Longest wait at the end for messages that are still in flight
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "5")]
    pub(in super::super) drain: f64,
}

#[derive(Debug, Clone, Args)]
pub(in super::super) struct Common {
    /// Number of connections [default: 1000; echo: 100]
    #[arg(long, short, value_name = "N")]
    pub(in super::super) connections: Option<usize>,
    #[command(flatten)]
    pub(in super::super) target: TargetArguments,
    #[command(flatten)]
    pub(in super::super) protocol: ProtocolArguments,
    #[command(flatten)]
    pub(in super::super) message: MessageArguments,
    /// Repeat the whole run N times for each server, in turn [default: 1]; storm: number of storms [default: 3]
    #[arg(long, value_name = "N")]
    pub(in super::super) rounds: Option<usize>,
    /// Do not show the progress line
    #[arg(long, short, help_heading = "Output")]
    pub(in super::super) quiet: bool,
    #[command(flatten)]
    pub(in super::super) output: Output,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Target")]
pub(in super::super) struct TargetArguments {
    /// URL of the server to load, ws:// or wss://; {i} stands for the connection's number in five digits, {r} for its
    /// room. May be repeated to compare servers, each with a label before it: 'old=ws://127.0.0.1:9001/'
    #[arg(long, value_name = "[LABEL=]URL", conflicts_with = "spawn")]
    pub(in super::super) url: Vec<NamedUrl>,
    /// Start a server for this run; this is also the default without --url
    #[arg(long)]
    pub(in super::super) spawn: bool,
    /// Setting of the started server, as for `throng serve`; may be repeated
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "url")]
    pub(in super::super) set: Vec<String>,
    /// Worker threads of the started server [default: the server's own default]
    #[arg(long, value_name = "N", conflicts_with = "url")]
    pub(in super::super) workers: Option<usize>,
    /// Command that starts the server and is replaced by it, for example `taskset -c 0`
    #[arg(long, value_name = "COMMAND", conflicts_with = "url")]
    pub(in super::super) server_prefix: Option<String>,
    /// Process id of the server, to read its CPU time and memory; not needed for a server that this run starts. Several
    /// are in the order of the URLs, or have the label of one
    #[arg(long, value_name = "[LABEL=]PID", requires = "url")]
    pub(in super::super) pid: Vec<NamedPid>,
    /// Header of the handshake, with {i} and {r} as in the URL; may be repeated
    #[arg(long, value_name = "NAME: VALUE")]
    pub(in super::super) header: Vec<String>,
    /// Trust the certificates in this file (PEM) besides those of the system: for wss:// with a certificate of your own
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub(in super::super) ca: Option<PathBuf>,
    /// Accept any certificate of the server: for wss:// on a machine of your own
    #[arg(long)]
    pub(in super::super) insecure: bool,
    /// Offer permessage-deflate, and publish words instead of one letter; a started server has compression.enabled=true
    #[arg(long)]
    pub(in super::super) compression: bool,
    /// Text that each connection sends once it is open and has joined, with {i} and {r} as in the URL
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(in super::super) hello: String,
    /// Largest number of handshakes at the same time [default: 200; storm: all connections]
    #[arg(long, value_name = "N")]
    pub(in super::super) concurrency: Option<usize>,
    /// Pause after connecting, so that notices and the server's own housekeeping are not measured
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "1.5")]
    pub(in super::super) settle: f64,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Messages")]
pub(in super::super) struct MessageArguments {
    /// Size of a payload in bytes, including its mark of 21 bytes
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    pub(in super::super) size: usize,
    /// Text of a message: %s stands for the payload, %n for its length, {i} and {r} as in the URL [default: that of the
    /// protocol, for throng {"message":"%s"}; echo: %s]
    #[arg(long, value_name = "TEXT")]
    pub(in super::super) template: Option<String>,
    /// Send binary frames instead of text
    #[arg(long)]
    pub(in super::super) binary: bool,
    /// Character that begins a mark: one that the server never sends on its own
    #[arg(long, value_name = "CHARACTER", default_value = "#")]
    pub(in super::super) mark: char,
    /// Besides the publishers, one in N connections measures latency; the others only count deliveries
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(in super::super) sample: usize,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub(in super::super) struct Output {
    /// Write the result as JSON to this file; - prints it to standard output instead of the table
    #[arg(long, value_name = "FILE")]
    pub(in super::super) json: Option<PathBuf>,
    /// Write a report with plots to this HTML file
    #[arg(long, value_name = "FILE")]
    pub(in super::super) report: Option<PathBuf>,
    /// End with code 1 if this holds, for example 'p99>5ms', 'cpu>9us' or 'deliveries<100000'; may be repeated. Of
    /// several rounds, the median counts
    #[arg(long, value_name = "CONDITION")]
    pub(in super::super) fail_if: Vec<Condition>,
}
