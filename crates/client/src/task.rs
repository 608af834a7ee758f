//! The task of a client: moves bytes, commands, events and time between the program, the core and the wire.

use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::address::Address;
use super::command::Command;
use super::core::{Core, Lost};
use super::event::{Ended, Event};
use super::moment::Moment;
use super::wire::{Dialer, Dialling, Wire};

/// Frames that may wait to be written before reading stops: a server that makes us answer has to take the answers.
const MAX_FRAMES: usize = 64;

/// The connection, as far as there is one.
enum Link {
    Down,
    Dialling(Dialling),
    Up(Box<Wire>),
}

enum Moved {
    Connected(Box<Wire>),
    Text(Utf8Bytes),
    Lost(Lost),
}

impl Link {
    fn poll(&mut self, core: &mut Core, may_read: bool, context: &mut Context<'_>) -> Poll<Moved> {
        match self {
            Self::Down => Poll::Pending,
            Self::Dialling(dialling) => {
                dialling.as_mut().poll(context).map(|made| made.map_or_else(Moved::Lost, Moved::Connected))
            }
            Self::Up(wire) => {
                wire.poll(core, may_read, context).map(|heard| heard.map_or_else(Moved::Lost, Moved::Text))
            }
        }
    }
}

/// The loop, until the core has stopped; then the rest of the events, for as long as there is a reader.
pub(super) async fn run(
    mut core: Core,
    address: Address,
    dialer: Dialer,
    mut commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    ended: Arc<OnceLock<Ended>>,
) {
    let mut link = Link::Down;
    let mut turn = None;
    let mut is_orphan = false;
    while core.ended().is_none() {
        if turn != core.turn() {
            turn = core.turn();
            // What was there is dropped: a dead connection takes minutes to notice, and nobody waits for that.
            link = turn.map_or(Link::Down, |_| Link::Dialling(dialer.dial(address.of(&core.target()))));
        }
        hand_over(&mut core, &events);
        core.set_reading(!core.has_events(), Instant::now());
        // Before the welcome nothing that is read becomes an event.
        let may_read = core.frames() < MAX_FRAMES && (!core.has_events() || !core.is_online());
        let deadline = core.deadline().unwrap_or_else(Instant::now);
        let has_events = core.has_events();
        tokio::select! {
            moved = poll_fn(|context| link.poll(&mut core, may_read, context)) => match moved {
                Moved::Connected(wire) => link = Link::Up(wire),
                Moved::Text(text) => core.receive(&text, Moment::now()),
                Moved::Lost(lost) => core.lost(lost, Instant::now()),
            },
            command = commands.recv(), if !is_orphan => match command {
                Some(command) => core.command(command, Moment::now()),
                None => is_orphan = true,
            },
            // Whether there is space or nobody left: the next round finds out.
            _ = events.reserve(), if has_events => {}
            () = events.closed(), if is_orphan => core.command(Command::Close, Moment::now()),
            () = sleep_until(deadline) => core.tick(Moment::now()),
        }
    }
    let reason = core.ended().cloned();
    let is_ours = reason.as_ref().is_some_and(|reason| reason.code == Some(1000));
    ended.get_or_init(|| reason.unwrap_or(Ended { code: None, reason: String::new() }));
    if let (Link::Up(wire), true) = (link, is_ours) {
        wire.close().await;
    }
    drop(commands);
    while let Some(event) = core.pop_event() {
        if events.send(event).await.is_err() {
            break;
        }
    }
}

/// Hands over as many events as there is space for. Without a reader they are nobody's.
fn hand_over(core: &mut Core, events: &mpsc::Sender<Event>) {
    while core.has_events() {
        match events.try_reserve() {
            Ok(permit) => {
                if let Some(event) = core.pop_event() {
                    permit.send(event);
                }
            }
            Err(TrySendError::Full(())) => return,
            Err(TrySendError::Closed(())) => drop(core.pop_event()),
        }
    }
}
