//! Why a link is down, in words for operators.

use std::io;
use std::time::Duration;

use super::call::{ServerError, brief};
use super::facts::Version;

/// Why a link has no connections. The text names the obstacle and, where the operator can remove it, the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DownReason {
    /// The server cannot be reached.
    #[error("cannot connect: {0}")]
    Unreachable(String),
    /// Nothing came within the deadline for connections.
    #[error("no connection within {0:?}: the server is not reachable, or does not answer")]
    ConnectDeadline(Duration),
    /// The server refuses the user or the password.
    #[error("the server refuses the login ({0}): check redis.username and redis.password")]
    LoginRefused(ServerError),
    /// The server forbids a command or a channel.
    #[error("the server refuses {command} ({error}): check the access control list of redis.username")]
    CommandRefused {
        /// The command.
        command: &'static str,
        /// The server's words.
        error: ServerError,
    },
    /// The other side does not speak the protocol.
    #[error("the answer is not that of Redis or Valkey, 7.0 or later: {0}")]
    NotRedis(String),
    /// A file for TLS cannot be read, or holds nothing usable.
    #[error("TLS: {0}")]
    Tls(String),
    /// The server is too old.
    #[error("version {0} is too old: Redis 7.0 or later is needed, or Valkey")]
    TooOld(Version),
    /// `INFO` does not show a fact that is needed.
    #[error("INFO {section} shows no {field}: a service that hides it cannot be used")]
    NoFact {
        /// The missing field.
        field: &'static str,
        /// The section of `INFO`.
        section: &'static str,
    },
    /// The server still reads its data.
    #[error("the server is loading its data")]
    Loading,
    /// The server is no master, or is one no longer.
    #[error("the server is a replica (role {role}): redis.addresses must lead to the master")]
    NotMaster {
        /// The role in `INFO replication`.
        role: String,
    },
    /// The server is part of a Redis Cluster and must not be, or the other way round.
    #[error("{}", if *is_cluster {
        "the server is part of a Redis Cluster: set redis.mode to \"cluster\""
    } else {
        "the server is not part of a Redis Cluster: set redis.mode to \"single\" or \"sentinel\""
    })]
    OtherMode {
        /// Whether the server is part of a Redis Cluster.
        is_cluster: bool,
    },
    /// No Sentinel names a master.
    #[error("no Sentinel of redis.addresses names a master: {0}")]
    NoMaster(String),
    /// The data set is another one than before: the server was demoted and promoted, or replaced.
    #[error("the server's data set has changed (a new master_replid)")]
    OtherDataSet,
    /// The two connections reached different servers.
    #[error("the name leads to several servers: one connection reached another process than the other")]
    TwoServers,
    /// The server closed a connection.
    #[error("the server closed the connection")]
    Closed,
    /// A call or a subscription was not answered in time.
    #[error("no answer within {0:?}")]
    AnswerDeadline(Duration),
    /// The link did not see its own probes.
    #[error("no probe came back within {0:?}: the connection of the subscriptions delivers nothing")]
    ProbeLost(Duration),
    /// The queue of pushes is full.
    #[error("more pushes wait than the queue can hold: this node is too slow")]
    PushesFull,
    /// More subscriptions are asked for than the link can remember.
    #[error("more than {0} subscriptions wait to be sent")]
    SubscriptionsFull(usize),
    /// The link's handle was dropped, or its task has failed. It does not try again.
    #[error("the link has ended")]
    Ended,
}

impl DownReason {
    /// Returns the meaning of a command's refusal.
    pub(super) fn of_refusal(command: &'static str, error: ServerError) -> Self {
        if error.text.contains("cluster support disabled") {
            return Self::OtherMode { is_cluster: false };
        }
        Self::CommandRefused { command, error }
    }

    /// Returns true when trying again does not help: somebody has to change the settings of the node or of the server.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::CommandRefused { error, .. } => &*error.code == "NOPERM",
            Self::LoginRefused(_)
            | Self::Tls(_)
            | Self::TooOld(_)
            | Self::NoFact { .. }
            | Self::OtherMode { .. } => true,
            _ => false,
        }
    }

    /// Returns the meaning of a refused `HELLO`.
    pub(super) fn of_login(error: ServerError) -> Self {
        match error.code.as_str() {
            "WRONGPASS" | "NOAUTH" => Self::LoginRefused(error),
            "ERR" if error.text.contains("AUTH") => Self::LoginRefused(error),
            "NOPERM" => Self::CommandRefused { command: "HELLO", error },
            "LOADING" => Self::Loading,
            _ => Self::NotRedis(error.to_string()),
        }
    }

    /// Returns the meaning of an error of the connection.
    pub(super) fn of_io(error: &io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        match error.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => Self::Closed,
            _ => Self::Unreachable(brief(&error.to_string())),
        }
    }
}
