//! Parameters of the kernel that bound what the server can do. None of them can be read where the system is not Linux.

use std::fs::read_to_string;

/// Limits and parameters of the kernel; a field is `None` where the system does not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Kernel {
    /// Most connections that wait to be accepted on one socket: `net.core.somaxconn`.
    pub(super) backlog: Option<usize>,
    /// Ports that a client's side of a connection gets: `net.ipv4.ip_local_port_range`.
    pub(super) ports: Option<usize>,
    /// Most bytes of the buffers of all TCP sockets together: `net.ipv4.tcp_mem`.
    pub(super) tcp_bytes: Option<usize>,
    /// The source of the time: `tsc`, `kvm-clock`, `hpet` and others.
    pub(super) clock: Option<String>,
}

impl Kernel {
    /// Reads the parameters of this machine.
    pub(super) fn read() -> Self {
        let file = |path: &str| read_to_string(path).ok();
        Self::parse(file, rustix::param::page_size())
    }

    /// Reads the parameters from files that `read` returns by their paths.
    fn parse(read: impl Fn(&str) -> Option<String>, page_bytes: usize) -> Self {
        let numbers = |path: &str| -> Option<Vec<usize>> {
            read(path)?.split_whitespace().map(|word| word.parse().ok()).collect()
        };
        let number = |path: &str, at: usize| numbers(path)?.get(at).copied();
        let range = "/proc/sys/net/ipv4/ip_local_port_range";
        let ports = number(range, 0).zip(number(range, 1));
        let clock = read("/sys/devices/system/clocksource/clocksource0/current_clocksource");
        Self {
            backlog: number("/proc/sys/net/core/somaxconn", 0),
            ports: ports.and_then(|(first, last)| (last + 1).checked_sub(first)),
            // Low mark, pressure, limit: beyond the last one, the kernel drops what comes in.
            tcp_bytes: number("/proc/sys/net/ipv4/tcp_mem", 2)
                .and_then(|pages| pages.checked_mul(page_bytes)),
            clock: clock.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_linux_are_parsed() {
        let kernel = Kernel::parse(
            |path| {
                let text = match path.rsplit('/').next()? {
                    "somaxconn" => "4096\n",
                    "ip_local_port_range" => "32768\t60999\n",
                    "tcp_mem" => "100\t200\t300\n",
                    "current_clocksource" => "tsc\n",
                    _ => return None,
                };
                Some(text.to_owned())
            },
            4096,
        );
        let expected = Kernel {
            backlog: Some(4096),
            ports: Some(28_232),
            tcp_bytes: Some(300 * 4096),
            clock: Some("tsc".into()),
        };
        assert_eq!(kernel, expected);
        assert_eq!(Kernel::parse(|_| Some("1 x".into()), 1).ports, None, "no numbers");
        assert_eq!(Kernel::parse(|_| None, 4096), Kernel::default());
    }
}
