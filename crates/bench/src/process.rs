//! Reads `/proc`: CPU time and memory of a process, and the limits of this machine.

use std::fs::read_to_string;
use std::time::Duration;

/// `USER_HZ`, the unit of CPU time in `/proc`: 100 on every Linux platform in common use.
const TICKS_PER_S: u64 = 100;

/// CPU time that a process has used.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cpu {
    pub(super) user: Duration,
    pub(super) system: Duration,
}

impl Cpu {
    /// Returns the sum of user and system time.
    pub(super) fn total(self) -> Duration {
        self.user + self.system
    }

    /// Returns the CPU time used since `earlier`.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }
}

/// Returns the CPU time of process `pid`, or `None` if there is no such process.
pub(super) fn cpu(pid: u32) -> Option<Cpu> {
    parse_stat(&read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Parses fields 14 and 15 of `/proc/PID/stat`, counted from the end of the command's name, which may contain any
/// character.
fn parse_stat(stat: &str) -> Option<Cpu> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11).map_while(|field| field.parse::<u64>().ok());
    let mut time = || Some(Duration::from_millis(ticks.next()? * 1_000 / TICKS_PER_S));
    Some(Cpu { user: time()?, system: time()? })
}

/// Returns the resident memory of process `pid` in KiB, or `None` if there is no such process.
pub(super) fn resident_kib(pid: u32) -> Option<u64> {
    let status = read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()
}

/// Returns how many file descriptors this process may have (the soft limit).
pub(super) fn descriptors() -> Option<usize> {
    let limits = read_to_string("/proc/self/limits").ok()?;
    let soft =
        limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?;
    if soft == "unlimited" { Some(usize::MAX) } else { soft.parse().ok() }
}

/// Returns how many ephemeral ports the system has for one source address.
pub(super) fn ephemeral_ports() -> Option<usize> {
    let range = read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ends = range.split_whitespace().map_while(|end| end.parse::<usize>().ok());
    let (first, last) = (ends.next()?, ends.next()?);
    Some(last.saturating_sub(first) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_parsed_after_any_command_name() {
        let stat = "42 (a) b ) S 1 2 3 4 5 6 7 8 9 10 250 75 0 0";
        let cpu = parse_stat(stat).expect("two times");
        assert_eq!((cpu.user, cpu.system), (Duration::from_millis(2_500), Duration::from_millis(750)));
        assert!(parse_stat("").is_none());
    }

    #[test]
    fn this_process_and_its_limits_are_read() {
        let pid = std::process::id();
        assert!(cpu(pid).is_some() && resident_kib(pid).is_some_and(|kib| kib > 100));
        assert!(
            descriptors().is_some_and(|count| count > 10) && ephemeral_ports().is_some_and(|count| count > 1)
        );
        assert!(cpu(u32::MAX).is_none() && resident_kib(u32::MAX).is_none());
    }
}
