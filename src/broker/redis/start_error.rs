//! Why the engine cannot be started.

use crate::names::NameError;

/// Why the engine cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The server was not reached in time, or cannot be used.
    #[error("the engine at {address} cannot be used: {reason}")]
    Unusable {
        /// The server's address.
        address: String,
        /// Why.
        reason: String,
    },
    /// The system does not start a thread.
    #[error("cannot start the thread of the engine")]
    Thread(#[source] std::io::Error),
    /// The node's name is not valid.
    #[error("node = \"{name}\" is no name of a node: {error}")]
    Name {
        /// The name.
        name: String,
        /// Why.
        error: NameError,
    },
    /// Another node with the same name is alive.
    #[error(
        "node = \"{0}\": another live node has this name; give each node its own, or none for a random one"
    )]
    NameTaken(String),
    /// The cluster has as many nodes as it can have.
    #[error("the cluster has {most} nodes already, and cannot have more")]
    TableFull {
        /// The most nodes.
        most: usize,
    },
    /// The server was reached, and the node was not entered in its table of nodes in time.
    #[error("the engine at {address} has not entered this node in its table of nodes within {seconds} s")]
    NotEntered {
        /// The server's address.
        address: String,
        /// How long the node has waited.
        seconds: u64,
    },
}
