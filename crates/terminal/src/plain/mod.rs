//! The chat in lines: for scripts, and for terminals that should not be drawn on.

mod outcomes;

use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::anyhow;
use tokio::time::timeout;

use self::outcomes::LineOutcomes;
use super::escape;
use super::failure::{CLOSE_TIMEOUT, Failure};
use super::input::{self, COMMANDS, Input};
use super::output::{Format, OutputLine, count};
use super::pipes::{InputLine, InputLines, OutputClosed, Printer};
use super::requests::{Request, Requests, Response, is_outcome_unknown};
use super::signals::Signals;
use throng_client::{Client, Ended, Event, Events, SendError, State};
use throng_names::RoomName;

/// Runs the chat until the input has ended and every request is answered. `patience` limits the wait for the first
/// connection, and the wait for answers at the end of the input.
pub(super) async fn run(
    client: Client,
    events: Events,
    mut signals: Signals,
    format: Format,
    patience: Duration,
) -> Result<(), Failure> {
    let mut lines = InputLines::read(io::stdin())?;
    let printer = Printer::start(io::stdout())?;
    let mut chat = PlainChat {
        requests: Requests::new(client),
        events,
        printer,
        format,
        room: None,
        rooms: BTreeSet::new(),
        must_wait: false,
        outcomes: LineOutcomes::default(),
    };
    let ending = tokio::select! {
        biased;
        () = signals.next() => Err(Ending::Interrupted),
        () = chat.printer.closed() => Err(Ending::OutputClosed),
        ending = chat.run(&mut lines, patience) => ending,
    };
    if matches!(ending, Err(Ending::Interrupted)) {
        // Messages that were just sent get a moment for their answers. The others count as unanswered.
        let _ = timeout(CLOSE_TIMEOUT, chat.until_answered()).await;
    }
    let PlainChat { mut requests, printer, mut outcomes, .. } = chat;
    outcomes.add_unanswered(requests.unanswered_messages());
    // Both waits only clean up, so that a timeout of theirs changes nothing.
    let _ = timeout(CLOSE_TIMEOUT, requests.close()).await;
    let written = timeout(CLOSE_TIMEOUT, printer.finish()).await;
    match ending {
        Err(Ending::Failed(failure)) => return Err(failure),
        Err(Ending::OutputClosed | Ending::Interrupted) | Ok(()) => written.unwrap_or(Ok(()))?,
    }
    outcomes.into_result()
}

/// Why the chat ended before its input did.
enum Ending {
    /// A signal arrived.
    Interrupted,
    /// The reader of standard output is gone.
    OutputClosed,
    Failed(Failure),
}

impl From<OutputClosed> for Ending {
    fn from(OutputClosed: OutputClosed) -> Self {
        Self::OutputClosed
    }
}

impl From<Failure> for Ending {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// The action that a typed line asks for.
enum Action {
    Nothing,
    Quit,
    Help,
    Switch(RoomName),
    Request(Request),
}

struct PlainChat {
    requests: Requests,
    events: Events,
    printer: Printer,
    format: Format,
    /// The room to which typed texts are sent.
    room: Option<RoomName>,
    /// The rooms that the user is in. The server limits their number.
    rooms: BTreeSet<RoomName>,
    /// True while the next line has to wait for a request that could change its meaning: `/join` must have entered its
    /// room before the text behind it is sent there.
    must_wait: bool,
    outcomes: LineOutcomes,
}

impl PlainChat {
    async fn run(&mut self, lines: &mut InputLines, patience: Duration) -> Result<(), Ending> {
        let mut last_failure = String::new();
        let welcome = timeout(patience, self.until_welcome(&mut last_failure)).await;
        welcome.unwrap_or_else(|_| {
            let error = anyhow!("no connection within {patience:?}{last_failure}");
            Err(Failure::Unavailable(error).into())
        })?;
        self.until_end_of_input(lines).await?;
        // Messages that are not answered in time are counted as unanswered by the caller.
        timeout(patience, self.until_answered()).await.unwrap_or(Ok(()))
    }

    /// Waits for the first welcome. Meanwhile `last_failure` tells why the last attempt failed.
    async fn until_welcome(&mut self, last_failure: &mut String) -> Result<(), Ending> {
        while self.room.is_none() {
            let event = self.events.next().await;
            if let Some(Event::State(State::Waiting { reason, .. })) = &event {
                *last_failure = format!(": {}", escaped(reason));
            }
            self.handle_event(event).await?;
        }
        Ok(())
    }

    async fn until_end_of_input(&mut self, lines: &mut InputLines) -> Result<(), Ending> {
        loop {
            // Events come first, so that no ack is printed before the message that it is for.
            tokio::select! {
                biased;
                event = self.events.next() => self.handle_event(event).await?,
                done = self.requests.next() => self.handle_response(done).await?,
                line = lines.next(), if !self.must_wait && !self.requests.is_full() => {
                    match line.map_err(Failure::from)? {
                        Some(line) => if self.handle_line(line).await?.is_break() { return Ok(()) },
                        None => return Ok(()),
                    }
                }
            }
        }
    }

    async fn until_answered(&mut self) -> Result<(), Ending> {
        while self.requests.len() > 0 {
            tokio::select! {
                biased;
                event = self.events.next() => self.handle_event(event).await?,
                done = self.requests.next() => self.handle_response(done).await?,
            }
        }
        Ok(())
    }

    /// Prints an event. `None`, the end of the events, is handled like a stop without a reason.
    async fn handle_event(&mut self, event: Option<Event>) -> Result<(), Ending> {
        let stopped = || Event::State(State::Stopped { reason: Ended { code: None, reason: String::new() } });
        let event = event.unwrap_or_else(stopped);
        let mut stop_reason = None;
        match &event {
            Event::Welcome { room, .. } if self.rooms.is_empty() && self.room.is_none() => {
                self.rooms.insert(room.clone());
                self.room = Some(room.clone());
            }
            Event::Expelled { room, .. } => self.forget(room),
            Event::State(State::Stopped { reason }) => stop_reason = Some(escaped(reason)),
            _ => (),
        }
        if let Some(line) = OutputLine::from_event(event) {
            self.print(&line).await?;
        }
        let Some(reason) = stop_reason else { return Ok(()) };
        let lost = match self.requests.unanswered_messages() + self.outcomes.unanswered() {
            0 => String::new(),
            unanswered => format!("; {} unanswered", count(unanswered as u64, "line")),
        };
        Err(Failure::stopped(&format!("{reason}{lost}")).into())
    }

    async fn handle_response(
        &mut self,
        (request, result): (Request, Result<Response, SendError>),
    ) -> Result<(), Ending> {
        self.must_wait &= request.is_message();
        let response = match result {
            Ok(response) => response,
            Err(error) => {
                let line = OutputLine::from_error(&error);
                if is_outcome_unknown(&error) {
                    self.outcomes.add_unanswered(1);
                } else {
                    self.outcomes.add_refused(&line);
                }
                return Ok(self.print(&line).await?);
            }
        };
        match &response {
            Response::Joined(joined) => {
                self.rooms.insert(joined.room.clone());
                self.room = Some(joined.room.clone());
            }
            Response::Left => {
                if let Request::Leave { room } = &request {
                    self.forget(room);
                }
            }
            Response::Acked(_) | Response::Delivered(_) | Response::Users(_) | Response::History(_) => (),
        }
        for line in OutputLine::from_response(request, response) {
            self.print(&line).await?;
        }
        Ok(())
    }

    /// Notes that the user is no longer in the room.
    fn forget(&mut self, room: &RoomName) {
        self.rooms.remove(room);
        self.room.take_if(|current| current == room);
    }

    /// Does what a typed line asks for. Breaks when it asks to quit.
    async fn handle_line(&mut self, line: InputLine) -> Result<ControlFlow<()>, Ending> {
        match self.action(&line) {
            Ok(Action::Nothing) => {}
            Ok(Action::Quit) => return Ok(ControlFlow::Break(())),
            Ok(Action::Help) => {
                for (usage, meaning) in COMMANDS {
                    self.print(&OutputLine::Help { usage, meaning }).await?;
                }
            }
            Ok(Action::Switch(room)) => {
                self.print(&OutputLine::Speaking { room: room.to_string() }).await?;
                self.room = Some(room);
            }
            Ok(Action::Request(request)) => {
                // No event of a room follows once it is left. The user's own messages must have come back before.
                if matches!(request, Request::Leave { .. }) {
                    self.until_answered().await?;
                }
                self.must_wait = !request.is_message();
                self.requests.start(request);
            }
            Err(error) => {
                self.outcomes.add_refused(&error);
                self.print(&error).await?;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Returns the action that a typed line asks for, or the error to print.
    fn action(&self, line: &InputLine) -> Result<Action, OutputLine> {
        let InputLine::Line(line) = line else {
            return Err(input_error("the line is too long: at most 64 KiB are read"));
        };
        let Some(input) = input::parse(line).map_err(|error| input_error(&error.to_string()))? else {
            return Ok(Action::Nothing);
        };
        let current = || {
            self.room
                .clone()
                .ok_or_else(|| input_error("no room to speak in: /join ROOM or /room ROOM first"))
        };
        Ok(Action::Request(match input {
            Input::Quit => return Ok(Action::Quit),
            Input::Help => return Ok(Action::Help),
            Input::Switch(room) if self.rooms.contains(&room) => return Ok(Action::Switch(room)),
            Input::Switch(room) => return Err(input_error(&format!("you are not in {room}: /join {room}"))),
            Input::Say(text) => Request::Say { room: current()?, text },
            Input::Direct(user, text) => Request::Direct { user, text },
            Input::Join(room) => Request::Join { room },
            Input::Leave(room) => Request::Leave { room: room.map_or_else(current, Ok)? },
            Input::Users => Request::Users { room: current()? },
            Input::History(limit) => Request::History { room: current()?, before: None, limit },
        }))
    }

    async fn print(&self, line: &OutputLine) -> Result<(), OutputClosed> {
        match line.render(self.format) {
            Some(line) => self.printer.print(line).await,
            None => Ok(()),
        }
    }
}

/// Returns the reason with dangerous characters spelled out: it comes from the server and ends on the terminal.
fn escaped(reason: &Ended) -> String {
    escape::clean(&reason.to_string()).into_owned()
}

/// Returns the error line for a typed line that cannot be carried out.
fn input_error(text: &str) -> OutputLine {
    OutputLine::error("input".into(), text.into(), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_harmless_for_a_terminal() {
        let reason = Ended { code: Some(1012), reason: "\x1b[2J\u{202e}gone".to_owned() };
        assert_eq!(escaped(&reason), "\\x1b[2J\\u{202e}gone (1012)");
    }
}
