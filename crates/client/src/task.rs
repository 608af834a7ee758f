//! The task of a client: moves bytes, commands, events and time between the program, the core and the socket. It
//! decides nothing itself.

use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::address::Address;
use super::command::Command;
use super::connection_end::ConnectionEnd;
use super::core::Core;
use super::event::{Ended, Event};
use super::timestamp::Timestamp;
use super::token::Fetching;
use super::wire::{Dialer, Dialling, Wire};

/// Most frames that may wait to be written before reading stops. A server that makes the client answer has to take the
/// answers.
const MAX_FRAMES: usize = 64;

/// The connection in its present state.
enum Link {
    Down,
    Dialling(Dialling),
    Up(Box<Wire>),
}

/// Something that happened on the connection.
enum LinkEvent {
    Connected(Box<Wire>),
    Text(Utf8Bytes),
    Ended(ConnectionEnd),
}

impl Link {
    fn poll(&mut self, core: &mut Core, may_read: bool, context: &mut Context<'_>) -> Poll<LinkEvent> {
        match self {
            Self::Down => Poll::Pending,
            Self::Dialling(dialling) => dialling
                .as_mut()
                .poll(context)
                .map(|dialled| dialled.map_or_else(LinkEvent::Ended, LinkEvent::Connected)),
            Self::Up(wire) => wire
                .poll(core, may_read, context)
                .map(|text| text.map_or_else(LinkEvent::Ended, LinkEvent::Text)),
        }
    }
}

/// Runs the client until its core has stopped. Afterwards delivers the remaining events for as long as they are read.
pub(super) async fn run(
    mut core: Core,
    address: Address,
    dialer: Dialer,
    mut commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    ended: Arc<OnceLock<Ended>>,
) {
    let mut link = Link::Down;
    let mut connection = None;
    let mut has_handles = true;
    // A token that is being got for the present connection.
    let mut renewing: Option<Fetching> = None;
    while core.ended().is_none() {
        if connection != core.connection_number() {
            connection = core.connection_number();
            renewing = None;
            // The old connection is dropped without a close handshake, which a dead peer would not answer.
            link =
                connection.map_or(Link::Down, |_| Link::Dialling(dialer.dial(address.url(&core.target()))));
        }
        if core.wants_token(Instant::now()) {
            renewing = dialer.fetch_token();
        }
        deliver_events(&mut core, &events);
        core.set_reading(!core.has_events(), Instant::now());
        // Nothing that is read before the welcome becomes an event.
        let may_read = core.queued_frames() < MAX_FRAMES && (!core.has_events() || !core.is_online());
        let deadline = core.deadline().unwrap_or_else(Instant::now);
        let has_events = core.has_events();
        tokio::select! {
            event = poll_fn(|context| link.poll(&mut core, may_read, context)) => match event {
                LinkEvent::Connected(wire) => link = Link::Up(wire),
                LinkEvent::Text(text) => core.receive(&text, Timestamp::now()),
                LinkEvent::Ended(end) => core.end_connection(end, Instant::now()),
            },
            command = commands.recv(), if has_handles => match command {
                Some(command) => core.execute(command, Timestamp::now()),
                None => has_handles = false,
            },
            // Whether there is space or the reader is gone: the next round of the loop finds out.
            _ = events.reserve(), if has_events => {}
            () = events.closed(), if !has_handles => core.execute(Command::Close, Timestamp::now()),
            token = poll_fn(|context| poll_token(&mut renewing, context)) => {
                renewing = None;
                core.renew_token(token, Instant::now());
            }
            () = sleep_until(deadline) => core.tick(Timestamp::now()),
        }
    }
    let reason = core.ended().cloned();
    let is_normal_close = reason.as_ref().is_some_and(|reason| reason.code == Some(1000));
    ended.get_or_init(|| reason.unwrap_or(Ended { code: None, reason: String::new() }));
    if let (Link::Up(wire), true) = (link, is_normal_close) {
        wire.close().await;
    }
    drop(commands);
    while let Some(event) = core.pop_event() {
        if events.send(event).await.is_err() {
            break;
        }
    }
}

/// Waits for a token that is being got; for ever where there is none.
fn poll_token(renewing: &mut Option<Fetching>, context: &mut Context<'_>) -> Poll<Result<String, String>> {
    renewing.as_mut().map_or(Poll::Pending, |fetching| fetching.as_mut().poll(context))
}

/// Moves events from the core to the reader's channel while it has space. Drops them when the reader is gone.
fn deliver_events(core: &mut Core, events: &mpsc::Sender<Event>) {
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
