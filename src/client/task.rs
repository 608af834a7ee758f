//! The task.

use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;

use super::address::Address;
use super::command::Command;
use super::core::Core;
use super::event::{Ended, Event, State};
use super::wire::Dialer;

pub(super) async fn run(
    _: Core,
    _: Address,
    _: Dialer,
    _: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    ended: Arc<OnceLock<Ended>>,
) {
    let reason = ended.get_or_init(|| Ended { code: None, reason: "not connected yet".to_owned() }).clone();
    let _ = events.send(Event::State(State::Stopped { reason })).await;
}
