//! The checks that hold when everybody is settled: all members are at one position, and they have seen every message
//! that was acknowledged, unless they were told otherwise.

use std::collections::HashMap;

use super::{Checker, Rule, Window};
use crate::load::record::{Client, Name, Position};

impl Checker {
    pub(super) fn settled(&mut self) {
        self.at_one_position();
        let acks = std::mem::take(&mut self.acks);
        for (sender, number, room, at) in &acks {
            self.is_seen(*sender, *number, room, at);
        }
        if self.window.must_lose && self.window.told == 0 {
            let what = format!("after {:?} no client was told that messages are lost", self.window.name);
            self.verdict.add(Rule::Loss, what);
        }
        self.window = Window::default();
    }

    fn at_one_position(&mut self) {
        let mut first: HashMap<&Name, (Client, Position)> = HashMap::new();
        let mut wrong = Vec::new();
        for ((client, room), view) in &self.views {
            let here = Position { epoch: view.epoch.clone(), offset: view.last };
            if !view.is_open {
                wrong.push((*client, room.clone(), "not in the room".to_owned()));
                continue;
            }
            let (other, there) = first.entry(room).or_insert_with(|| (*client, here.clone()));
            if *there != here {
                wrong.push((*client, room.clone(), format!("at {here:?}, client {} at {there:?}", other.0)));
            }
        }
        for (client, room, what) in wrong {
            self.blame(Rule::Settled, client, &room, &what);
        }
    }

    /// Checks that an acknowledged message is in its sender's view, and in all others of the same epoch that reach so
    /// far back. A sender that has begun another view since was told that it has lost messages.
    fn is_seen(&mut self, sender: Client, number: usize, room: &Name, at: &Position) {
        let Some(own) = self.views.get(&(sender, room.clone())).filter(|view| view.number == number) else {
            return;
        };
        let lacks: Vec<Client> = self
            .views
            .iter()
            .filter(|((_, other), view)| other == room && view.epoch == own.epoch && view.start < at.offset)
            .filter(|(_, view)| view.ids.get(&at.offset) != Some(&at.epoch) && !view.is_in_gap(at.offset))
            .map(|((client, _), _)| *client)
            .collect();
        for client in lacks {
            let what = format!("{}-{} is acknowledged and was not seen", at.epoch, at.offset);
            self.blame(Rule::Ack, client, room, &what);
        }
    }
}
