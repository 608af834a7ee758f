//! The rules of the chat: pure, without I/O or a clock of their own; the time is an argument.

pub mod history;
pub mod keys;
pub mod news;
pub mod presence;
pub mod rooms;
pub mod validate;
