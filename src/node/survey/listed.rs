//! The rooms that everybody may see in a list: those that `chat.listed_rooms` names, with their members and their last
//! messages. All of it is read when somebody asks; nothing is written for it when a message is published.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::yield_now;

use super::page::PAGE_BYTES;
use super::{Report, Survey};
use crate::broker::memory;
use crate::names::{RoomName, matches_pattern};
use crate::node::listing::ListedRow;
use crate::node::shared::Node;
use crate::protocol::event::Preview;

/// Most rooms of the list.
const MAX_LISTED: usize = 200;
/// Most characters of a message that the list shows.
const MAX_CHARS: usize = 120;
/// Rooms that are looked at before other tasks of the thread have their turn.
const AT_ONCE: usize = 64;
/// Bytes of a row around its names, roughly.
const AROUND_ROW: usize = 80;

impl Node {
    /// Returns the listed rooms of this node that have members or messages: those with most members, at most
    /// [`MAX_LISTED`], and as many of their last messages as fit into an answer for another node.
    pub(super) async fn listed_here(&self) -> Vec<ListedRow> {
        let config = Arc::clone(&*self.config());
        self.listing.rows(&config, self.find_listed(&config.chat.listed_rooms)).await
    }

    /// Returns the listed rooms, and how long this thread was busy with it.
    async fn find_listed(&self, patterns: &[String]) -> (Vec<ListedRow>, Duration) {
        let mut largest = BinaryHeap::new();
        let mut busy = Duration::ZERO;
        // Without a pattern nothing is listed, and no room is looked at.
        for stripe in 0..if patterns.is_empty() { 0 } else { memory::STRIPES } {
            let mut began = Instant::now();
            let rooms = self.broker.rooms_in_stripe(stripe);
            for some in rooms.chunks(AT_ONCE) {
                for room in some.iter().filter(|room| is_listed(patterns, room.name().as_str())) {
                    let (members, has_messages) =
                        room.with(|state| (state.presence.members(), !state.history().is_empty()));
                    if members > 0 || has_messages {
                        // The smallest is on top.
                        largest.push((Reverse(members), room.name().clone()));
                    }
                    if largest.len() > MAX_LISTED {
                        largest.pop();
                    }
                }
                busy += began.elapsed();
                yield_now().await;
                began = Instant::now();
            }
        }
        let began = Instant::now();
        let rows = largest.into_sorted_vec().into_iter();
        let rows = bounded(rows.filter_map(|(Reverse(members), name)| self.listed_row(&name, members)));
        (rows, busy + began.elapsed())
    }

    fn listed_row(&self, name: &RoomName, members: usize) -> Option<ListedRow> {
        let room = self.broker.find(name)?;
        let page = room.with(|state| state.recent(None, None, 1));
        let last = page.frames.first().and_then(|frame| Preview::of(frame, MAX_CHARS));
        Some(ListedRow { room: name.to_string(), members, last })
    }
}

/// Leaves out the last messages that do not fit into the answer of a node, those of the smallest rooms first.
fn bounded(rows: impl Iterator<Item = ListedRow>) -> Vec<ListedRow> {
    let mut rows: Vec<_> = rows.collect();
    let names: usize = rows.iter().map(|row| row.room.len() + AROUND_ROW).sum();
    let mut left = PAGE_BYTES.saturating_sub(names);
    for row in &mut rows {
        let len = row.last.as_ref().map_or(0, Preview::max_len);
        left = left.saturating_sub(len);
        if left == 0 {
            row.last = None;
        }
    }
    rows
}

/// Returns true for a room whose name matches one of the patterns.
fn is_listed(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| matches_pattern(pattern, name))
}

impl Survey {
    /// Returns the list of all nodes: the rooms with most members first, those with as many by name. Each node knows
    /// the users of all nodes in its rooms; one that is behind has not heard the latest yet. A node lists what its own
    /// settings name, and only what `patterns` names, too, is kept.
    #[must_use]
    pub fn listed(self, patterns: &[String]) -> Vec<ListedRow> {
        let rows = self.reports.into_iter().filter_map(|report| match report {
            Report::Listed(rows) => Some(rows),
            _ => None,
        });
        let mut rows: Vec<_> = rows.flatten().filter(|row| is_listed(patterns, &row.room)).collect();
        rows.sort_by(|one, other| one.room.cmp(&other.room));
        rows.dedup_by(|from, into| {
            let is_same = from.room == into.room;
            if is_same {
                into.join(from);
            }
            is_same
        });
        // Stable: rooms with as many members stay sorted by name.
        rows.sort_by_key(|row| Reverse(row.members));
        rows.truncate(MAX_LISTED);
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(room: &str, members: usize, said: Option<(&str, u64)>) -> ListedRow {
        let last = said.map(|(text, ts)| Preview::new("anna", text, ts));
        ListedRow { room: room.into(), members, last }
    }

    #[test]
    fn the_lists_of_nodes_become_one() {
        let one = vec![row("b", 3, Some(("old", 1))), row("a", 1, None), row("secret", 9, None)];
        let other = vec![row("c", 3, None), row("b", 2, Some(("new", 2))), row("a", 1, Some(("hi", 1)))];
        let reports = vec![Report::Listed(one), Report::Listed(other), Report::Busy];
        let survey = Survey { reports, unanswered: Vec::new() };
        let expected = [row("b", 3, Some(("new", 2))), row("c", 3, None), row("a", 1, Some(("hi", 1)))];
        assert_eq!(survey.listed(&["?".into(), "a".into(), "b".into(), "c".into()]), expected);
    }

    #[test]
    fn an_answer_has_all_rooms_and_as_many_messages_as_fit() {
        let long = "\u{1}".repeat(MAX_CHARS);
        let rows = (0..MAX_LISTED).map(|n| row(&format!("{n:064}"), n, Some((&long, 1))));
        let rows = bounded(rows);
        assert_eq!(rows.len(), MAX_LISTED);
        let with_message = rows.iter().take_while(|row| row.last.is_some()).count();
        assert!((5..100).contains(&with_message), "{with_message}");
        assert!(rows[with_message..].iter().all(|row| row.last.is_none()));
        let json = simd_json::serde::to_vec(&Report::Listed(rows)).unwrap();
        assert!(json.len() <= PAGE_BYTES, "{}", json.len());
    }
}
