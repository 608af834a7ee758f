//! What this process has used of its machine.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::config::Machine;
use crate::metrics::Process;

/// Before Linux 6.2 descriptors have to be counted one by one, which takes about a microsecond each and holds a worker
/// up: where more than so many are open nothing is said.
const MOST_COUNTED: usize = 4096;

/// Everything of a process that began at `started_unix_ms`, in milliseconds since the Unix epoch.
pub(super) fn of_process(started_unix_ms: u64) -> Process {
    Process {
        cpu: cpu(),
        resident_bytes: resident_bytes(),
        open_fds: open_fds(),
        max_fds: Machine::descriptor_limit().map(|limit| limit as u64),
        started_unix_ms,
    }
}

/// CPU time of all threads, user and system.
pub(super) fn cpu() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let whole = Duration::from_secs(used.tv_sec.unsigned_abs());
    whole + Duration::from_nanos(used.tv_nsec.unsigned_abs())
}

/// Resident memory; nothing where the system does not say.
pub(super) fn resident_bytes() -> Option<u64> {
    resident_in(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// Open descriptors; nothing where the system does not say, or not in time.
fn open_fds() -> Option<u64> {
    let folder = "/proc/self/fd";
    match std::fs::metadata(folder).ok()?.len() {
        0 => {
            // The last one is that of the counting itself.
            let counted = std::fs::read_dir(folder).ok()?.take(MOST_COUNTED + 1).count();
            (counted <= MOST_COUNTED).then_some(counted.saturating_sub(1) as u64)
        }
        open => Some(open),
    }
}

/// `VmRSS` in the text of `/proc/self/status`, which is in KiB.
fn resident_in(status: &str) -> Option<u64> {
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    kib.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(resident_in("Name:\tthrong\nVmRSS:\t    5120 kB\nRssAnon:\t 1 kB\n"), Some(5 << 20));
        for nothing in ["", "VmRSS:", "VmRSS: many kB", "VmRSS: 18446744073709551615 kB"] {
            assert_eq!(resident_in(nothing), None, "{nothing}");
        }
        assert!(resident_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }

    #[test]
    fn descriptors_are_counted() {
        // Other tests open and close some at the same time.
        let files: Vec<_> = (0..200).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        let open = open_fds().unwrap();
        assert!((200..100_000).contains(&open), "{open}");
        assert!(Machine::descriptor_limit().is_some_and(|limit| limit as u64 >= open));
        drop(files);
    }

    #[test]
    fn cpu_time_grows_with_work() {
        let before = cpu();
        while cpu() == before {}
        assert!(cpu() > before);
    }
}
