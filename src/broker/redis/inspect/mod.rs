//! Inspects the servers of a configuration: `throng doctor` shows the findings, and a node logs the warnings at its
//! start.
//!
//! It connects as a node does, and runs the scripts of a node on keys that nothing else uses.

mod trials;

use std::fmt::Display;
use std::thread;

use bytes::Bytes;
use tokio::runtime;

use self::trials::Scratch;
use super::StartError;
use super::batch::Incarnation;
use super::engine::{Servers, servers};
use super::link::check::{self, Report};
use super::link::{ServerFacts, ServerSettings, ask_once, masters_of};
use super::topology::{SLOTS, SlotMap, slot_of};
use crate::config::{Address, Config, Finding, Level, RedisMode};

/// The subject of all findings.
const SUBJECT: &str = "engine";

/// Everything that was found, and whether it forbids a node to start.
#[derive(Debug, Default)]
struct Inspection {
    findings: Vec<Finding>,
    /// The first server that cannot be used until somebody changes something, and the reason.
    obstacle: Option<(String, String)>,
}

/// Inspects all servers that the configuration leads to. There is at least one finding.
///
/// # Errors
/// The system does not give what is needed to connect.
pub fn inspect(config: &Config) -> std::io::Result<Vec<Finding>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(Inspection::of(config)).findings)
}

/// Inspects the servers once they were reached, and logs everything that should be changed.
///
/// # Errors
/// A server would refuse what a node does.
pub(super) fn at_start(config: &Config) -> Result<(), StartError> {
    // The caller may be on a thread that belongs to a runtime already.
    let inspection = thread::scope(|scope| {
        let inspecting = thread::Builder::new().name("inspection".into()).spawn_scoped(scope, || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(Inspection::of(config)))
        });
        inspecting?.join().unwrap_or_else(|_| Err(std::io::Error::other("the inspection has panicked")))
    });
    let inspection = inspection.map_err(StartError::Thread)?;
    if let Some((address, reason)) = inspection.obstacle {
        return Err(StartError::Unusable { address, reason });
    }
    // Other errors may be over soon. The node goes on trying to enter the table of nodes.
    for Finding { text, advice, .. } in inspection.findings.iter().filter(|found| found.level > Level::Ok) {
        match advice {
            Some(advice) => tracing::warn!("engine: {text}; {advice}"),
            None => tracing::warn!("engine: {text}"),
        }
    }
    Ok(())
}

impl Inspection {
    async fn of(config: &Config) -> Self {
        let by = Incarnation(fastrand::u64(..));
        let servers = servers(config, by);
        let mut inspection = Self::default();
        let inspector = Inspector { prefix: format!("{}:check-{by}", config.redis.prefix), by };
        match config.redis.mode {
            RedisMode::Single => Box::pin(inspector.server(&servers.common, None, &mut inspection)).await,
            RedisMode::Sentinel => Box::pin(inspector.sentinels(&servers, &mut inspection)).await,
            RedisMode::Cluster => Box::pin(inspector.cluster(&servers, &mut inspection)).await,
        }
        inspection
    }

    fn add(&mut self, level: Level, text: String) {
        self.findings.push(Finding { level, subject: SUBJECT.into(), text, advice: None });
    }

    /// Adds failures to ask servers that are asked in turn: warnings if another one has answered.
    fn add_failures(&mut self, failures: Vec<String>, has_answer: bool) {
        let level = if has_answer { Level::Warning } else { Level::Error };
        failures.into_iter().for_each(|failure| self.add(level, failure));
    }

    /// Adds what was found at one server.
    fn add_report(&mut self, server: &ServerSettings, report: Report) {
        if let Some(facts) = report.facts.as_ref().filter(|_| report.is_usable()) {
            self.findings.push(Finding::ok(SUBJECT, summary(server, facts, &report)));
        }
        if self.obstacle.is_none() {
            self.obstacle = report.obstacle.as_ref().map(|error| (server.to_string(), one_line(error)));
        }
        let named = report.findings.into_iter().map(|mut finding| {
            finding.text = format!("{server}: {}", finding.text);
            finding
        });
        self.findings.extend(named);
    }
}

/// Inspects servers one after the other.
struct Inspector {
    /// The prefix of the keys that the trials use.
    prefix: String,
    by: Incarnation,
}

impl Inspector {
    /// Inspects one server: of a cluster, on keys in its slots.
    async fn server(&self, settings: &ServerSettings, map: Option<&SlotMap>, into: &mut Inspection) {
        let address = Address { host: settings.host.clone(), port: settings.port };
        let is_here = |name: &[u8]| map.is_none_or(|map| map.owner(slot_of(name)) == Some(&address));
        let Some(scratch) = Scratch::find(&self.prefix, self.by, is_here) else {
            return into.add(Level::Error, format!("{settings}: no key was found that belongs to its slots"));
        };
        let probe_channel = if map.is_some() { scratch.channel() } else { settings.probe_channel.clone() };
        let settings = ServerSettings { probe_channel, ..settings.clone() };
        let (commands, scripts, cleaning) = (scratch.commands(), scratch.scripts(), scratch.cleaning());
        let report = check::check(&settings, &commands, &scripts, Some(&cleaning)).await;
        into.add_report(&settings, report);
    }

    /// Asks every Sentinel for the master, and inspects the one that they name.
    async fn sentinels(&self, servers: &Servers, into: &mut Inspection) {
        let Some(sentinels) = &servers.common.sentinels else { return };
        let mut named: Vec<(String, u16)> = Vec::new();
        let mut failures = Vec::new();
        for (sentinel, answer) in masters_of(sentinels).await {
            match answer {
                Ok(master) => named.push(master),
                Err(failure) => failures.push(format!("{sentinel}: {failure}")),
            }
        }
        into.add_failures(failures, !named.is_empty());
        named.sort();
        named.dedup();
        if named.len() > 1 {
            into.add(
                Level::Warning,
                "the Sentinels name different masters: a failover may be under way".into(),
            );
        }
        for (host, port) in named {
            let settings = ServerSettings { host, port, sentinels: None, ..servers.common.clone() };
            self.server(&settings, None, into).await;
        }
    }

    /// Asks every server of the configuration for the map of slots, and inspects all masters.
    async fn cluster(&self, servers: &Servers, into: &mut Inspection) {
        let mut first = None;
        let mut failures = Vec::new();
        for address in &servers.addresses {
            match map_of(servers, address).await {
                Ok(map) => first = first.or(Some(map)),
                Err(failure) => failures.push(format!("{address}: {failure}")),
            }
        }
        into.add_failures(failures, first.is_some());
        let Some(map) = first else { return };
        let missing = usize::from(SLOTS) - map.count(|_| true);
        if missing > 0 {
            into.add(
                Level::Error,
                format!("{missing} of {SLOTS} slots have no master: their rooms cannot be used"),
            );
        }
        for master in map.masters() {
            self.server(&servers.at(master), Some(&map), into).await;
        }
    }
}

/// Asks a server of a cluster for the map of slots.
async fn map_of(servers: &Servers, address: &Address) -> Result<SlotMap, String> {
    let text = |reason: &dyn Display| reason.to_string();
    let shards = [Bytes::from_static(b"SHARDS")];
    let reply = ask_once(&servers.at(address), "CLUSTER", &shards).await.map_err(|reason| text(&reason))?;
    SlotMap::parse(&reply, address, servers.common.tls.is_some()).map_err(|error| text(&error))
}

/// Describes a server that can be used.
fn summary(server: &ServerSettings, facts: &ServerFacts, report: &Report) -> String {
    let product = match facts.valkey {
        Some(version) => format!("Valkey {version}"),
        None => format!("Redis {}", facts.version),
    };
    let latency = report.latency.unwrap_or_default();
    let clock = report.clock_ahead_ms.unwrap_or_default().unsigned_abs();
    format!(
        "{server} is {product}: a ping takes {latency:.1?}, the clocks differ by {clock} ms, and all scripts may run"
    )
}

fn one_line(Finding { text, advice, .. }: &Finding) -> String {
    match advice {
        Some(advice) => format!("{text}; {advice}"),
        None => text.clone(),
    }
}
