//! The vocabulary on the wire, without I/O: what a frame, a command, an event and a close look like.

pub mod close;
pub mod command;
pub mod event;
pub mod frame;
