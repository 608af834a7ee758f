//! Carries out typed lines, as far as the view alone can.

use super::super::conversation::{ConversationName, Severity};
use super::{Action, View};
use crate::input::{self, COMMANDS, Input};
use crate::requests::Request;

impl View {
    /// Handles a typed line. Returns the action that remains for the caller.
    pub(crate) fn handle_line(&mut self, line: &str) -> Action {
        self.status = None;
        let input = match input::parse(line) {
            Ok(Some(input)) => input,
            Ok(None) => return Action::Nothing,
            Err(error) => {
                self.show_error(&error.to_string());
                return Action::Nothing;
            }
        };
        let selected = self.selected().map(|conversation| conversation.name.clone());
        match (input, selected) {
            (Input::Quit, _) => return Action::Quit,
            (Input::Help, _) => {
                for (usage, meaning) in COMMANDS {
                    self.show_notice(&format!("{usage}: {meaning}"), Severity::Info);
                }
            }
            (Input::Switch(room), _) if self.find(&ConversationName::Room(room.clone())).is_some() => {
                self.select_name(&ConversationName::Room(room));
            }
            (Input::Switch(room), _) => self.show_error(&format!("you are not in {room}: /join {room}")),
            (Input::Join(room), _) => return Action::Request(Request::Join { room }),
            (Input::Direct(user, text), _) => return Action::Request(Request::Direct { user, text }),
            (Input::Leave(Some(room)), _) => return Action::Request(Request::Leave { room }),
            (Input::Leave(None), Some(ConversationName::User(user))) => {
                self.remove(&ConversationName::User(user));
            }
            (Input::Say(text), Some(ConversationName::User(user))) => {
                return Action::Request(Request::Direct { user, text });
            }
            (Input::Say(text), Some(ConversationName::Room(room))) => {
                // The sender wants to see the message appear.
                self.room(&room).scrolled = 0;
                return Action::Request(Request::Say { room, text });
            }
            (Input::Leave(None), Some(ConversationName::Room(room))) => {
                return Action::Request(Request::Leave { room });
            }
            (Input::Users, Some(ConversationName::Room(room))) => {
                self.room(&room).shows_users = true;
                return Action::Request(Request::Users { room });
            }
            (Input::History(limit), Some(ConversationName::Room(room))) => {
                match self.room(&room).begin_fetching_older() {
                    Some(before) => return Action::Request(Request::History { room, before, limit }),
                    None => self.set_status("nothing older to show", Severity::Info),
                }
            }
            (Input::Users | Input::History(_), Some(ConversationName::User(_))) => {
                self.show_error("/who and /history work in rooms only");
            }
            (Input::Say(_) | Input::Leave(None) | Input::Users | Input::History(_), None) => {
                self.show_error("you are in no room: /join one");
            }
        }
        Action::Nothing
    }
}
