//! The engine of a node: it gives messages their positions, and keeps them.

use super::fanout::Fanout;
use crate::broker::durable::Durable;
use crate::broker::log::LogError;
use crate::broker::redis::Cluster;
use crate::broker::{BrokerError, Job};

/// An enum and not a trait object, so that the path in memory costs one branch.
#[derive(Debug)]
pub(super) enum Engine {
    /// The memory of this node: messages are published in one step.
    Memory,
    /// A log on disk (`history.dir`).
    Log(Box<Durable<Fanout>>),
    /// A server that several nodes share (`engine = "redis"`).
    Redis(Box<Cluster<Fanout>>),
}

impl Engine {
    /// Takes a message, which is published and answered later.
    ///
    /// # Errors
    /// Too much waits, or the engine is not available. The message is dropped without an answer then.
    pub(super) fn publish(&self, job: Job<Fanout>) -> Result<(), BrokerError> {
        match self {
            Self::Memory => Err(BrokerError::Gone),
            Self::Log(log) => log.publish(job),
            Self::Redis(cluster) => cluster.publish(job),
        }
    }

    /// Returns the engine that other nodes share, if there is one.
    pub(super) fn cluster(&self) -> Option<&Cluster<Fanout>> {
        match self {
            Self::Redis(cluster) => Some(cluster),
            Self::Memory | Self::Log(_) => None,
        }
    }

    /// Returns true when messages are published in one step, so that none waits for an answer.
    pub(super) const fn is_immediate(&self) -> bool {
        matches!(self, Self::Memory)
    }

    /// Returns how many messages wait or are being written.
    pub(super) fn waiting(&self) -> usize {
        match self {
            Self::Memory => 0,
            Self::Log(log) => log.waiting(),
            Self::Redis(cluster) => cluster.waiting(),
        }
    }

    /// Returns how many writes to `history.dir` have failed.
    pub(super) fn write_failures(&self) -> u64 {
        match self {
            Self::Log(log) => log.failures(),
            Self::Memory | Self::Redis(_) => 0,
        }
    }

    /// Returns false when nothing can be published: the log's thread has ended, or the engine has not answered for
    /// long.
    pub(super) fn can_publish(&self) -> bool {
        match self {
            Self::Memory => true,
            Self::Log(log) => log.is_running(),
            Self::Redis(cluster) => cluster.is_up(),
        }
    }

    /// Publishes what waits, and stops. Blocks until that is done, or the engine's patience is over.
    ///
    /// # Errors
    /// The log could not be closed cleanly.
    pub(super) fn stop(&self) -> Result<(), LogError> {
        match self {
            Self::Memory => Ok(()),
            Self::Log(log) => log.stop(),
            Self::Redis(cluster) => {
                cluster.stop();
                Ok(())
            }
        }
    }
}
