//! The vocabulary on the wire, without I/O: what a frame, a command, an event and a close look like.

pub mod close;
