//! The nodes: processes of the binary, each on a port of its own, that use one engine.

pub(crate) mod network;

use std::net::SocketAddr;
use std::time::Duration;

use network::Network;

use crate::support::eventually;
use crate::support::server::Server;

/// Longest wait for the end of a node that was told to stop.
const STOP: Duration = Duration::from_secs(20);

/// Settings of every node: heartbeats so short that clients notice soon when a node is stopped or cut off, and
/// histories so long that a client which was away for a while gets all that it missed.
const SETTINGS: &[(&str, &str)] = &[
    ("heartbeat.interval", "2s"),
    ("heartbeat.timeout", "3s"),
    ("drain.window", "500ms"),
    ("history.messages", "5000"),
    ("history.bytes", "4MiB"),
    ("limits.max_rooms_per_connection", "200"),
];

/// Running nodes. Dropping it ends them.
pub(crate) struct Nodes {
    nodes: Vec<Server>,
    settings: Vec<(String, String)>,
    network: Option<Network>,
}

fn launch(settings: &[(String, String)], network: Option<(&Network, usize)>) -> Server {
    let own = settings.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let all: Vec<(&str, &str)> = SETTINGS.iter().copied().chain(own).collect();
    match network {
        None => Server::start(&all),
        Some((network, node)) => {
            let wrapper = network.wrapper(node);
            let words: Vec<&str> = wrapper.iter().map(String::as_str).collect();
            Server::launch(&words, &network.listen(node), &all)
        }
    }
}

impl Nodes {
    /// Starts `count` nodes with these settings and waits until they are ready.
    #[track_caller]
    pub(crate) fn start(count: usize, settings: Vec<(String, String)>) -> Self {
        let nodes = (0..count).map(|_| launch(&settings, None)).collect();
        let nodes = Self { nodes, settings, network: None };
        nodes.wait_ready();
        nodes
    }

    /// Starts a node in each namespace of a network, as [`Nodes::start`] does.
    #[track_caller]
    pub(crate) fn start_apart(network: Network, settings: Vec<(String, String)>) -> Self {
        let nodes = (0..network.len()).map(|node| launch(&settings, Some((&network, node)))).collect();
        let nodes = Self { nodes, settings, network: Some(network) };
        nodes.wait_ready();
        nodes
    }

    /// Waits until every node says that it is ready.
    #[track_caller]
    pub(crate) fn wait_ready(&self) {
        for (index, node) in self.nodes.iter().enumerate() {
            eventually(&format!("node {index} is ready"), || node.get("/readyz").status == 200);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(Server::address).collect()
    }

    pub(crate) fn node(&self, index: usize) -> &Server {
        &self.nodes[index]
    }

    /// Returns the network between nodes and engine, if they have one of their own.
    pub(crate) fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    /// Ends a node with SIGKILL.
    #[track_caller]
    pub(crate) fn kill(&mut self, index: usize) {
        self.nodes[index].signal("KILL");
        self.nodes[index].wait_exit(STOP);
    }

    /// Stops a node with SIGSTOP until [`Nodes::resume`].
    #[track_caller]
    pub(crate) fn pause(&self, index: usize) {
        self.nodes[index].signal("STOP");
    }

    #[track_caller]
    pub(crate) fn resume(&self, index: usize) {
        self.nodes[index].signal("CONT");
    }

    /// Ends a node with SIGTERM, and checks that it ends without a fault.
    #[track_caller]
    pub(crate) fn terminate(&mut self, index: usize) {
        self.nodes[index].terminate();
        let status = self.nodes[index].wait_exit(STOP);
        assert!(status.success(), "node {index} ended with {status}: {}", self.nodes[index].log().tail(20));
    }

    /// Starts an ended node again, on another port, and returns its address.
    #[track_caller]
    pub(crate) fn restart(&mut self, index: usize) -> SocketAddr {
        let network = self.network.as_ref().map(|network| (network, index));
        self.nodes[index] = launch(&self.settings, network);
        eventually("the node is ready again", || self.nodes[index].get("/readyz").status == 200);
        self.nodes[index].address()
    }
}
