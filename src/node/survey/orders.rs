//! Orders of operators that concern connections and rooms of this node.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Report;
use super::local::SHARD_PATIENCE;
use super::rows::connection_name;
use crate::names::{RoomName, UserId};
use crate::node::shared::Node;
use crate::protocol::close::EndReason;

/// How often a room is tried to be forgotten while messages of it are being written, and how long to wait in between:
/// the log writes every few milliseconds.
const FORGET_TRIES: usize = 50;
const FORGET_PAUSE: Duration = Duration::from_millis(10);

impl Node {
    /// Ends the connections of a user on this node but those that are excepted, and returns their number.
    pub(super) fn disconnect_here(
        &self,
        user: &UserId,
        end: Option<&(u16, String)>,
        except: &[String],
    ) -> usize {
        let reason = end.map_or(EndReason::Kicked, |(code, text)| EndReason::by_operator(*code, text));
        let connections = self.registry.directory.find(user).into_iter();
        let ending = connections
            .filter(|&id| except.is_empty() || !except.contains(&connection_name(&self.config().node, id)));
        ending.map(|id| self.registry.end(id, reason.clone())).count()
    }

    /// Lets the connections of a user on this node leave a room.
    pub(super) async fn leave_here(&self, user: &UserId, room: &RoomName) -> Report {
        let connections = self.registry.directory.find(user);
        let leaving: Vec<_> = connections.iter().map(|&id| self.registry.leave(id, room.clone())).collect();
        let mut done = 0;
        let answered = timeout(SHARD_PATIENCE, async {
            for left in leaving {
                done += usize::from(left.await.unwrap_or(false));
            }
        });
        if answered.await.is_ok() { Report::Done(done) } else { Report::Busy }
    }

    /// Forgets this node's part of a room.
    pub(super) async fn forget_here(&self, room: &RoomName) -> Report {
        for _ in 0..FORGET_TRIES {
            if let Ok(members) = self.broker.erase(room) {
                return Report::Done(members.unwrap_or(0));
            }
            sleep(FORGET_PAUSE).await;
        }
        Report::Busy
    }
}
