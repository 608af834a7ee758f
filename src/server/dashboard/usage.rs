//! Measures what this process uses of its machine: CPU time, memory and file descriptors.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::config::Machine;
use crate::metrics::Process;

/// Most open descriptors that are counted one by one. Linux reports their number since 6.2; before that they must be
/// counted, which takes about a microsecond for each and blocks the worker thread that answers `/metrics`. When more
/// are open, no number is reported.
const MOST_COUNTED: usize = 4096;

/// Measures this process for `/metrics`. `started_unix_ms` is the start of the process in milliseconds since the Unix
/// epoch, and is passed on as it is.
pub(in crate::server) fn of_process(started_unix_ms: u64) -> Process {
    let status = std::fs::read_to_string("/proc/self/status").ok();
    let of_status = |read: fn(&str) -> Option<u64>| status.as_deref().and_then(read);
    Process {
        cpu: cpu(),
        resident_bytes: of_status(resident_in),
        open_fds: open_fds(),
        max_fds: Machine::descriptor_limit().map(|limit| limit as u64),
        threads: of_status(threads_in),
        started_unix_ms,
    }
}

/// Returns the CPU time that all threads have used since the start of the process, in user and in kernel mode.
pub(super) fn cpu() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let whole = Duration::from_secs(used.tv_sec.unsigned_abs());
    whole + Duration::from_nanos(used.tv_nsec.unsigned_abs())
}

/// Returns the resident memory in bytes; `None` where the system does not report it.
pub(super) fn resident_bytes() -> Option<u64> {
    resident_in(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// Returns the number of open descriptors; `None` where the system does not report it, or there are more than
/// [`MOST_COUNTED`] to count.
fn open_fds() -> Option<u64> {
    let folder = "/proc/self/fd";
    match std::fs::metadata(folder).ok()?.len() {
        // Linux before 6.2 reports 0: the descriptors have to be counted.
        0 => {
            // One descriptor is open only for the counting itself.
            let counted = std::fs::read_dir(folder).ok()?.take(MOST_COUNTED + 1).count();
            (counted <= MOST_COUNTED).then_some(counted.saturating_sub(1) as u64)
        }
        open => Some(open),
    }
}

/// Returns the resident memory in bytes from the text of `/proc/self/status`, which has it in KiB as `VmRSS`.
fn resident_in(status: &str) -> Option<u64> {
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    kib.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Returns the number of threads from the text of `/proc/self/status`.
fn threads_in(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("Threads:"))?.trim().parse().ok()
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
    fn threads_are_read() {
        assert_eq!(threads_in("Name:\tthrong\nThreads:\t7\nSigQ:\t0/1\n"), Some(7));
        assert_eq!(threads_in("Name:\tthrong\n"), None);
        assert!(of_process(0).threads.is_some_and(|threads| threads >= 1));
    }

    #[test]
    fn descriptors_are_counted() {
        // Other tests open and close descriptors at the same time.
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
