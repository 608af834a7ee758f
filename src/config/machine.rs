//! Resources of this machine (descriptors, memory, cores), and the settings that are derived from them.

use std::fs::read_to_string;
use std::path::Path;

use crate::names::units::{GIB, TIB};

use super::tree::Config;

/// Resources of a machine. [`Machine::read`] asks this one; tests construct others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// The soft limit on open descriptors.
    pub descriptors: usize,
    /// Bytes of memory: all of the machine's, or what the control group allows if that is less.
    pub memory_bytes: usize,
    /// Threads that can run at once.
    pub cores: usize,
}

/// Resources assumed where the system does not tell (it is not Linux), low enough for every system.
const ASSUMED: Machine = Machine { descriptors: 1024, memory_bytes: GIB, cores: 1 };

/// Descriptors reserved for everything but clients: listener, pollers, standard streams, files.
const OWN_DESCRIPTORS: usize = 64;

impl Machine {
    /// Reads the resources of this machine; takes well under a millisecond.
    #[must_use]
    pub fn read() -> Self {
        let file = |path: &str| read_to_string(path).unwrap_or_default();
        let group = file("/proc/self/cgroup");
        let total = total_memory(&file("/proc/meminfo"));
        let limit = memory_limit(&group, |path| read_to_string(path).ok());
        Self {
            descriptors: descriptors(&file("/proc/self/limits")).unwrap_or(ASSUMED.descriptors),
            memory_bytes: total.into_iter().chain(limit).min().unwrap_or(ASSUMED.memory_bytes),
            cores: std::thread::available_parallelism().map_or(ASSUMED.cores, Into::into),
        }
    }

    /// Returns the current soft limit on open descriptors, `None` where the system does not tell.
    #[must_use]
    pub fn descriptor_limit() -> Option<usize> {
        descriptors(&read_to_string("/proc/self/limits").ok()?)
    }
}

/// Parses the soft limit on open descriptors from `/proc/self/limits`.
fn descriptors(limits: &str) -> Option<usize> {
    let soft =
        limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?;
    if soft == "unlimited" { Some(usize::MAX) } else { soft.parse().ok() }
}

/// Parses `MemTotal` from `/proc/meminfo`; in bytes.
fn total_memory(meminfo: &str) -> Option<usize> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total.split_whitespace().next()?.parse::<usize>().ok()?.checked_mul(1024)
}

/// Returns the least `memory.max` of the process's control group (version 2) and its ancestors.
fn memory_limit(group: &str, read: impl Fn(&Path) -> Option<String>) -> Option<usize> {
    let path = group.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let leaf = Path::new("/sys/fs/cgroup").join(path);
    leaf.ancestors()
        .take_while(|folder| folder.starts_with("/sys/fs/cgroup"))
        .filter_map(|folder| read(&folder.join("memory.max"))?.trim().parse().ok())
        .min()
}

impl Config {
    /// Fills in the values that depend on the machine: `workers`, `node`, `limits.max_connections`,
    /// `queue.total_bytes`, and `limits.max_handshakes` where descriptors are scarce.
    #[must_use]
    pub fn resolve(mut self, machine: &Machine) -> Self {
        if self.workers == 0 {
            self.workers = machine.cores.clamp(1, 255);
        }
        if self.node.is_empty() {
            self.node = format!("n-{:08x}", fastrand::u32(..));
        }
        if self.queue.total_bytes == 0 {
            // Each worker gets an equal share, which must hold one full queue.
            let least = (self.queue.max_bytes * self.workers).min(TIB);
            self.queue.total_bytes = (machine.memory_bytes / 4).clamp(least, TIB);
        }
        self.divide_descriptors(machine.descriptors);
        self
    }

    /// True when no value is left that [`Config::resolve`] would fill in.
    pub(crate) fn is_resolved(&self) -> bool {
        self.workers > 0
            && !self.node.is_empty()
            && self.queue.total_bytes > 0
            && self.limits.max_connections > 0
    }

    /// Divides the descriptors among connections, handshakes and this process. Handshakes and the process have a
    /// reserve of at most half of all; where descriptors are too few for it, `limits.max_handshakes` is lowered.
    fn divide_descriptors(&mut self, available: usize) {
        let limits = &mut self.limits;
        let own = OWN_DESCRIPTORS.min(available / 4);
        let reserve = limits.max_handshakes + own;
        if limits.max_connections > 0 {
            let needed = limits.max_connections + reserve;
            if needed > available {
                self.provenance.notes.push(format!(
                    "`limits.max_connections` {} and a reserve of {reserve} need {needed} descriptors, but this \
                     process may open {available}: raise the limit (ulimit -n) or lower the key",
                    limits.max_connections
                ));
            }
            return;
        }
        limits.max_connections = available.saturating_sub(reserve).max(available / 2).clamp(1, 10_000_000);
        let rest = available.saturating_sub(limits.max_connections + own);
        limits.max_handshakes = limits.max_handshakes.min(rest).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sources;
    use super::*;

    fn with_descriptors(descriptors: usize) -> Config {
        Config::default().resolve(&Machine { descriptors, ..ASSUMED })
    }

    #[test]
    fn connections_and_handshakes_fit_the_descriptors() {
        for (descriptors, connections, handshakes) in [
            (1_048_576, 1_047_488, 1024),
            (65_536, 64_448, 1024),
            (2_176, 1_088, 1024),
            (1_024, 512, 448),
            (256, 128, 64),
            (16, 8, 4),
            (usize::MAX, 10_000_000, 1024),
        ] {
            let limits = with_descriptors(descriptors).limits;
            assert_eq!(
                (limits.max_connections, limits.max_handshakes),
                (connections, handshakes),
                "{descriptors}"
            );
        }
    }

    #[test]
    fn a_value_that_was_set_stays_and_gives_a_warning() {
        let config = Config::load(Sources::new().set("limits.max_connections=5000")).unwrap();
        let config = config.resolve(&Machine { descriptors: 1024, ..ASSUMED });
        assert_eq!(config.limits.max_connections, 5000);
        assert_eq!(config.warnings().len(), 1);
        assert!(config.warnings()[0].contains("1024"));
    }

    #[test]
    fn a_quarter_of_memory_and_a_worker_per_core() {
        let machine = Machine { descriptors: 1024, memory_bytes: 8 * GIB, cores: 6 };
        let config = Config::default().resolve(&machine);
        assert_eq!((config.queue.total_bytes, config.workers), (2 * GIB, 6));
        assert!(config.node.starts_with("n-"));
        let tiny = Config::default().resolve(&Machine { memory_bytes: 1, ..machine });
        assert_eq!(tiny.queue.total_bytes, 6 * tiny.queue.max_bytes, "a full queue fits each share");
    }

    #[test]
    fn texts_of_linux_are_parsed() {
        let limits =
            "Limit    Soft Limit  Hard Limit  Units\nMax open files            1024      524288    files\n";
        assert_eq!(descriptors(limits), Some(1024));
        assert_eq!(descriptors("Max open files unlimited unlimited files"), Some(usize::MAX));
        assert_eq!(descriptors(""), None);
        assert_eq!(total_memory("MemTotal:       16384 kB\nMemFree: 1 kB"), Some(16 * 1024 * 1024));
        assert_eq!(total_memory("nothing"), None);
    }

    #[test]
    fn the_tightest_group_counts() {
        let read = |path: &Path| match path.to_str()? {
            "/sys/fs/cgroup/a/b/memory.max" => Some("max\n".to_owned()),
            "/sys/fs/cgroup/a/memory.max" => Some("4096\n".to_owned()),
            "/sys/fs/cgroup/memory.max" => Some("8192\n".to_owned()),
            _ => None,
        };
        assert_eq!(memory_limit("0::/a/b\n", read), Some(4096));
        assert_eq!(memory_limit("0::/\n", read), Some(8192));
        assert_eq!(memory_limit("1:memory:/x\n", read), None);
    }

    #[test]
    fn this_machine_has_resources() {
        let machine = Machine::read();
        assert!(machine.descriptors > 0 && machine.memory_bytes > 0 && machine.cores > 0, "{machine:?}");
    }
}
