//! How a connection joins its room as the protocol demands, and what it does about texts that are no deliveries.

use super::super::protocol::Reaction;
use super::super::shared::Shared;
use super::super::texts::Wanted;
use super::super::wire::TEXT;
use super::{Connection, State};

impl Connection {
    /// Begins to join behind the WebSocket handshake, which began at `since_ns`. Without a join in the protocol, the
    /// connection is open at once.
    pub(super) fn begin_to_join(&mut self, since_ns: u64, shared: &mut Shared<'_>) {
        self.state = State::Joining { since_ns };
        let client = &shared.plan.client;
        if !client.protocol.has_join() {
            return self.finish_joining(since_ns, shared);
        }
        if let Some(first) = client.first(self.number as usize, self.room as usize) {
            self.send_frame(TEXT, first.as_bytes());
        }
    }

    fn finish_joining(&mut self, since_ns: u64, shared: &mut Shared<'_>) {
        self.state = State::Open;
        self.texts.want(if self.scanner.is_some() { Wanted::All } else { Wanted::Heartbeats });
        shared.record_handshake(self.room, since_ns);
        let hello = shared.hello(self.number as usize, self.room as usize);
        self.send(&hello);
    }

    /// Handles a text that has no mark.
    pub(super) fn handle_text(&mut self, text: &[u8], shared: &mut Shared<'_>) {
        let reaction = shared.plan.client.react(text, self.number as usize, self.room as usize);
        match (reaction, &self.state) {
            (Reaction::Answer(answer), _) => self.send_frame(TEXT, answer.as_bytes()),
            (Reaction::Joined, State::Joining { since_ns }) => self.finish_joining(*since_ns, shared),
            (Reaction::Refused(why) | Reaction::Failed(why), State::Joining { .. }) => {
                shared.counters.count_failed_handshake(why);
                self.drop_socket();
            }
            (Reaction::Refused(why) | Reaction::Failed(why), _) => {
                shared.counters.add_complaint(format!("the server says: {why}"));
                shared.counters.count_unmatched_text(text);
            }
            // Perhaps a message of another client, for one that has just joined.
            (Reaction::Keep, _) if memchr::memchr(shared.plan.mark, text).is_some() => {}
            (Reaction::Keep, _) => shared.counters.count_unmatched_text(text),
            (Reaction::Nothing | Reaction::Joined, _) => {}
        }
    }
}
