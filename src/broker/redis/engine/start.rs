//! Starts the engine: its settings, its thread, and the wait until the server was reached.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::runtime;
use tokio::task::LocalSet;

use super::super::batch::Incarnation;
use super::super::directory::claim::Policy;
use super::super::host::Host;
use super::super::keys::Keys;
use super::super::link::{MAX_PUSH_BYTES, Sentinels, ServerSettings, TlsSettings, event_queue};
use super::super::nodes::{Details, LEASE_MS, MAX_NODES, NodeName};
use super::super::requests::Requests;
use super::super::start_error::StartError;
use super::calls::Calls;
use super::health::Health;
use super::health::{Problem, Refusal, Start};
use super::links::{Links, Servers};
use super::refresh::Refresh;
use super::seeds::Seeds;
use super::state::{Engine, Settings};
use super::tasks::{Setup, Tasks};
use crate::broker::Local;
use crate::broker::memory::Memory;
use crate::clock::Clock;
use crate::config::{Address, Config, Duplicate, Listen, RedisMode, Secret};

/// The start waits this many times `redis.patience` for the server.
const START_PATIENCE: u32 = 15;
/// Longest wait for the node's entry in the table of nodes once the server was reached, in milliseconds. A name that is
/// in use is refused within two leases.
const ENTER_MS: u64 = 3 * LEASE_MS;
/// Time between two looks whether the server was reached.
const LOOK: Duration = Duration::from_millis(5);

/// The parts that the thread is started with.
pub(in crate::broker::redis) struct Starter<L: Local> {
    broker: Arc<Memory<L>>,
    requests: Arc<Requests<L>>,
    health: Arc<Health>,
    clock: Clock,
    servers: Servers,
    keys: Keys,
    by: Incarnation,
    settings: Settings,
    node: NodeName,
    policy: Policy,
    plain_details: Details,
}

impl<L: Host> Starter<L> {
    pub(in crate::broker::redis) fn new(
        config: &Config,
        broker: Arc<Memory<L>>,
        requests: Arc<Requests<L>>,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let redis = &config.redis;
        let name = |error| StartError::Name { name: config.node.clone(), error };
        let node: NodeName = config.node.parse().map_err(name)?;
        let policy = match config.chat.duplicate {
            Duplicate::Allow => Policy::Allow,
            Duplicate::Reject | Duplicate::Replace => Policy::Reject { dead: None },
        };
        let by = Incarnation(fastrand::u64(..));
        let settings = Settings {
            patience_ms: redis.patience.as_millis() as u64,
            room_ttl_ms: redis.room_ttl.as_millis() as u64,
        };
        Ok(Self {
            broker,
            requests,
            health: Arc::new(Health::new(clock.clone())),
            clock,
            servers: servers(config, by),
            keys: Keys::new(&redis.prefix),
            by,
            settings,
            node,
            policy,
            plain_details: plain_details(config),
        })
    }

    pub(in crate::broker::redis) fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    /// Runs the engine until it is stopped. The thread's body.
    pub(in crate::broker::redis) fn run(self) {
        let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return tracing::error!(%error, "the engine's runtime cannot be started"),
        };
        LocalSet::new().block_on(&runtime, async move {
            let (sender, events) = event_queue(MAX_PUSH_BYTES);
            let links = Links::start(self.servers, &self.keys.nodes(), sender);
            let tasks = Tasks::start(Setup {
                broker: Arc::clone(&self.broker),
                requests: Arc::clone(&self.requests),
                health: Arc::clone(&self.health),
                clock: self.clock.clone(),
                keys: self.keys.clone(),
                node: self.node,
                by: self.by,
                policy: self.policy,
                plain_details: self.plain_details,
                room_ttl_ms: self.settings.room_ttl_ms,
            });
            let engine = Engine {
                broker: self.broker,
                requests: self.requests,
                health: self.health,
                clock: self.clock,
                keys: self.keys,
                by: self.by,
                links,
                events,
                refresh: Refresh::default(),
                seeds: Seeds::default(),
                unplaced: FxHashSet::default(),
                settings: self.settings,
                rooms: FxHashMap::default(),
                due: BTreeSet::new(),
                calls: Calls::default(),
                tasks,
                next_number: 1,
                next_presence: 1,
            };
            engine.run().await;
        });
    }
}

/// Returns the details that the node tells with its beats until it has a report. Those that do not fit are left out.
fn plain_details(config: &Config) -> Details {
    let version = Bytes::from_static(env!("CARGO_PKG_VERSION").as_bytes());
    let address = Bytes::from(Listen::join(&config.listen));
    Details::new(version, address, Bytes::from_static(b"{}")).unwrap_or_default()
}

fn listed(addresses: &[Address]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Waits until all servers were reached. Blocks.
///
/// # Errors
/// That takes too long, or cannot be.
pub(in crate::broker::redis) fn wait_for_servers(health: &Health, config: &Config) -> Result<(), StartError> {
    let deadline = Instant::now() + config.redis.patience * START_PATIENCE;
    while !health.has_been_whole() {
        let problem = health.last_problem();
        let is_hopeless = problem.as_ref().is_some_and(|problem| problem.is_lasting);
        if is_hopeless || Instant::now() >= deadline {
            let (server, reason) = problem.map_or_else(
                || (None, "no answer".to_owned()),
                |Problem { server, reason, .. }| (server, reason),
            );
            let address = server.unwrap_or_else(|| listed(&config.redis.addresses));
            return Err(StartError::Unusable { address, reason });
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

/// Waits until the node is in the table of nodes. Blocks.
///
/// # Errors
/// That takes too long, or cannot be.
pub(in crate::broker::redis) fn wait_for_entry(health: &Health, config: &Config) -> Result<(), StartError> {
    let deadline = Instant::now() + Duration::from_millis(ENTER_MS);
    let error = loop {
        match health.start() {
            Start::Over => return Ok(()),
            Start::Refused(Refusal::NameTaken) => break StartError::NameTaken(config.node.clone()),
            Start::Refused(Refusal::TableFull) => break StartError::TableFull { most: MAX_NODES },
            Start::Waiting if Instant::now() >= deadline => {
                let address = listed(&config.redis.addresses);
                break StartError::NotEntered { address, seconds: ENTER_MS / 1_000 };
            }
            Start::Waiting => thread::sleep(LOOK),
        }
    };
    Err(error)
}

/// Returns how the servers of a configuration are reached.
pub(in crate::broker::redis) fn servers(config: &Config, by: Incarnation) -> Servers {
    let redis = &config.redis;
    let at = |address: &Address, username: &Option<String>, password: &Option<Secret>| {
        let probe_channel = Bytes::from(format!("{}:q:{{{by}}}", redis.prefix));
        let mut settings = ServerSettings::new(address.host.clone(), address.port, probe_channel);
        settings.username.clone_from(username);
        settings.password.clone_from(password);
        settings.client_name = format!("throng-{}", config.node);
        settings.tls = redis.tls.then(|| TlsSettings {
            ca_file: redis.ca_file.clone(),
            identity: redis.cert_file.clone().zip(redis.key_file.clone()),
        });
        settings
    };
    // The configuration has one address at least.
    let first = redis.addresses.first().cloned().unwrap_or_else(|| Address { host: String::new(), port: 0 });
    let mut common = at(&first, &redis.username, &redis.password);
    let mut name = first.to_string();
    common.is_cluster = redis.mode == RedisMode::Cluster;
    if redis.mode == RedisMode::Sentinel {
        name = redis.master_name.clone().unwrap_or_default();
        let sentinels = redis.addresses.iter();
        let sentinels = sentinels
            .map(|address| at(address, &redis.sentinel_username, &redis.sentinel_password))
            .collect();
        common.sentinels = Some(Arc::new(Sentinels::new(sentinels, &name)));
    }
    let is_cluster = common.is_cluster;
    Servers { addresses: redis.addresses.clone(), common, name, is_cluster }
}
