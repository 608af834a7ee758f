//! What several scenarios have in common.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Traffic")]
pub(in super::super) struct Traffic {
    /// Closed loop: messages each publisher keeps under way [default: 1; fanout: 32; slow: 8]
    #[arg(long, value_name = "N", conflicts_with = "rate")]
    pub(in super::super) in_flight: Option<usize>,
    /// Open loop: messages per second over all publishers, sent on schedule whatever comes back; latency counts from
    /// when a message was due, so that a server that stalls cannot hide it
    #[arg(long, value_name = "PER_SECOND")]
    pub(in super::super) rate: Option<f64>,
    /// Measured time: seconds, or with a unit (500ms, 5s, 2m), as for every time here
    #[arg(long, visible_alias = "duration", value_name = "SECONDS", value_parser = seconds, default_value = "5")]
    pub(in super::super) seconds: f64,
    /// Traffic before the measured time
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "1")]
    pub(in super::super) warm_up: f64,
    /// Longest wait for what is under way at the end
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "5")]
    pub(in super::super) drain: f64,
}

#[derive(Debug, Clone, Args)]
pub(in super::super) struct Common {
    /// Connections [default: 1000; echo: 100]
    #[arg(long, short, value_name = "N")]
    pub(in super::super) connections: Option<usize>,
    #[command(flatten)]
    pub(in super::super) target: TargetArguments,
    #[command(flatten)]
    pub(in super::super) message: MessageArguments,
    #[command(flatten)]
    pub(in super::super) output: Output,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Target")]
pub(in super::super) struct TargetArguments {
    /// The server to load: {i} is a connection's number in five digits, {r} its room
    #[arg(long, value_name = "URL", conflicts_with = "spawn")]
    pub(in super::super) url: Option<String>,
    /// Start a server for this run (what happens without --url, too)
    #[arg(long)]
    pub(in super::super) spawn: bool,
    /// Settings of the started server, as for `throng serve`
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "url")]
    pub(in super::super) set: Vec<String>,
    /// Worker threads of the started server [default: its own]
    #[arg(long, value_name = "N", conflicts_with = "url")]
    pub(in super::super) workers: Option<usize>,
    /// A command in front of the started server that becomes it, like `taskset -c 0`
    #[arg(long, value_name = "COMMAND", conflicts_with = "url")]
    pub(in super::super) server_prefix: Option<String>,
    /// The server's process, for its CPU time and memory; known where it is started here
    #[arg(long, value_name = "PID", conflicts_with = "spawn")]
    pub(in super::super) pid: Option<u32>,
    /// A header of the handshake, as often as you like; {i} and {r} as in the URL
    #[arg(long, value_name = "NAME: VALUE")]
    pub(in super::super) header: Vec<String>,
    /// Sent by each connection once it is open; {i} and {r} as in the URL
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(in super::super) hello: String,
    /// Most handshakes under way at once [default: 200; storm: all]
    #[arg(long, value_name = "N")]
    pub(in super::super) concurrency: Option<usize>,
    /// Rest after connecting: notices and the server's own housekeeping are let pass
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "1.5")]
    pub(in super::super) settle: f64,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Messages")]
pub(in super::super) struct MessageArguments {
    /// Bytes of a payload, its mark of 21 included
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    pub(in super::super) size: usize,
    /// A message: %s is the payload, %n its length [default: {"message":"%s"}; echo: %s]
    #[arg(long, value_name = "TEXT")]
    pub(in super::super) template: Option<String>,
    /// Send binary frames instead of text
    #[arg(long)]
    pub(in super::super) binary: bool,
    /// The byte that begins a mark: one that the server puts nowhere else
    #[arg(long, value_name = "CHARACTER", default_value = "#")]
    pub(in super::super) mark: char,
    /// Besides the publishers, every so many connections read times; the others only count
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(in super::super) sample: usize,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub(in super::super) struct Output {
    /// Write the result as JSON to this file; - is standard output, instead of the table
    #[arg(long, value_name = "FILE")]
    pub(in super::super) json: Option<PathBuf>,
    /// Write a report with plots to this HTML file
    #[arg(long, value_name = "FILE")]
    pub(in super::super) report: Option<PathBuf>,
    /// No progress line
    #[arg(long, short)]
    pub(in super::super) quiet: bool,
}

/// Reads a time: a number of seconds, or with one of the units ms, s, m and h.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale = match &text[digits.len()..] {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err("a number of seconds, or one with the unit ms, s, m or h".into()),
    };
    match digits.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value * scale),
        _ => Err("a number of seconds, or one with the unit ms, s, m or h".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn times_may_have_a_unit() {
        let all = ["5", "0.5", "5s", "500ms", "2m", "1h"].map(seconds);
        assert_eq!(all, [5.0, 0.5, 5.0, 0.5, 120.0, 3_600.0].map(Ok));
        for wrong in ["", "s", "5 s", "5d", "inf", "NaN", "1e999", "ms5"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
