//! Nodes in network namespaces, so that the link between a node and the engine can be cut in one direction or in both,
//! while clients still reach the node. It needs root and `iproute2`.
//!
//! Each namespace has two links: one to the engine, one to the clients. The engine has an address of its own on the
//! loopback device outside. A link that is cut in one direction sends its packets to a hardware address that nobody
//! has: they vanish, and nobody is told.

use std::net::Ipv4Addr;
use std::process::Command;

/// A direction in which a link is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    ToEngine,
    ToNode,
    Both,
}

/// A hardware address that nobody has.
const NOBODY: &str = "02:00:00:00:00:99";

/// Networks that can exist on one machine at once, from any process.
const NETWORKS: u8 = 100;
/// Attempts to claim one of them.
const ATTEMPTS: usize = 20;

/// The namespaces of some nodes. Dropping it removes them.
pub(crate) struct Network {
    number: u8,
    nodes: usize,
}

fn ip(line: &str) -> Result<(), String> {
    let output = Command::new("ip").args(line.split(' ')).output().map_err(|error| error.to_string())?;
    let problem = || format!("ip {line}: {}", String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(()) } else { Err(problem()) }
}

fn engine_of(network: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 213, 80 + network, 254)
}

impl Network {
    /// Makes a namespace for each node; an error says why this machine cannot.
    pub(crate) fn new(nodes: usize) -> Result<Self, String> {
        let network = Self { number: Self::claim()?, nodes };
        for node in 0..nodes {
            network.connect(node)?;
        }
        Ok(network)
    }

    /// Claims the addresses of a network by adding that of its engine, which fails where another process has it.
    fn claim() -> Result<u8, String> {
        let mut outcome = Err("no addresses are free".to_owned());
        for _ in 0..ATTEMPTS {
            let number = fastrand::u8(..NETWORKS);
            outcome = ip(&format!("addr add {}/32 dev lo", engine_of(number))).map(|()| number);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    fn connect(&self, node: usize) -> Result<(), String> {
        let space = self.namespace(node);
        ip(&format!("netns add {space}"))?;
        ip(&format!("-n {space} link set lo up"))?;
        for kind in ['e', 'c'] {
            let (near, far) = (self.device(node, kind, 'n'), self.device(node, kind, 'f'));
            ip(&format!("link add {near} type veth peer name {far} netns {space}"))?;
            ip(&format!("addr add {}/30 dev {near}", self.address(node, kind, 1)))?;
            ip(&format!("link set {near} up"))?;
            ip(&format!("-n {space} addr add {}/30 dev {far}", self.address(node, kind, 2)))?;
            ip(&format!("-n {space} link set {far} up"))?;
        }
        ip(&format!("-n {space} route add {} via {}", self.engine(), self.address(node, 'e', 1)))
    }

    fn namespace(&self, node: usize) -> String {
        format!("throng-{}-{}-{node}", std::process::id(), self.number)
    }

    /// Returns the name of a device: at most 15 characters.
    fn device(&self, node: usize, kind: char, end: char) -> String {
        format!("t{}{kind}{end}{}{node}", std::process::id(), self.number)
    }

    /// Returns an address of a link: number 1 is outside, number 2 in the namespace.
    fn address(&self, node: usize, kind: char, number: u8) -> Ipv4Addr {
        let block = u8::try_from(node).expect("few nodes") * 8 + if kind == 'e' { 0 } else { 4 };
        Ipv4Addr::new(10, 213, 80 + self.number, block + number)
    }

    /// Returns the address at which nodes find the engine.
    pub(crate) fn engine(&self) -> Ipv4Addr {
        engine_of(self.number)
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes
    }

    /// Returns the command that runs a program in the namespace of a node.
    pub(crate) fn wrapper(&self, node: usize) -> Vec<String> {
        ["ip", "netns", "exec", &self.namespace(node)].map(str::to_owned).to_vec()
    }

    /// Returns the address on which a node listens for clients.
    pub(crate) fn listen(&self, node: usize) -> String {
        format!("{}:0", self.address(node, 'c', 2))
    }

    /// Cuts the link between a node and the engine.
    #[track_caller]
    pub(crate) fn cut(&self, node: usize, cut: Cut) {
        let space = self.namespace(node);
        if cut != Cut::ToNode {
            let (far, near) = (self.device(node, 'e', 'f'), self.address(node, 'e', 1));
            let line = format!("-n {space} neigh replace {near} lladdr {NOBODY} dev {far} nud permanent");
            ip(&line).expect("the way to the engine is cut");
        }
        if cut != Cut::ToEngine {
            let (near, far) = (self.device(node, 'e', 'n'), self.address(node, 'e', 2));
            let line = format!("neigh replace {far} lladdr {NOBODY} dev {near} nud permanent");
            ip(&line).expect("the way to the node is cut");
        }
    }

    /// Mends the link between a node and the engine.
    #[track_caller]
    pub(crate) fn mend(&self, node: usize) {
        let space = self.namespace(node);
        let (far, near) = (self.device(node, 'e', 'f'), self.device(node, 'e', 'n'));
        // An entry that is not there was not cut.
        let _ = ip(&format!("-n {space} neigh del {} dev {far}", self.address(node, 'e', 1)));
        let _ = ip(&format!("neigh del {} dev {near}", self.address(node, 'e', 2)));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for node in 0..self.nodes {
            // One end of a link goes with the other.
            let _ = ip(&format!("link del {}", self.device(node, 'e', 'n')));
            let _ = ip(&format!("link del {}", self.device(node, 'c', 'n')));
            let _ = ip(&format!("netns del {}", self.namespace(node)));
        }
        let _ = ip(&format!("addr del {}/32 dev lo", self.engine()));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::process::Stdio;
    use std::time::Duration;

    use super::*;

    /// Asks from the namespace of a node for a line of the engine's address; false when none comes within a second.
    fn reaches(network: &Network, node: usize, port: u16) -> bool {
        let script = format!("exec 3<>/dev/tcp/{}/{port} && read -t 1 line <&3", network.engine());
        let wrapper = network.wrapper(node);
        let mut command = Command::new("timeout");
        command.arg("2").args(wrapper).args(["bash", "-c", &script]).stderr(Stdio::null());
        command.status().expect("timeout runs").success()
    }

    #[test]
    fn a_link_is_cut_in_each_direction_and_mended() {
        let network = match Network::new(2) {
            Ok(network) => network,
            Err(problem) => {
                println!("skipped: {problem}");
                return;
            }
        };
        let listener =
            TcpListener::bind(SocketAddr::from((network.engine(), 0))).expect("the engine's address");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let _ = stream.write_all(b"hello\n");
                let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
                std::thread::spawn(move || stream.read(&mut [0]));
            }
        });
        assert!(reaches(&network, 0, port));
        for cut in [Cut::ToEngine, Cut::ToNode, Cut::Both] {
            network.cut(0, cut);
            assert!(!reaches(&network, 0, port), "{cut:?}");
            assert!(reaches(&network, 1, port), "{cut:?}");
            network.mend(0);
            assert!(reaches(&network, 0, port), "{cut:?}");
        }
    }
}
