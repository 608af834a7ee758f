//! The rooms, users and connections that this node knows. A long list is gathered in slices, between which other work
//! of the thread has its turn.

use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::timeout;

use super::page::{Page, Smallest};
use super::rows::{ConnectionRow, RoomRow, SlowRow, UsersRow, connection_name};
use super::{MAX_ROWS, Report};
use crate::broker::memory;
use crate::names::{ConnectionId, Position, RoomName, UserId, matches_pattern};
use crate::node::shared::Node;
use crate::protocol::{Dialect, V1_SUBPROTOCOL};
use crate::registry::directory;
use crate::registry::inquiry::Described;
use crate::shard::laggards;

/// Longest wait for the answers of shards. One that takes longer stands still.
pub(super) const SHARD_PATIENCE: Duration = Duration::from_millis(500);
/// Bytes of a row around its names, roughly.
const AROUND_ROW: usize = 80;

impl Node {
    /// Returns a page of the rooms that exist on this node.
    pub(super) async fn rooms_here(
        &self,
        pattern: Option<&str>,
        after: Option<&RoomName>,
        limit: usize,
    ) -> Page<RoomRow> {
        let mut smallest = Smallest::new(limit.min(MAX_ROWS));
        for stripe in 0..memory::STRIPES {
            self.broker.each_in_stripe(stripe, |name| {
                let is_behind = after.is_none_or(|after| name > after);
                if is_behind && pattern.is_none_or(|pattern| matches_pattern(pattern, name.as_str())) {
                    smallest.note(name);
                }
            });
            yield_now().await;
        }
        let (names, more) = smallest.sorted();
        let rows = names.iter().filter_map(|name| self.room_here(name));
        Page::bounded(rows, more, |row| row.room.len() + AROUND_ROW)
    }

    /// Returns a room, if it exists on this node.
    pub(super) fn room_here(&self, name: &RoomName) -> Option<RoomRow> {
        let room = self.broker.find(name)?;
        let (Position { epoch, offset }, members) =
            room.with(|state| (state.position(), state.presence.members()));
        Some(RoomRow { room: name.to_string(), members, epoch: epoch.to_string(), offset: offset.0 })
    }

    /// Returns a page of the users in a room, if it exists on this node.
    pub(super) fn presence_here(
        &self,
        name: &RoomName,
        after: Option<&UserId>,
        limit: usize,
    ) -> Option<UsersRow> {
        let room = self.broker.find(name)?;
        let ((users, more), members) =
            room.with(|state| (state.presence.page_now(after, limit), state.presence.members()));
        let users = users.iter().map(UserId::to_string);
        let Page { rows: users, more } = Page::bounded(users, more, |user| user.len() + 3);
        Some(UsersRow { members, users, more })
    }

    /// Returns a page of the users with a connection on this node.
    pub(super) async fn users_here(&self, after: Option<&UserId>, limit: usize) -> Page<String> {
        let mut smallest = Smallest::new(limit.min(MAX_ROWS));
        for stripe in 0..directory::STRIPES {
            self.registry.directory.each_in_stripe(stripe, |user| {
                if after.is_none_or(|after| user > after) {
                    smallest.note(user);
                }
            });
            yield_now().await;
        }
        let (users, more) = smallest.sorted();
        Page::bounded(users.iter().map(UserId::to_string), more, |user| user.len() + 3)
    }

    /// Returns the connections of a user on this node.
    pub(super) async fn connections_here(&self, user: &UserId) -> Report {
        let mut connections = self.registry.directory.find(user);
        let more = connections.len() > MAX_ROWS;
        connections.truncate(MAX_ROWS);
        let asked: Vec<_> = connections.iter().map(|&id| (id, self.registry.describe(id))).collect();
        let mut rows = Vec::with_capacity(asked.len());
        let answered = timeout(SHARD_PATIENCE, async {
            for (id, described) in asked {
                // A connection that is gone has no answer.
                rows.extend(described.await.ok().map(|described| self.row_of(id, &described)));
            }
        });
        if answered.await.is_err() {
            return Report::Busy;
        }
        let len = |row: &ConnectionRow| {
            let rooms: usize = row.rooms.iter().map(|room| room.len() + 3).sum();
            rooms + row.connection.len() + row.node.len() + AROUND_ROW
        };
        Report::User(Page::bounded(rows, more, len))
    }

    fn row_of(&self, id: ConnectionId, described: &Described) -> ConnectionRow {
        let dialect = match described.dialect {
            Dialect::Plain => "plain",
            Dialect::V1 => V1_SUBPROTOCOL,
            // Not a connection of a user; listed so that each dialect has its word.
            Dialect::Sse => "sse",
        };
        ConnectionRow {
            connection: connection_name(&self.config().node, id),
            node: self.config().node.clone(),
            since_ms: self.clock.unix_ms().saturating_sub(described.age_ms),
            dialect: dialect.to_owned(),
            rooms: described.rooms.iter().map(RoomName::to_string).collect(),
        }
    }

    /// Returns the connections of this node with the longest queues in bytes, the longest first.
    pub(super) async fn slow_here(&self, limit: usize) -> Report {
        let asked = self.find_laggards();
        let answered = timeout(SHARD_PATIENCE, async {
            let mut all = Vec::with_capacity(asked.len());
            for found in asked {
                all.push(found?.await.ok()?);
            }
            Some(all)
        });
        let Ok(Some(found)) = answered.await else { return Report::Busy };
        let rows = laggards::slowest(found, limit).into_iter().map(|laggard| SlowRow {
            connection: connection_name(&self.config().node, laggard.id),
            node: self.config().node.clone(),
            user: laggard.user.map(|user| user.to_string()),
            bytes: laggard.bytes,
            messages: laggard.messages,
            age_ms: laggard.age_ms,
        });
        Report::Slow(rows.collect())
    }
}
