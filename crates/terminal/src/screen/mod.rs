//! The chat on a terminal's whole screen.

mod draw;
mod edit;
mod keys;
mod place;
#[cfg(test)]
mod tests;
mod tty;
mod view;
mod wrap;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::anyhow;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::crossterm::event::Event as Input;
use tokio::time::timeout;

use self::edit::Edit;
use self::keys::{Wish, press};
use self::place::Name;
use self::tty::Tty;
use self::view::{Act, Link, View};
use super::errands::{Errand, Errands};
use super::signals::Signals;
use super::told::count;
use super::{CLOSING, Failure};
use throng_client::{Client, Event, Events, State};
use throng_names::UserId;

/// The screen is drawn at most so often; what happens in between is drawn together.
const FRAME: Duration = Duration::from_millis(30);
/// The others are shown that somebody writes at most so often; the server passes on two a second.
const TYPING: Duration = Duration::from_secs(2);

/// Chats until the user goes or a signal comes.
pub(super) async fn run(
    client: Client,
    events: Events,
    mut signals: Signals,
    me: &str,
) -> Result<(), Failure> {
    let me: UserId = me.parse().map_err(|error| Failure::Usage(anyhow!("user: {error}")))?;
    let mut talk = Talk {
        view: View::new(me),
        edit: Edit::default(),
        errands: Errands::new(client),
        events,
        page: 1,
        shown_typing: None,
    };
    let mut tty = Tty::open()?;
    let ending = tokio::select! {
        () = signals.next() => Ok(()),
        ending = talk.whole(&mut tty) => ending,
    };
    drop(tty);
    if ending.is_ok() && talk.view.link == Link::Online {
        // What was said a moment ago has its answer on the way; what takes longer is counted.
        let _ = timeout(CLOSING, talk.until_answered()).await;
    }
    let unanswered = talk.errands.said();
    // It only tidies up: that it takes too long changes nothing.
    let _ = timeout(CLOSING, talk.errands.close()).await;
    ending?;
    if let Link::Stopped { reason } = talk.view.link {
        return Err(Failure::Unavailable(super::over(&reason)));
    }
    if unanswered > 0 {
        let lines = count(unanswered as u64, "line");
        return Err(Failure::Unanswered(anyhow!("{lines} unanswered: said, or not, nobody knows")));
    }
    Ok(())
}

struct Talk {
    view: View,
    edit: Edit,
    errands: Errands,
    events: Events,
    /// Messages in sight when the screen was last drawn.
    page: usize,
    shown_typing: Option<Instant>,
}

impl Talk {
    async fn whole(&mut self, tty: &mut Tty) -> Result<(), Failure> {
        let zone = TimeZone::system();
        let mut input = tty::events()?;
        let mut is_over = false;
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
                event = self.events.next(), if !is_over => {
                    is_over = event.is_none() || matches!(event, Some(Event::State(State::Stopped { .. })));
                    let asked = event.map(|event| self.view.hear(event, Instant::now()));
                    self.ask(asked.unwrap_or_default());
                }
                (errand, result) = self.errands.next() => {
                    let asked = self.view.done(errand, result, now_ms());
                    self.ask(asked);
                }
                typed = input.recv() => match typed {
                    Some(Ok(typed)) => if self.typed(typed, tty)? { return Ok(()) },
                    Some(Err(error)) => return Err(error.into()),
                    // The thread says why before it goes.
                    None => return Ok(()),
                },
                // Nothing has happened: it is only time to draw.
                () = until(draw_at), if draw_at.is_some() => continue,
            }
            let soon = Instant::now() + FRAME;
            draw_at = Some(draw_at.map_or(soon, |at| at.min(soon)));
        }
    }

    async fn until_answered(&mut self) {
        while self.errands.said() > 0 {
            tokio::select! {
                event = self.events.next() => {
                    let Some(event) = event else { return };
                    self.view.hear(event, Instant::now());
                }
                (errand, result) = self.errands.next() => {
                    self.view.done(errand, result, now_ms());
                }
            }
        }
    }

    fn ask(&mut self, errands: Vec<Errand>) {
        for errand in errands {
            if self.errands.is_full() {
                self.view.complain("too much is unanswered: wait, then try again");
                return;
            }
            self.errands.start(errand);
        }
    }

    /// Carries out what was typed; true to leave.
    fn typed(&mut self, input: Input, tty: &mut Tty) -> Result<bool, Failure> {
        let wish = match input {
            Input::Key(key) => press(key, &mut self.edit),
            Input::Paste(text) => {
                self.edit.insert(&text);
                Wish::Edited
            }
            // Drawing finds the new size by itself.
            _ => Wish::Nothing,
        };
        match wish {
            Wish::Nothing => {}
            Wish::Edited => self.show_typing(),
            Wish::Send if self.errands.is_full() => self.ask_nothing_more(),
            Wish::Send => match self.view.typed(&self.edit.take()) {
                Act::Quit => return Ok(true),
                Act::Ask(errand) => self.ask(vec![errand]),
                Act::Nothing => {}
            },
            Wish::NextPlace => self.view.turn(1),
            Wish::PreviousPlace => self.view.turn(-1),
            Wish::Up => {
                let older = self.view.scroll_up(self.page);
                self.ask(older.into_iter().collect());
            }
            Wish::Down => self.view.scroll_down(self.page),
            Wish::Redraw => tty.screen().clear()?,
            Wish::Quit => return Ok(true),
        }
        Ok(false)
    }

    /// The line stays where it is.
    fn ask_nothing_more(&mut self) {
        self.view.complain("too much is unanswered: wait, then try again");
    }

    fn show_typing(&mut self) {
        let now = Instant::now();
        let is_due = self.shown_typing.is_none_or(|at| now >= at + TYPING);
        let is_text = !self.edit.text().starts_with('/') && !self.edit.text().trim().is_empty();
        let here = self.view.here().map(|place| &place.name);
        if let (true, true, Some(Name::Room(room))) = (is_due, is_text, here) {
            self.errands.typing(room);
            self.shown_typing = Some(now);
        }
    }
}

async fn until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at.into()).await;
    }
}

/// Hours and minutes where the user is.
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
