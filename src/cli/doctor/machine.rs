//! Compares the settings with the limits of this machine and of its kernel.

use std::io::ErrorKind;

use super::kernel::Kernel;
use super::size::about;
use crate::config::{Config, Finding, Listen, Machine};
use crate::names::units::KIB;
use crate::server::{BACKLOG, try_bind};

/// Connections below which a limit that only follows from the descriptors was probably not chosen.
const FEW_CONNECTIONS: usize = 10_000;
/// Bytes of the kernel's buffers that a connection takes which sends and receives now and then: a page either way.
const TCP_BYTES_PER_CONNECTION: usize = 8 * KIB;
/// Sources of the time that cost a system call or worse for each reading.
const SLOW_CLOCKS: [&str; 5] = ["acpi_pm", "hpet", "jiffies", "refined-jiffies", "xen"];

/// Runs the checks. A parameter that the system does not tell gives no finding.
pub(super) fn check(config: &Config, machine: &Machine, kernel: &Kernel) -> Vec<Finding> {
    let addresses = config.listen.iter().map(|address| Some(listen(address, &config.listen)));
    let others = [
        descriptors(config, machine.descriptors),
        Some(workers(config.workers, machine.cores)),
        kernel.backlog.map(backlog),
        kernel.ports.map(|ports| client_ports(config, ports)),
        kernel.tcp_bytes.map(|bytes| tcp_memory(config.limits.max_connections, bytes)),
        kernel.clock.as_deref().map(clock),
    ];
    addresses.chain(others).flatten().collect()
}

/// Tries whether an address can be bound, one of `all`.
fn listen(address: &Listen, all: &[Listen]) -> Finding {
    let Err(error) = try_bind(address, all) else {
        return Finding::ok("listen", format!("`listen` {address} can be bound"));
    };
    let text = format!("`listen` {address} cannot be bound: {error}");
    match error.kind() {
        ErrorKind::AddrInUse => Finding::warning(
            "listen",
            text,
            "if it is not the server itself that runs there, choose another address or end the other process",
        ),
        _ if matches!(address, Listen::Unix(_)) => Finding::error(
            "listen",
            text,
            "choose a path in a folder that is there and that the server may write to (systemd: RuntimeDirectory)",
        ),
        ErrorKind::PermissionDenied => Finding::error(
            "listen",
            text,
            "choose a port from 1024 on, or allow it (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE)",
        ),
        _ => Finding::error("listen", text, "choose an address of this machine, or :PORT for all of them"),
    }
}

/// Compares connections with descriptors. Returns `None` where there are too few for `limits.max_connections`: that is
/// a warning of the settings.
fn descriptors(config: &Config, available: usize) -> Option<Finding> {
    let connections = config.limits.max_connections;
    if available <= connections {
        return None;
    }
    let text = format!("this process may open {available} descriptors, enough for {connections} connections");
    let was_chosen = config.is_set("limits.max_connections");
    if was_chosen || connections >= FEW_CONNECTIONS {
        return Some(Finding::ok("descriptors", text));
    }
    let advice =
        "for more connections, raise the limit: `ulimit -n 1048576`, or systemd: LimitNOFILE=1048576";
    Some(Finding::warning("descriptors", text, advice))
}

fn workers(workers: usize, cores: usize) -> Finding {
    let text = format!("{workers} workers on {cores} cores");
    if workers > cores {
        return Finding::warning(
            "workers",
            text,
            "set `workers` to 0, which is one for each core: more only switch",
        );
    }
    Finding::ok("workers", text)
}

fn backlog(allowed: usize) -> Finding {
    let wanted = usize::try_from(BACKLOG).unwrap_or(usize::MAX);
    let text = format!("`net.core.somaxconn` is {allowed}, and the server asks for a backlog of {wanted}");
    if allowed < wanted {
        let advice = format!(
            "raise it, or a storm of reconnects loses its first packets: `sysctl -w net.core.somaxconn={wanted}`"
        );
        return Finding::warning("backlog", text, advice);
    }
    Finding::ok("backlog", text)
}

/// Compares connections with the ports of a proxy. Only a proxy on this machine is bound by the ports of this kernel.
fn client_ports(config: &Config, ports: usize) -> Finding {
    let connections = config.limits.max_connections;
    let admission = &config.admission;
    let is_behind_proxy =
        !config.is_reachable() && (admission.proxy_protocol || !admission.trusted_proxies.is_empty());
    let text = format!("`net.ipv4.ip_local_port_range` has {ports} ports for each client address");
    if is_behind_proxy && ports < connections {
        let text = format!("{text}, fewer than `limits.max_connections` {connections}");
        let advice = "a proxy on this machine can hold no more connections to `listen`: widen the range \
                      (`sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"`), or let the proxy use more addresses";
        return Finding::warning("ports", text, advice);
    }
    Finding::ok("ports", text)
}

fn tcp_memory(connections: usize, allowed: usize) -> Finding {
    let wanted = connections.saturating_mul(TCP_BYTES_PER_CONNECTION);
    let text = format!(
        "`net.ipv4.tcp_mem` allows {} of buffers, {} for each of {connections} connections",
        about(allowed),
        about(allowed / connections.max(1))
    );
    if allowed < wanted {
        let advice = format!(
            "raise its last number to at least {} (in pages, {} in all), or lower `limits.max_connections`",
            wanted.div_ceil(rustix::param::page_size()),
            about(wanted)
        );
        return Finding::warning("tcp memory", text, advice);
    }
    Finding::ok("tcp memory", text)
}

fn clock(source: &str) -> Finding {
    let text = format!("the kernel's source of the time is {source}");
    if SLOW_CLOCKS.contains(&source) {
        let advice = "it is slow, and the server reads the time often: use tsc or the one of the hypervisor, if \
                      /sys/devices/system/clocksource/clocksource0/available_clocksource has it";
        return Finding::warning("clock", text, advice);
    }
    Finding::ok("clock", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Level, Sources};
    use crate::names::units::{GIB, MIB};

    const MACHINE: Machine = Machine { descriptors: 65_536, memory_bytes: 8 * GIB, cores: 4 };

    fn kernel() -> Kernel {
        Kernel {
            backlog: Some(4096),
            ports: Some(28_232),
            tcp_bytes: Some(2 * GIB),
            clock: Some("kvm-clock".into()),
        }
    }

    /// Returns the subjects of the findings that are not well, without that of the address, which is this machine's.
    fn unwell(pairs: &[&str], machine: &Machine, kernel: &Kernel) -> Vec<String> {
        let sources = pairs.iter().fold(Sources::new(), |sources, pair| sources.set(pair));
        let config = Config::load(sources).expect("no mistakes").resolve(machine);
        let found = check(&config, machine, kernel).into_iter();
        let found = found.filter(|finding| finding.subject != "listen" && finding.level != Level::Ok);
        let found: Vec<Finding> = found.collect();
        assert!(found.iter().all(|finding| finding.advice.is_some()), "{found:?}");
        found.into_iter().map(|finding| finding.subject).collect()
    }

    #[test]
    fn each_limit_that_is_too_low_is_found() {
        let nothing: [&str; 0] = [];
        assert_eq!(unwell(&[], &MACHINE, &kernel()), nothing);
        let small = Machine { descriptors: 1024, ..MACHINE };
        assert_eq!(unwell(&[], &small, &kernel()), ["descriptors"]);
        assert_eq!(
            unwell(&["limits.max_connections=500"], &small, &kernel()),
            nothing,
            "chosen, and it fits"
        );
        assert_eq!(unwell(&["workers=5"], &MACHINE, &kernel()), ["workers"]);
        assert_eq!(unwell(&[], &MACHINE, &Kernel { backlog: Some(128), ..kernel() }), ["backlog"]);
        let tcp_bytes = Some(256 * MIB);
        assert_eq!(unwell(&[], &MACHINE, &Kernel { tcp_bytes, ..kernel() }), ["tcp memory"]);
        for clock in SLOW_CLOCKS {
            assert_eq!(unwell(&[], &MACHINE, &Kernel { clock: Some(clock.into()), ..kernel() }), ["clock"]);
        }
        // The machine does not tell: nothing is made up.
        assert_eq!(unwell(&[], &MACHINE, &Kernel::default()), nothing);
    }

    #[test]
    fn ports_matter_behind_a_proxy_on_this_machine() {
        let nothing: [&str; 0] = [];
        let proxy = "admission.trusted_proxies=127.0.0.1";
        assert_eq!(unwell(&[proxy], &MACHINE, &kernel()), ["ports"]);
        assert_eq!(unwell(&[proxy, "limits.max_connections=20000"], &MACHINE, &kernel()), nothing);
        assert_eq!(unwell(&[proxy, "listen=0.0.0.0:0"], &MACHINE, &kernel()), nothing, "a proxy elsewhere");
    }

    #[test]
    fn the_address_is_tried() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("an address");
        let tried = |text: &str| {
            let address = text.parse().expect("an address");
            listen(&address, std::slice::from_ref(&address))
        };
        let finding = tried(&address.to_string());
        assert!(
            finding.level == Level::Warning && finding.text.contains(&address.to_string()),
            "{finding:?}"
        );
        drop(taken);
        for text in ["127.0.0.1:0", "localhost:0", ":0"] {
            assert_eq!(tried(text).level, Level::Ok, "{text}");
        }
        // An address of the documentation, which no machine has.
        assert_eq!(tried("192.0.2.1:0").level, Level::Error);
        assert_eq!(tried("unix:/no/such/folder/socket").level, Level::Error);
    }
}
