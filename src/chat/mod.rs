//! The rules of the chat. They are pure: no I/O and no clock of their own; the time is an argument.

pub mod announcement;
pub mod history;
pub mod keys;
pub mod presence;
pub mod rooms;
pub mod validate;
