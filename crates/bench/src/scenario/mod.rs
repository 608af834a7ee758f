//! From the command line to a plan: each scenario's own part, and every limit checked.

use std::time::Duration;

use anyhow::ensure;

use super::arguments::{Common, Scenario, Traffic};
use super::mark::{MARK_BYTES, MAX_PUBLISHERS};
use super::plan::{Course, Plan, Reach};
use super::process;
use super::schedule::Pace;
use super::target::Target;
use super::wire::{BINARY, TEXT};

/// Handshakes under way at once unless a scenario is about more.
const CONCURRENCY: usize = 200;
/// Descriptors besides the connections: poller, log of the server, files, and what the server itself keeps.
const SPARE_DESCRIPTORS: usize = 128;
/// Of the ports of one address, the part that may be used: others of this machine need some, and used ones rest.
const PORTS_USED: f64 = 0.8;
/// Longest of any duration, in seconds: a mistyped one must not run for ever.
const LONGEST_S: f64 = 86_400.0;
/// Most messages per second: beyond it the loop would do nothing else.
const MAX_RATE: f64 = 10e6;
/// Largest payload.
const MAX_SIZE: usize = 16 << 20;

/// What a scenario says about itself.
struct Shape {
    name: &'static str,
    course: Course,
    connections: usize,
    rooms: usize,
    publishers: usize,
    reach: Reach,
    in_flight: usize,
    traffic: Option<Traffic>,
}

impl Shape {
    fn of(scenario: &Scenario) -> anyhow::Result<Self> {
        let usual = if matches!(scenario, Scenario::Echo(_)) { 100 } else { 1_000 };
        let connections = scenario.common().connections.unwrap_or(usual);
        let one_room = |name, course| Self {
            name,
            course,
            connections,
            rooms: 1,
            publishers: 1,
            reach: Reach::Room,
            in_flight: 1,
            traffic: None,
        };
        let busy = |name, stalled, traffic: &Traffic, in_flight| Self {
            in_flight: traffic.in_flight.unwrap_or(in_flight),
            traffic: Some(traffic.clone()),
            ..one_room(name, Course::Traffic { stalled })
        };
        Ok(match scenario {
            Scenario::Fanout(it) => Self { publishers: it.publishers, ..busy("fanout", 0, &it.traffic, 32) },
            Scenario::Rooms(it) => Self {
                rooms: it.rooms,
                publishers: it.publishers.unwrap_or(it.rooms),
                ..busy("rooms", 0, &it.traffic, 1)
            },
            Scenario::Connect(_) => one_room("connect", Course::Connect),
            Scenario::Idle(it) => one_room("idle", Course::Idle(seconds("--hold", it.hold)?)),
            Scenario::Slow(it) => {
                ensure!((0.0..100.0).contains(&it.stall), "--stall: from 0 to below 100 percent");
                let stalled = (connections as f64 * it.stall / 100.0).round() as usize;
                let readers = connections - stalled;
                ensure!(it.publishers <= readers, "--stall {}: leaves {readers} to publish", it.stall);
                Self { publishers: it.publishers, ..busy("slow", stalled, &it.traffic, 8) }
            }
            Scenario::Storm(it) => one_room("storm", Course::Storm(it.rounds)),
            Scenario::Echo(it) => {
                Self { publishers: connections, reach: Reach::Publisher, ..busy("echo", 0, &it.traffic, 1) }
            }
        })
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(self.connections >= 1, "--connections: at least 1");
        ensure!((1..=self.connections).contains(&self.rooms), "--rooms: from 1 to --connections");
        ensure!((1..=self.connections).contains(&self.publishers), "--publishers: from 1 to --connections");
        ensure!(self.publishers <= MAX_PUBLISHERS, "at most {MAX_PUBLISHERS} publishers");
        ensure!((1..=65_536).contains(&self.in_flight), "--in-flight: from 1 to 65536");
        Ok(())
    }
}

fn seconds(flag: &str, value: f64) -> anyhow::Result<Duration> {
    ensure!((0.0..=LONGEST_S).contains(&value), "{flag} {value}: from 0 to {LONGEST_S} seconds");
    Ok(Duration::from_secs_f64(value))
}

/// The path and query of throng's own endpoint for a scenario.
pub(super) fn own_path(scenario: &Scenario) -> &'static str {
    if matches!(scenario, Scenario::Echo(_)) { "/ws?raw" } else { "/ws/chat/u{i}?room=bench-{r}" }
}

/// Settings of a started server: nothing of it may be in the way of what is measured.
pub(super) fn own_settings(scenario: &Scenario) -> anyhow::Result<Vec<String>> {
    let (common, connections) = (scenario.common(), Shape::of(scenario)?.connections);
    let characters = (common.message.size * 2).max(500);
    let bytes = (characters + 1_024).max(64 << 10);
    let ours = [
        "log.level=info".into(),
        // Its own default keeps a reserve for handshakes; ours are counted. A storm overlaps what it replaces.
        format!("limits.max_connections={}", 2 * connections + SPARE_DESCRIPTORS),
        "rate_limit.enabled=false".into(),
        format!("chat.max_message_chars={characters}"),
        format!("limits.max_message_bytes={bytes}B"),
    ];
    Ok(ours.into_iter().chain(common.target.set.iter().cloned()).collect())
}

/// The plan of a scenario against `url`.
///
/// # Errors
/// A value is out of its range, or the machine's limits do not allow so many connections; says which and what to do.
pub(super) fn plan(scenario: &Scenario, url: &str, pid: Option<u32>) -> anyhow::Result<Plan> {
    let shape = Shape::of(scenario)?;
    shape.check()?;
    let Common { target, message, .. } = scenario.common();
    let is_echo = matches!(scenario, Scenario::Echo(_));
    let template =
        message.template.clone().unwrap_or(if is_echo { "%s" } else { r#"{"message":"%s"}"# }.into());
    ensure!(template.matches("%s").count() == 1, "--template {template}: %s must stand in it once");
    ensure!((MARK_BYTES..=MAX_SIZE).contains(&message.size), "--size: from {MARK_BYTES} to {MAX_SIZE} bytes");
    let mark = u8::try_from(message.mark).unwrap_or(0);
    ensure!(mark.is_ascii_punctuation(), "--mark {}: one character of ASCII punctuation", message.mark);
    ensure!(!template.contains(message.mark), "--mark {}: stands in the template", message.mark);
    ensure!(message.sample >= 1, "--sample: at least 1");
    let everybody = if matches!(shape.course, Course::Storm(_)) { shape.connections } else { CONCURRENCY };
    let concurrency = target.concurrency.unwrap_or(everybody);
    ensure!(concurrency >= 1, "--concurrency: at least 1");
    if let Course::Storm(rounds) = shape.course {
        ensure!((1..=1_000).contains(&rounds), "--rounds: from 1 to 1000");
    }
    let traffic = shape.traffic.as_ref();
    let measured = traffic.map_or(Ok(Duration::ZERO), |it| seconds("--seconds", it.seconds))?;
    ensure!(traffic.is_none() || measured >= Duration::from_millis(100), "--seconds: at least 0.1");
    let settle = target.settle;
    let target = Target::parse(url, &target.header)?;
    let per_address = (process::ephemeral_ports().unwrap_or(28_232) as f64 * PORTS_USED) as usize;
    check_machine(shape.connections, &target, per_address)?;
    Ok(Plan {
        scenario: shape.name,
        course: shape.course,
        connections: shape.connections,
        rooms: shape.rooms,
        publishers: shape.publishers,
        reach: shape.reach,
        pace: pace(traffic, shape.in_flight)?,
        size: message.size,
        template,
        hello: scenario.common().target.hello.clone(),
        opcode: if message.binary { BINARY } else { TEXT },
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

fn pace(traffic: Option<&Traffic>, in_flight: usize) -> anyhow::Result<Pace> {
    let Some(rate) = traffic.and_then(|it| it.rate) else { return Ok(Pace::InFlight(in_flight)) };
    ensure!(rate > 0.0 && rate <= MAX_RATE, "--rate: above 0 and at most {MAX_RATE}");
    Ok(Pace::PerSecond(rate))
}

fn check_machine(connections: usize, target: &Target, per_address: usize) -> anyhow::Result<()> {
    let (needed, limit) = (connections + SPARE_DESCRIPTORS, process::descriptors().unwrap_or(usize::MAX));
    ensure!(
        needed <= limit,
        "{connections} connections need {needed} descriptors and the limit is {limit}: raise it with \
         `ulimit -n {needed}`, or use --connections {}",
        limit.saturating_sub(SPARE_DESCRIPTORS),
    );
    let most = target.most_connections(per_address);
    ensure!(
        connections <= most,
        "{connections} connections to one address need as many ports, and there are {most}: \
         raise net.ipv4.ip_local_port_range"
    );
    Ok(())
}

#[cfg(test)]
mod tests;
