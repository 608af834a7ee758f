//! What this process has used of its machine.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

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
    fn cpu_time_grows_with_work() {
        let before = cpu();
        while cpu() == before {}
        assert!(cpu() > before);
    }
}
