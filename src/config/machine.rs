//! What only this machine knows: descriptors, memory, cores; and the settings that follow from it.

use std::fs::read_to_string;
use std::path::Path;

use super::Config;
use super::units::{GIB, TIB};

/// What a machine offers. Read it with [`Machine::read`]; tests make their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// The soft limit on open descriptors.
    pub descriptors: usize,
    /// Memory in bytes: what is built in, or what the control group allows if that is less.
    pub memory_bytes: usize,
    /// Threads that can run at once.
    pub cores: usize,
}

/// What is assumed where the machine does not say (other systems than Linux): what every system grants.
const ASSUMED: Machine = Machine { descriptors: 1024, memory_bytes: GIB, cores: 1 };

/// Descriptors for everything that is no client: listener, pollers, standard streams, files.
const OWN_DESCRIPTORS: usize = 64;

impl Machine {
    /// Asks this machine; takes well under a millisecond.
    #[must_use]
    pub fn read() -> Self {
        let file = |path: &str| read_to_string(path).unwrap_or_default();
        let group = file("/proc/self/cgroup");
        let built_in = memory_built_in(&file("/proc/meminfo"));
        let allowed = memory_allowed(&group, |path| read_to_string(path).ok());
        Self {
            descriptors: descriptors(&file("/proc/self/limits")).unwrap_or(ASSUMED.descriptors),
            memory_bytes: built_in.into_iter().chain(allowed).min().unwrap_or(ASSUMED.memory_bytes),
            cores: std::thread::available_parallelism().map_or(ASSUMED.cores, Into::into),
        }
    }

    /// The soft limit on open descriptors as it is now; nothing where the system does not say.
    #[must_use]
    pub fn descriptor_limit() -> Option<usize> {
        descriptors(&read_to_string("/proc/self/limits").ok()?)
    }
}

/// The soft limit in the text of `/proc/self/limits`.
fn descriptors(limits: &str) -> Option<usize> {
    let soft =
        limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?;
    if soft == "unlimited" { Some(usize::MAX) } else { soft.parse().ok() }
}

/// `MemTotal` in the text of `/proc/meminfo`, in bytes.
fn memory_built_in(meminfo: &str) -> Option<usize> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total.split_whitespace().next()?.parse::<usize>().ok()?.checked_mul(1024)
}

/// The least `memory.max` from the process's control group (version 2) up to the root.
fn memory_allowed(group: &str, read: impl Fn(&Path) -> Option<String>) -> Option<usize> {
    let path = group.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let leaf = Path::new("/sys/fs/cgroup").join(path);
    leaf.ancestors()
        .take_while(|folder| folder.starts_with("/sys/fs/cgroup"))
        .filter_map(|folder| read(&folder.join("memory.max"))?.trim().parse().ok())
        .min()
}

impl Config {
    /// Makes concrete what depends on the machine: `workers`, `node`, `limits.max_connections`,
    /// `limits.max_handshakes` where descriptors are scarce, `queue.total_bytes`.
    #[must_use]
    pub fn resolve(mut self, machine: &Machine) -> Self {
        if self.workers == 0 {
            self.workers = machine.cores.clamp(1, 255);
        }
        if self.node.is_empty() {
            self.node = format!("n-{:08x}", fastrand::u32(..));
        }
        if self.queue.total_bytes == 0 {
            // Each worker has its share, in which one full queue must fit.
            let least = (self.queue.max_bytes * self.workers).min(TIB);
            self.queue.total_bytes = (machine.memory_bytes / 4).clamp(least, TIB);
        }
        self.share_out_descriptors(machine.descriptors);
        self
    }

    /// A reserve for handshakes and for ourselves, but at most half; what cannot have its reserve does with less.
    fn share_out_descriptors(&mut self, available: usize) {
        let limits = &mut self.limits;
        let own = OWN_DESCRIPTORS.min(available / 4);
        let reserve = limits.max_handshakes + own;
        if limits.max_connections > 0 {
            let needed = limits.max_connections + reserve;
            if needed > available {
                self.provenance.notes.push(format!(
                    "`limits.max_connections` {} and a reserve of {reserve} need {needed} descriptors, \
                     this process may have {available} (ulimit -n)",
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
    fn what_was_set_stays_and_is_warned_about() {
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
    fn what_linux_says() {
        let limits =
            "Limit    Soft Limit  Hard Limit  Units\nMax open files            1024      524288    files\n";
        assert_eq!(descriptors(limits), Some(1024));
        assert_eq!(descriptors("Max open files unlimited unlimited files"), Some(usize::MAX));
        assert_eq!(descriptors(""), None);
        assert_eq!(memory_built_in("MemTotal:       16384 kB\nMemFree: 1 kB"), Some(16 * 1024 * 1024));
        assert_eq!(memory_built_in("nothing"), None);
    }

    #[test]
    fn the_tightest_group_counts() {
        let read = |path: &Path| match path.to_str()? {
            "/sys/fs/cgroup/a/b/memory.max" => Some("max\n".to_owned()),
            "/sys/fs/cgroup/a/memory.max" => Some("4096\n".to_owned()),
            "/sys/fs/cgroup/memory.max" => Some("8192\n".to_owned()),
            _ => None,
        };
        assert_eq!(memory_allowed("0::/a/b\n", read), Some(4096));
        assert_eq!(memory_allowed("0::/\n", read), Some(8192));
        assert_eq!(memory_allowed("1:memory:/x\n", read), None);
    }

    #[test]
    fn this_machine_says_something() {
        let machine = Machine::read();
        assert!(machine.descriptors > 0 && machine.memory_bytes > 0 && machine.cores > 0, "{machine:?}");
    }
}
