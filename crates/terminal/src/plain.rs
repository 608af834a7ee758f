//! The chat in lines: for scripts, and for terminals that should not be drawn on.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use anyhow::anyhow;
use tokio::time::timeout;

use super::errands::{Answer, Errand, Errands, is_unknown};
use super::escape;
use super::input::{self, COMMANDS, Input};
use super::pipes::{Closed, Lines, Printer, Typed};
use super::signals::Signals;
use super::told::{Format, Told, count};
use super::{CLOSING, Failure};
use throng_client::{Client, Ended, Event, Events, SendError, State};
use throng_names::RoomName;

/// Chats until the input ends and everything is answered, or `patience` is over.
pub(super) async fn run(
    client: Client,
    events: Events,
    mut signals: Signals,
    format: Format,
    patience: Duration,
) -> Result<(), Failure> {
    let mut lines = Lines::read(io::stdin())?;
    let printer = Printer::start(io::stdout())?;
    let mut talk = Talk {
        errands: Errands::new(client),
        events,
        printer,
        format,
        room: None,
        rooms: BTreeSet::new(),
        must_wait: false,
        tally: Tally::default(),
    };
    let ending = tokio::select! {
        biased;
        () = signals.next() => Err(Ending::Interrupted),
        () = talk.printer.gone() => Err(Ending::Unwritten),
        ending = talk.whole(&mut lines, patience) => ending,
    };
    if matches!(ending, Err(Ending::Interrupted)) {
        // What was said a moment ago has its answer on the way; what takes longer is counted.
        let _ = timeout(CLOSING, talk.until_answered()).await;
    }
    let Talk { mut errands, printer, mut tally, .. } = talk;
    tally.unknown += errands.said();
    // Both only tidy up: that they take too long changes nothing.
    let _ = timeout(CLOSING, errands.close()).await;
    let written = timeout(CLOSING, printer.finish()).await;
    match ending {
        Err(Ending::Failed(failure)) => return Err(failure),
        Err(Ending::Unwritten | Ending::Interrupted) | Ok(()) => written.unwrap_or(Ok(()))?,
    }
    tally.verdict()
}

/// Why the talk ended before the input did.
enum Ending {
    /// A signal came.
    Interrupted,
    /// Nobody reads what is written.
    Unwritten,
    Failed(Failure),
}

impl From<Closed> for Ending {
    fn from(Closed: Closed) -> Self {
        Self::Unwritten
    }
}

impl From<Failure> for Ending {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

#[derive(PartialEq, Eq)]
enum Next {
    Go,
    Quit,
}

/// What a line leads to.
enum Step {
    Nothing,
    Quit,
    Help,
    Speak(RoomName),
    Ask(Errand),
}

struct Talk {
    errands: Errands,
    events: Events,
    printer: Printer,
    format: Format,
    /// Where one speaks.
    room: Option<RoomName>,
    /// Where one is; as many as the server lets us be in.
    rooms: BTreeSet<RoomName>,
    /// The next line is about what the one before does: a room is entered before something is said there.
    must_wait: bool,
    tally: Tally,
}

impl Talk {
    async fn whole(&mut self, lines: &mut Lines, patience: Duration) -> Result<(), Ending> {
        let mut why = String::new();
        let welcome = timeout(patience, self.until_welcome(&mut why)).await;
        welcome.unwrap_or_else(|_| {
            let error = anyhow!("no connection within {patience:?}{why}");
            Err(Failure::Unavailable(error).into())
        })?;
        self.until_end_of_input(lines).await?;
        // What is unanswered then is counted.
        timeout(patience, self.until_answered()).await.unwrap_or(Ok(()))
    }

    async fn until_welcome(&mut self, why: &mut String) -> Result<(), Ending> {
        while self.room.is_none() {
            let event = self.events.next().await;
            if let Some(Event::State(State::Waiting { reason, .. })) = &event {
                *why = format!(": {}", shown(reason));
            }
            self.hear(event).await?;
        }
        Ok(())
    }

    async fn until_end_of_input(&mut self, lines: &mut Lines) -> Result<(), Ending> {
        loop {
            // Events first: an ack must not overtake the message that it is for.
            tokio::select! {
                biased;
                event = self.events.next() => self.hear(event).await?,
                done = self.errands.next() => self.done(done).await?,
                line = lines.next(), if !self.must_wait && !self.errands.is_full() => {
                    match line.map_err(Failure::from)? {
                        Some(line) => if self.typed(line).await? == Next::Quit { return Ok(()) },
                        None => return Ok(()),
                    }
                }
            }
        }
    }

    async fn until_answered(&mut self) -> Result<(), Ending> {
        while self.errands.len() > 0 {
            tokio::select! {
                biased;
                event = self.events.next() => self.hear(event).await?,
                done = self.errands.next() => self.done(done).await?,
            }
        }
        Ok(())
    }

    async fn hear(&mut self, event: Option<Event>) -> Result<(), Ending> {
        let stopped = || Event::State(State::Stopped { reason: Ended { code: None, reason: String::new() } });
        let event = event.unwrap_or_else(stopped);
        let mut end = None;
        match &event {
            Event::Welcome { room, .. } if self.rooms.is_empty() && self.room.is_none() => {
                self.rooms.insert(room.clone());
                self.room = Some(room.clone());
            }
            Event::Expelled { room, .. } => self.forget(room),
            Event::State(State::Stopped { reason }) => end = Some(shown(reason)),
            _ => (),
        }
        if let Some(told) = Told::of_event(event) {
            self.tell(&told).await?;
        }
        match end {
            Some(reason) => {
                let unanswered = self.errands.said() + self.tally.unknown;
                let lost = if unanswered > 0 {
                    format!("; {} unanswered", count(unanswered as u64, "line"))
                } else {
                    String::new()
                };
                Err(Failure::Unavailable(super::over(&format!("{reason}{lost}"))).into())
            }
            None => Ok(()),
        }
    }

    async fn done(&mut self, (errand, result): (Errand, Result<Answer, SendError>)) -> Result<(), Ending> {
        self.must_wait &= errand.says();
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => {
                let told = Told::of_failure(&error);
                if is_unknown(&error) {
                    self.tally.unknown += 1;
                } else {
                    self.tally.refuse(&told);
                }
                return Ok(self.tell(&told).await?);
            }
        };
        match &answer {
            Answer::Joined(joined) => {
                self.rooms.insert(joined.room.clone());
                self.room = Some(joined.room.clone());
            }
            Answer::Left => {
                if let Errand::Leave { room } = &errand {
                    self.forget(room);
                }
            }
            _ => (),
        }
        for told in Told::of_answer(errand, answer) {
            self.tell(&told).await?;
        }
        Ok(())
    }

    fn forget(&mut self, room: &RoomName) {
        self.rooms.remove(room);
        self.room.take_if(|speaking| speaking == room);
    }

    async fn typed(&mut self, typed: Typed) -> Result<Next, Ending> {
        match self.step(&typed) {
            Ok(Step::Nothing) => {}
            Ok(Step::Quit) => return Ok(Next::Quit),
            Ok(Step::Help) => {
                for (usage, meaning) in COMMANDS {
                    self.tell(&Told::Help { usage, meaning }).await?;
                }
            }
            Ok(Step::Speak(room)) => {
                self.tell(&Told::Speaking { room: room.to_string() }).await?;
                self.room = Some(room);
            }
            Ok(Step::Ask(errand)) => {
                // From the call on nothing of the room is heard any more: what was said there must be, before.
                if matches!(errand, Errand::Leave { .. }) {
                    self.until_answered().await?;
                }
                self.must_wait = !errand.says();
                self.errands.start(errand);
            }
            Err(told) => {
                self.tally.refuse(&told);
                self.tell(&told).await?;
            }
        }
        Ok(Next::Go)
    }

    /// What a line leads to, or why to nothing.
    fn step(&self, typed: &Typed) -> Result<Step, Told> {
        let Typed::Line(line) = typed else {
            return Err(mistake("the line is too long, at most 64 KiB are read"));
        };
        let Some(input) = input::parse(line).map_err(|error| mistake(&error.to_string()))? else {
            return Ok(Step::Nothing);
        };
        let here = || self.room.clone().ok_or_else(|| mistake("you speak in no room: /join one, or /room"));
        Ok(Step::Ask(match input {
            Input::Quit => return Ok(Step::Quit),
            Input::Help => return Ok(Step::Help),
            Input::Speak(room) if self.rooms.contains(&room) => return Ok(Step::Speak(room)),
            Input::Speak(room) => return Err(mistake(&format!("you are not in {room}: /join {room}"))),
            Input::Say(text) => Errand::Say { room: here()?, text },
            Input::Tell(user, text) => Errand::Tell { user, text },
            Input::Join(room) => Errand::Join { room },
            Input::Leave(room) => Errand::Leave { room: room.map_or_else(here, Ok)? },
            Input::Who => Errand::Who { room: here()? },
            Input::History(limit) => Errand::History { room: here()?, before: None, limit },
        }))
    }

    async fn tell(&self, told: &Told) -> Result<(), Closed> {
        match told.line(self.format) {
            Some(line) => self.printer.print(line).await,
            None => Ok(()),
        }
    }
}

/// The server's reason is a text from elsewhere, also in the last line.
fn shown(reason: &Ended) -> String {
    escape::clean(&reason.to_string()).into_owned()
}

fn mistake(text: &str) -> Told {
    Told::error("input".into(), text.into(), None)
}

/// What did not go well.
#[derive(Default)]
struct Tally {
    refused: u64,
    first: Option<String>,
    unknown: usize,
}

impl Tally {
    fn refuse(&mut self, told: &Told) {
        self.refused += 1;
        self.first.get_or_insert_with(|| told.to_string().trim_start_matches("! ").to_owned());
    }

    fn verdict(self) -> Result<(), Failure> {
        if self.unknown > 0 {
            let lines = count(self.unknown as u64, "line");
            return Err(Failure::Unanswered(anyhow!("{lines} unanswered: done, or not, nobody knows")));
        }
        match self.first {
            Some(first) => {
                let lines = count(self.refused, "line");
                Err(Failure::Refused(anyhow!("{lines} refused, the first: {first}")))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_obeys_nobody() {
        let reason = Ended { code: Some(1012), reason: "\x1b[2J\u{202e}gone".to_owned() };
        assert_eq!(shown(&reason), "\\x1b[2J\\u{202e}gone (1012)");
    }
}
