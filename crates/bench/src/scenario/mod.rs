//! Turns the command line into a plan: chooses what is specific to a scenario and checks every limit.

use std::time::Duration;

use anyhow::ensure;

use super::arguments::{Common, MessageArguments, Scenario, TargetArguments, Traffic};
use super::inflate::OFFER;
use super::mark::{MARK_BYTES, MAX_PUBLISHERS};
use super::plan::{Plan, Receivers, Workload};
use super::process;
use super::schedule::Pace;
use super::target::Target;
use super::tls::Trust;
use super::wire::{BINARY, TEXT};

mod protocol;

/// Handshakes at the same time, by default in all scenarios but `storm`.
const CONCURRENCY: usize = 200;
/// File descriptors besides the connections: the poller, files, the server's log, and what the server itself keeps.
const SPARE_DESCRIPTORS: usize = 128;
/// Share of the ports of one address that a run may use: other programs need some, and used ports stay in TIME_WAIT.
const PORT_SHARE: f64 = 0.8;
/// Longest duration of any option, in seconds: a run with a typing error must end.
const MAX_DURATION_S: f64 = 86_400.0;
/// Most messages per second: at a higher rate the loop would only publish.
const MAX_RATE: f64 = 10e6;
/// Shortest measured time of a ramp, in seconds.
const MIN_RAMP_S: f64 = 2.0;
/// Number of storms by default.
const STORMS: usize = 3;
/// Largest payload in bytes.
const MAX_SIZE: usize = 16 << 20;

/// The part of a plan that depends on the scenario.
struct Profile {
    name: &'static str,
    workload: Workload,
    connections: usize,
    rooms: usize,
    publishers: usize,
    receivers: Receivers,
    in_flight: usize,
    traffic: Option<Traffic>,
}

impl Profile {
    fn of(scenario: &Scenario) -> anyhow::Result<Self> {
        let usual = if matches!(scenario, Scenario::Echo(_)) { 100 } else { 1_000 };
        let connections = scenario.common().connections.unwrap_or(usual);
        let one_room = |name, workload| Self {
            name,
            workload,
            connections,
            rooms: 1,
            publishers: 1,
            receivers: Receivers::Room,
            in_flight: 1,
            traffic: None,
        };
        let busy = |name, stalled, traffic: &Traffic, in_flight| Self {
            in_flight: traffic.in_flight.unwrap_or(in_flight),
            traffic: Some(traffic.clone()),
            ..one_room(name, Workload::Traffic { stalled })
        };
        Ok(match scenario {
            Scenario::Fanout(it) => Self { publishers: it.publishers, ..busy("fanout", 0, &it.traffic, 32) },
            Scenario::Rooms(it) => Self {
                rooms: it.rooms,
                publishers: it.publishers.unwrap_or(it.rooms),
                ..busy("rooms", 0, &it.traffic, 1)
            },
            Scenario::Connect(_) => one_room("connect", Workload::Connect),
            Scenario::Idle(it) => one_room("idle", Workload::Idle(seconds("--hold", it.hold)?)),
            Scenario::Slow(it) => {
                ensure!(
                    (0.0..100.0).contains(&it.stall),
                    "--stall {}: must be from 0 to below 100 percent",
                    it.stall
                );
                let stalled = (connections as f64 * it.stall / 100.0).round() as usize;
                let readers = connections - stalled;
                ensure!(
                    it.publishers <= readers,
                    "--stall {}: leaves {readers} reading connections, fewer than --publishers {}",
                    it.stall,
                    it.publishers
                );
                Self { publishers: it.publishers, ..busy("slow", stalled, &it.traffic, 8) }
            }
            Scenario::Storm(it) => one_room("storm", Workload::Storm(it.common.rounds.unwrap_or(STORMS))),
            Scenario::Echo(it) => Self {
                publishers: connections,
                receivers: Receivers::Publisher,
                ..busy("echo", 0, &it.traffic, 1)
            },
        })
    }

    fn check(&self) -> anyhow::Result<()> {
        let Self { connections, rooms, publishers, .. } = *self;
        ensure!(connections >= 1, "--connections {connections}: must be at least 1");
        ensure!(
            (1..=connections).contains(&rooms),
            "--rooms {rooms}: must be from 1 to {connections}, the number of connections"
        );
        ensure!(
            (1..=connections).contains(&publishers),
            "--publishers {publishers}: must be from 1 to {connections}, the number of connections"
        );
        ensure!(
            publishers <= MAX_PUBLISHERS,
            "{publishers} publishers: at most {MAX_PUBLISHERS} are possible"
        );
        ensure!(
            (1..=65_536).contains(&self.in_flight),
            "--in-flight {}: must be from 1 to 65536",
            self.in_flight
        );
        Ok(())
    }
}

fn seconds(flag: &str, value: f64) -> anyhow::Result<Duration> {
    ensure!(
        (0.0..=MAX_DURATION_S).contains(&value),
        "{flag} {value}: must be from 0 to {MAX_DURATION_S} seconds"
    );
    Ok(Duration::from_secs_f64(value))
}

/// Returns the URL of a server that is started for a run and listens on `port`. It speaks TLS if its settings name a
/// certificate and no other address for TLS.
pub(super) fn server_url(scenario: &Scenario, port: u16) -> String {
    let path = if matches!(scenario, Scenario::Echo(_)) { "/ws?raw" } else { "/ws/chat/u{i}?room=bench-{r}" };
    let has = |key: &str| {
        let mut keys = scenario.common().target.set.iter().filter_map(|setting| setting.split_once('='));
        keys.any(|(name, _)| name.trim() == key)
    };
    // Certificates for tests are for `localhost` more often than for an address.
    let scheme_and_host =
        if has("tls.cert_file") && !has("tls.listen") { "wss://localhost" } else { "ws://127.0.0.1" };
    format!("{scheme_and_host}:{port}{path}")
}

/// Returns what the clients of the server at `url` trust. Of several servers, some may speak TLS and others not: what
/// the command line says about certificates is for the former alone.
fn trust<'a>(target: &'a TargetArguments, url: &str) -> Trust<'a> {
    let has_secure = target.url.iter().any(|other| other.url.starts_with("wss://"));
    match &target.ca {
        _ if has_secure && url.starts_with("ws://") => Trust::System,
        Some(path) => Trust::File(path),
        None if target.insecure => Trust::Any,
        None => Trust::System,
    }
}

/// Returns the settings of a server that is started for a run: no limit of it may influence the measurement. Settings
/// of the command line come last and win.
pub(super) fn server_settings(scenario: &Scenario) -> anyhow::Result<Vec<String>> {
    let (common, connections) = (scenario.common(), Profile::of(scenario)?.connections);
    let characters = (common.message.size * 2).max(500);
    let bytes = (characters + 1_024).max(64 << 10);
    let defaults = [
        "log.level=info".into(),
        // The server's default reserves connections for handshakes, which are counted here. In a storm, new
        // connections overlap with the old ones.
        format!("limits.max_connections={}", 2 * connections + SPARE_DESCRIPTORS),
        "rate_limit.enabled=false".into(),
        format!("chat.max_message_chars={characters}"),
        format!("limits.max_message_bytes={bytes}B"),
        format!("compression.enabled={}", common.target.compression),
    ];
    Ok(defaults.into_iter().chain(common.target.set.iter().cloned()).collect())
}

/// Returns the plan of a scenario against the server at `url`.
///
/// # Errors
/// A value is out of its range, or the machine's limits do not allow so many connections; the error names the option
/// or limit and what to do.
pub(super) fn plan(scenario: &Scenario, url: &str, pid: Option<u32>) -> anyhow::Result<Plan> {
    let profile = Profile::of(scenario)?;
    profile.check()?;
    let Common { target, message, .. } = scenario.common();
    let protocol = protocol::chosen(scenario)?;
    let url = &protocol.complete(url);
    let client = protocol::client(scenario, protocol, url)?;
    let template = message.template.clone().unwrap_or_else(|| client.template());
    let mark = check_message(message, &template)?;
    let usual =
        if matches!(profile.workload, Workload::Storm(_)) { profile.connections } else { CONCURRENCY };
    let concurrency = target.concurrency.unwrap_or(usual);
    ensure!(concurrency >= 1, "--concurrency 0: must be at least 1");
    if let Workload::Storm(rounds) = profile.workload {
        ensure!((1..=1_000).contains(&rounds), "--rounds {rounds}: must be from 1 to 1000");
    }
    let traffic = profile.traffic.as_ref();
    let measured = traffic.map_or(Ok(Duration::ZERO), |it| seconds("--seconds", it.seconds))?;
    ensure!(
        traffic.is_none() || measured >= Duration::from_millis(100),
        "--seconds {}: must be at least 0.1",
        measured.as_secs_f64()
    );
    let receivers = protocol::receivers(scenario, protocol, &profile)?;
    ensure!(
        !message.binary || !protocol.has_join(),
        "--binary: the messages of this protocol are text, or use --protocol plain"
    );
    let (settle, compression, trust) = (target.settle, target.compression, trust(target, url));
    let offer = compression.then(|| OFFER.to_owned());
    let headers: Vec<_> = target.header.iter().cloned().chain(offer).collect();
    let target = Target::parse(url, &headers, trust)?;
    let per_address = (process::ephemeral_ports().unwrap_or(28_232) as f64 * PORT_SHARE) as usize;
    check_machine(profile.connections, &target, per_address)?;
    Ok(Plan {
        scenario: profile.name,
        workload: profile.workload,
        connections: profile.connections,
        rooms: profile.rooms,
        publishers: profile.publishers,
        receivers,
        pace: pace(traffic, profile.in_flight)?,
        size: message.size,
        client,
        template,
        hello: scenario.common().target.hello.clone(),
        opcode: if message.binary { BINARY } else { TEXT },
        compression,
        mark,
        sample: message.sample,
        concurrency,
        settle: seconds("--settle", settle)?,
        per_address,
        warm_up: traffic.map_or(Ok(Duration::ZERO), |it| seconds("--warm-up", it.warm_up))?,
        measured,
        drain: traffic.map_or(Ok(Duration::ZERO), |it| seconds("--drain", it.drain))?,
        target,
        pid,
    })
}

/// Checks the options about messages; returns the byte that begins a mark.
fn check_message(message: &MessageArguments, template: &str) -> anyhow::Result<u8> {
    ensure!(template.matches("%s").count() == 1, "--template {template}: must contain %s exactly once");
    ensure!(
        (MARK_BYTES..=MAX_SIZE).contains(&message.size),
        "--size {}: must be from {MARK_BYTES} to {MAX_SIZE} bytes",
        message.size
    );
    let mark = u8::try_from(message.mark).unwrap_or(0);
    ensure!(
        mark.is_ascii_punctuation(),
        "--mark {}: must be one character of ASCII punctuation",
        message.mark
    );
    ensure!(
        !template.contains(message.mark),
        "--mark {}: must not be in --template {template}",
        message.mark
    );
    ensure!(message.sample >= 1, "--sample 0: must be at least 1");
    Ok(mark)
}

fn pace(traffic: Option<&Traffic>, in_flight: usize) -> anyhow::Result<Pace> {
    if let Some((ramp, traffic)) = traffic.and_then(|it| it.ramp.zip(Some(it))) {
        ensure!(ramp.to <= MAX_RATE, "--ramp {}..{}: must be at most {MAX_RATE}", ramp.from, ramp.to);
        ensure!(
            traffic.seconds >= MIN_RAMP_S,
            "--ramp: needs --seconds of at least {MIN_RAMP_S}, because latency is shown for each second"
        );
        return Ok(Pace::Ramp(ramp));
    }
    let Some(rate) = traffic.and_then(|it| it.rate) else { return Ok(Pace::InFlight(in_flight)) };
    ensure!(rate > 0.0 && rate <= MAX_RATE, "--rate {rate}: must be above 0 and at most {MAX_RATE}");
    Ok(Pace::PerSecond(rate))
}

fn check_machine(connections: usize, target: &Target, per_address: usize) -> anyhow::Result<()> {
    let (needed, limit) = (connections + SPARE_DESCRIPTORS, process::descriptors().unwrap_or(usize::MAX));
    ensure!(
        needed <= limit,
        "{connections} connections need {needed} file descriptors and the limit is {limit}: raise it with \
         `ulimit -n {needed}`, or use --connections {}",
        limit.saturating_sub(SPARE_DESCRIPTORS),
    );
    let most = target.most_connections(per_address);
    ensure!(
        connections <= most,
        "{connections} connections to one address need as many local ports, and {most} are available: \
         widen net.ipv4.ip_local_port_range, or use --connections {most}"
    );
    Ok(())
}

#[cfg(test)]
mod tests;
