//! The servers of a Redis Cluster: which of them has which hash slot, and what their errors say about the way to a
//! room. Pure.
//!
//! The rooms of a slot that is being moved wait until it has moved: `ASK` is not followed. On the new server a script
//! would find some keys of its room and miss others, would write idempotency keys that are still to be moved, and its
//! batches would reach no subscriber, because these stay with the old server until the end.

mod map;
mod obstacle;
mod slot;

pub use self::map::{BadMap, SlotMap};
pub use self::obstacle::{Obstacle, obstacle};
pub use self::slot::{SLOTS, slot_of};
