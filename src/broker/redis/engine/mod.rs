//! The thread of the engine: it runs the link and the rooms that this node follows, and carries out what the rooms'
//! state machines say.
//!
//! Everything here happens on that one thread, on a runtime of its own. Workers are reached through the broker, whose
//! calls do not wait.

mod answers;
mod attending;
mod calls;
mod commands;
mod followed;
mod health;
mod history;
mod links;
mod pacing;
mod places;
mod positioned;
mod presence;
mod reading;
mod refresh;
mod rooms;
mod run;
mod seeds;
mod sharing;
mod start;
mod state;
mod tasks;
#[cfg(test)]
mod tests;
mod typing;
mod typing_rate;

pub(super) use self::health::Health;
pub(super) use self::links::Servers;
pub(super) use self::start::{Starter, servers, wait_for_entry, wait_for_servers};
