//! The engine of the servers under test: none (`memory`), or one Redis for all servers of the process, and with it the
//! number of nodes of which each server consists. `THRONG_TEST_ENGINE` says which; see `tests/it/engines.rs`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::redis::{Kind, Process};
use super::server::Settings;

/// The variable that puts the servers under test on an engine: `redis` for one node, `redis:2` for two.
pub(crate) const VARIABLE: &str = "THRONG_TEST_ENGINE";

/// Lines of the configuration of Redis: nothing is kept on disk, because no test here ends it.
const LINES: [&str; 3] = ["save \"\"", "appendonly no", "client-output-buffer-limit pubsub 256mb 256mb 60"];

/// The Redis of this process. It ends with the last server that uses it, and the next one starts another.
static RUNNING: Mutex<Weak<Engine>> = Mutex::new(Weak::new());

/// Number of servers that have used an engine. Each has keys of its own.
static SERVERS: AtomicU64 = AtomicU64::new(0);

/// A running Redis.
pub(crate) struct Engine {
    /// Declared before the folder, so that the process has ended when the folder is removed.
    process: Process,
    _folder: tempfile::TempDir,
}

/// Returns the number of nodes of a server on an engine; `None` when servers have none.
pub(crate) fn nodes() -> Option<usize> {
    let value = std::env::var(VARIABLE).ok()?;
    let nodes = match value.split_once(':') {
        None => Some(1),
        Some((_, nodes)) => nodes.parse().ok().filter(|nodes| *nodes > 0),
    };
    let is_known = value.split(':').next() == Some("redis");
    Some(nodes.filter(|_| is_known).unwrap_or_else(|| panic!("{VARIABLE}={value}: not redis or redis:NODES")))
}

impl Engine {
    /// Returns the Redis of this process, which is started if it does not run.
    #[track_caller]
    pub(crate) fn shared() -> Arc<Self> {
        let mut running = RUNNING.lock();
        running.upgrade().unwrap_or_else(|| {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let lines = |_| LINES.map(str::to_owned).to_vec();
            let process =
                Process::start(Kind::Server, &folder.path().join("redis"), [127, 0, 0, 1].into(), lines);
            let engine = Arc::new(Self { process, _folder: folder });
            *running = Arc::downgrade(&engine);
            engine
        })
    }

    /// Returns the settings with which the nodes of a new server find each other, and nobody else does.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        let number = SERVERS.fetch_add(1, Ordering::Relaxed);
        vec![
            ("engine", "redis".to_owned()),
            ("redis.addresses", self.process.address().to_string()),
            ("redis.prefix", format!("server-{number}")),
        ]
    }
}

/// Returns true if a server with these settings cannot be put on an engine: it has chosen one, or keeps its history on
/// disk, which is for servers without an engine.
pub(crate) fn is_fixed(settings: Settings<'_>) -> bool {
    settings.iter().any(|(key, _)| matches!(*key, "engine" | "history.dir"))
}
