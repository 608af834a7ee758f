//! The chat on the whole screen of a terminal: the loop that connects keys, events and drawing.

mod conversation;
mod draw;
mod edit;
mod keys;
#[cfg(test)]
mod tests;
mod tty;
mod view;
mod wrap;

use std::ops::ControlFlow;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::anyhow;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::crossterm::event::Event as Input;
use tokio::time::timeout;

use self::conversation::ConversationName;
use self::edit::LineEditor;
use self::keys::{KeyAction, press};
use self::tty::Tty;
use self::view::{Action, Link, View};
use super::failure::{CLOSE_TIMEOUT, Failure};
use super::requests::{Request, Requests};
use super::signals::Signals;
use throng_client::{Client, Event, Events, State};
use throng_names::UserId;

/// Shortest time between two drawings of the screen. Changes in between are drawn together.
const FRAME: Duration = Duration::from_millis(30);
/// Shortest time between two typing events. The server passes on at most two a second.
const TYPING_INTERVAL: Duration = Duration::from_secs(2);

/// Runs the chat until the user leaves or a signal arrives.
pub(super) async fn run(
    client: Client,
    events: Events,
    mut signals: Signals,
    me: &str,
) -> Result<(), Failure> {
    let me: UserId = me.parse().map_err(|error| Failure::Usage(anyhow!("user: {error}")))?;
    let mut chat = ScreenChat {
        view: View::new(me),
        edit: LineEditor::default(),
        requests: Requests::new(client),
        events,
        page: 1,
        typing_sent_at: None,
    };
    let mut tty = Tty::open()?;
    let ending = tokio::select! {
        () = signals.next() => Ok(()),
        ending = chat.run(&mut tty) => ending,
    };
    drop(tty);
    if ending.is_ok() && chat.view.link == Link::Online {
        // Messages that were just sent get a moment for their answers. The others count as unanswered.
        let _ = timeout(CLOSE_TIMEOUT, chat.until_answered()).await;
    }
    let unanswered = chat.requests.unanswered_messages();
    // Closing only cleans up, so that a timeout changes nothing.
    let _ = timeout(CLOSE_TIMEOUT, chat.requests.close()).await;
    ending?;
    if let Link::Stopped { reason } = chat.view.link {
        return Err(Failure::stopped(&reason));
    }
    if unanswered > 0 {
        return Err(Failure::unanswered(unanswered));
    }
    Ok(())
}

struct ScreenChat {
    view: View,
    edit: LineEditor,
    requests: Requests,
    events: Events,
    /// Number of messages and notices that were visible when the screen was last drawn.
    page: usize,
    /// When the last typing event was sent.
    typing_sent_at: Option<Instant>,
}

impl ScreenChat {
    async fn run(&mut self, tty: &mut Tty) -> Result<(), Failure> {
        let zone = TimeZone::system();
        let mut input = tty::events()?;
        let mut has_stopped = false;
        let mut draw_at = Some(Instant::now());
        loop {
            let now = Instant::now();
            if draw_at.is_some_and(|at| at <= now) {
                tty.screen().draw(|frame| {
                    let time_of_day = |ms| time_of_day(ms, &zone);
                    self.page = draw::draw(frame, &self.view, &self.edit, now, &time_of_day);
                })?;
                draw_at = self.view.next_tick(now);
            }
            tokio::select! {
                event = self.events.next(), if !has_stopped => {
                    has_stopped = event.is_none() || matches!(event, Some(Event::State(State::Stopped { .. })));
                    let requests = event.map(|event| self.view.handle_event(event, Instant::now()));
                    self.start(requests.unwrap_or_default());
                }
                (request, result) = self.requests.next() => {
                    let requests = self.view.handle_response(request, result, now_ms());
                    self.start(requests);
                }
                event = input.recv() => match event {
                    Some(Ok(event)) => if self.handle_input(event, tty)?.is_break() { return Ok(()) },
                    Some(Err(error)) => return Err(error.into()),
                    // The thread has sent the error before it ended.
                    None => return Ok(()),
                },
                // Nothing has happened; it is only time to draw.
                () = until(draw_at), if draw_at.is_some() => continue,
            }
            let soon = Instant::now() + FRAME;
            draw_at = Some(draw_at.map_or(soon, |at| at.min(soon)));
        }
    }

    async fn until_answered(&mut self) {
        while self.requests.unanswered_messages() > 0 {
            tokio::select! {
                event = self.events.next() => {
                    let Some(event) = event else { return };
                    self.view.handle_event(event, Instant::now());
                }
                (request, result) = self.requests.next() => {
                    self.view.handle_response(request, result, now_ms());
                }
            }
        }
    }

    /// Starts requests, as far as there is space for them.
    fn start(&mut self, requests: Vec<Request>) {
        for request in requests {
            if self.requests.is_full() {
                return self.show_too_many();
            }
            self.requests.start(request);
        }
    }

    /// Handles a key, a paste or a change of the size. Breaks when the user wants to leave.
    fn handle_input(&mut self, input: Input, tty: &mut Tty) -> Result<ControlFlow<()>, Failure> {
        let action = match input {
            Input::Key(key) => press(key, &mut self.edit),
            Input::Paste(text) => {
                self.edit.insert(&text);
                KeyAction::Edited
            }
            // Drawing reads the size of the screen each time.
            _ => KeyAction::Nothing,
        };
        match action {
            KeyAction::Nothing => {}
            KeyAction::Edited => self.send_typing(),
            KeyAction::Send if self.requests.is_full() => self.show_too_many(),
            KeyAction::Send => match self.view.handle_line(&self.edit.take()) {
                Action::Quit => return Ok(ControlFlow::Break(())),
                Action::Request(request) => self.start(vec![request]),
                Action::Nothing => {}
            },
            KeyAction::NextConversation => self.view.select_relative(1),
            KeyAction::PreviousConversation => self.view.select_relative(-1),
            KeyAction::ScrollUp => {
                let older = self.view.scroll_up(self.page);
                self.start(older.into_iter().collect());
            }
            KeyAction::ScrollDown => self.view.scroll_down(self.page),
            KeyAction::Redraw => tty.screen().clear()?,
            KeyAction::Quit => return Ok(ControlFlow::Break(())),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Shows that too many requests are unanswered. The input line stays as it is.
    fn show_too_many(&mut self) {
        self.view.show_error("too many requests are unanswered: wait, then try again");
    }

    /// Sends a typing event when text for a room is being typed and the last event is old enough.
    fn send_typing(&mut self) {
        let now = Instant::now();
        let is_due = self.typing_sent_at.is_none_or(|at| now >= at + TYPING_INTERVAL);
        let is_text = !self.edit.text().starts_with('/') && !self.edit.text().trim().is_empty();
        let selected = self.view.selected().map(|conversation| &conversation.name);
        if let (true, true, Some(ConversationName::Room(room))) = (is_due, is_text, selected) {
            self.requests.typing(room);
            self.typing_sent_at = Some(now);
        }
    }
}

/// Sleeps until `at`. Returns at once when there is no such time, which the guard of the caller excludes.
async fn until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at.into()).await;
    }
}

/// Formats a time as hours and minutes in the user's time zone. A time out of range becomes blanks.
fn time_of_day(ms: u64, zone: &TimeZone) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.map_or("     ".into(), |time| {
        let time = time.to_zoned(zone.clone());
        format!("{:02}:{:02}", time.hour(), time.minute())
    })
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
