//! Checks of presence: a user joins once, leaves with the last connection, and does not stay for ever.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{Checker, Conn, Guarantee, Violation, number, text};

impl Checker {
    pub(super) fn presence_diff(&mut self, conn: Conn, event: &Value, raw: &str) {
        let room = text(event, "room").to_owned();
        let Some(seat) = self.seat(conn, &room, raw) else { return };
        seat.members = Some(number(event, "members"));
        if event.get("joined").is_none() && event.get("left").is_none() {
            // A large room gives only the number of members, and nothing more about users it named while it was small.
            seat.users.clear();
        }
        let mut wrong = Vec::new();
        for (field, is_here) in [("joined", true), ("left", false)] {
            for user in event[field].as_array().into_iter().flatten().filter_map(Value::as_str) {
                if seat.users.insert(user.to_owned(), is_here) == Some(is_here) {
                    wrong.push(format!("user {user} has {field} twice in a row"));
                }
            }
        }
        let is_lossy = self.is_lossy;
        for what in wrong.into_iter().filter(|_| !is_lossy) {
            self.blame(conn, Guarantee::Presence, &room, None, &what, "", raw);
        }
    }

    /// Finds users who are shown in a room and are not there, users who are there and are shown to have left, and wrong
    /// numbers of members.
    pub(super) fn presence_unsettled(&self, found: &mut Vec<Violation>) {
        if self.is_lossy {
            return;
        }
        let mut there: HashMap<&str, HashSet<&str>> = HashMap::new();
        for connection in &self.connections {
            for room in connection.seats.keys() {
                there.entry(room).or_default().insert(&connection.user);
            }
        }
        for connection in self.connections.iter().filter(|connection| !connection.is_plain) {
            for (room, seat) in &connection.seats {
                let users = &there[room.as_str()];
                let wrong =
                    seat.users.iter().find(|(user, is_here)| users.contains(user.as_str()) != **is_here);
                if let Some((user, is_here)) = wrong {
                    let what = format!("user {user} is shown as here: {is_here}; these are here: {users:?}");
                    found.push(connection.violation(Guarantee::Presence, room, None, &what, "", ""));
                } else if seat.members.is_some_and(|members| members != users.len() as u64) {
                    let what = format!("{:?} members are shown, {} are here", seat.members, users.len());
                    found.push(connection.violation(Guarantee::Presence, room, None, &what, "", ""));
                }
            }
        }
    }
}
