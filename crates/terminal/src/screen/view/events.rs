//! Applies events of the client, and responses to requests, to the view.

use std::time::Instant;

use super::super::conversation::{ConversationName, Severity, TimelineItem};
use super::{HISTORY_PAGE, Link, View};
use crate::escape;
use crate::output::{count, seconds};
use crate::requests::{Request, Response, code_of};
use throng_client::{Event, SendError, State};
use throng_names::{RoomName, UserId};

impl View {
    /// Applies an event. Returns the requests that it makes necessary.
    pub(crate) fn handle_event(&mut self, event: Event, now: Instant) -> Vec<Request> {
        match event {
            Event::State(state) => {
                if let Some(link) = link(state, now) {
                    self.link = link;
                }
            }
            Event::Welcome { room, .. } => {
                self.link = Link::Online;
                return self.enter(&room);
            }
            Event::Recovered { room, messages } => {
                if messages > 0 {
                    let text = format!("recovered {}", count(messages, "message"));
                    self.show_notice_in(&room, &text, Severity::Success);
                }
                self.room(&room).entered();
                return vec![Request::Users { room }];
            }
            Event::Missed { room, messages } => {
                let some = messages.map_or("some messages".into(), |messages| count(messages, "message"));
                self.show_notice_in(&room, &format!("you missed {some}"), Severity::Error);
                if messages.is_none() {
                    self.room(&room).forget_offsets();
                }
                self.room(&room).entered();
                return vec![Request::Users { room }];
            }
            Event::Gap { room, from, to } => {
                self.show_notice_in(&room, &format!("you missed messages {from} to {to}"), Severity::Error);
            }
            Event::Expelled { room, code, message } => {
                let text = format!("you are out of this room: {message} ({code})");
                self.show_notice_in(&room, &text, Severity::Error);
            }
            Event::Message { room, user, name, text, offset, ts_ms, .. } => {
                let item = TimelineItem::message(&user, &text, ts_ms, Some(offset));
                self.push(&ConversationName::Room(room), item.named(name.as_ref()));
            }
            Event::Direct { user, name, text, ts_ms, .. } => {
                let item = TimelineItem::message(&user, &text, ts_ms, None).named(name.as_ref());
                self.push(&ConversationName::User(user), item);
            }
            Event::PresenceDiff { room, joined, left, members } => {
                let must_request_users = self.room(&room).apply_presence(joined, &left, members);
                if must_request_users {
                    return vec![Request::Users { room }];
                }
            }
            Event::Typing { room, user } => self.room(&room).set_typing(user, now),
            Event::Limited { retry_after } => {
                let ms = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
                self.set_status(&format!("too fast, going on in {}", seconds(ms)), Severity::Error);
            }
            Event::Refused { code, message, .. } => self.show_error(&format!("{message} ({code})")),
            // Later clients may have more events.
            _ => {}
        }
        Vec::new()
    }

    /// Applies the response to a request. Returns the requests that it makes necessary.
    ///
    /// `now_ms` is the time of day, in milliseconds since the Unix epoch.
    pub(crate) fn handle_response(
        &mut self,
        request: Request,
        result: Result<Response, SendError>,
        now_ms: u64,
    ) -> Vec<Request> {
        match (request, result) {
            (Request::Direct { user, text }, Ok(_)) => {
                let item = TimelineItem::message(&self.me, &text, now_ms, None);
                self.push(&ConversationName::User(user), item);
            }
            (Request::Join { room }, Ok(_)) => {
                let requests = self.enter(&room);
                self.select_name(&ConversationName::Room(room));
                return requests;
            }
            (Request::Leave { room }, Ok(_)) => self.remove(&ConversationName::Room(room)),
            (Request::Users { room }, Ok(Response::Users(page))) => {
                // A room that was left meanwhile must not come back.
                let Some(conversation) = self.find_room(room) else { return Vec::new() };
                if std::mem::take(&mut conversation.shows_users) {
                    let names: Vec<_> = page.users.iter().map(UserId::as_str).collect();
                    let text = format!("{}: {}", count(page.members, "member"), names.join(", "));
                    conversation.push(TimelineItem::notice(&text, Severity::Info));
                }
                conversation.set_users(page);
            }
            (Request::History { room, .. }, Ok(Response::History(page))) => {
                if let Some(conversation) = self.find_room(room) {
                    conversation.finish_fetching_older(Some(&page));
                }
            }
            (_, Ok(_)) => {}
            (request, Err(error)) => self.handle_failure(request, &error),
        }
        Vec::new()
    }

    /// Shows why a request failed, in the conversation where it was typed.
    fn handle_failure(&mut self, request: Request, error: &SendError) {
        let reason = match error {
            SendError::Refused { message, .. } => format!("{message} ({})", code_of(error)),
            other => other.to_string(),
        };
        match request {
            Request::History { room, .. } => {
                if let Some(conversation) = self.find_room(room) {
                    conversation.finish_fetching_older(None);
                }
                // After a lost connection, scrolling asks again.
                if *error != SendError::Disconnected {
                    self.set_status(&reason, Severity::Error);
                }
            }
            // After a lost connection, the next welcome asks again.
            Request::Users { .. } if *error == SendError::Disconnected => {}
            Request::Say { room, text } => {
                let notice = format!("not said: {text}: {reason}");
                self.push(&ConversationName::Room(room), TimelineItem::notice(&notice, Severity::Error));
            }
            Request::Direct { user, text } => {
                self.show_error(&format!("not said to {user}: {text}: {reason}"));
            }
            Request::Join { room } => self.show_error(&format!("cannot join {room}: {reason}")),
            Request::Leave { .. } | Request::Users { .. } => self.show_error(&reason),
        }
    }

    /// Notes that a room was entered. Returns the requests for its users and, when it is new, its last messages.
    fn enter(&mut self, room: &RoomName) -> Vec<Request> {
        self.room(room).entered();
        let is_new = self.room(room).timeline.is_empty();
        let before = if is_new { self.room(room).begin_fetching_older() } else { None };
        let history =
            before.map(|before| Request::History { room: room.clone(), before, limit: HISTORY_PAGE });
        [Request::Users { room: room.clone() }].into_iter().chain(history).collect()
    }
}

/// Returns the state of the connection to show, or `None` for a state that only later clients have.
fn link(state: State, now: Instant) -> Option<Link> {
    let clean = |reason: String| escape::clean(&reason).into_owned();
    Some(match state {
        State::Connecting { attempt } => Link::Connecting { attempt },
        State::Online => Link::Online,
        State::Waiting { delay, reason, .. } => {
            Link::Waiting { until: now + delay, reason: clean(reason.to_string()) }
        }
        State::Stopped { reason } => Link::Stopped { reason: clean(reason.to_string()) },
        _ => return None,
    })
}
