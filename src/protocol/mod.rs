//! The vocabulary on the wire, without I/O: what a frame, a command, an event and a close look like.

pub mod close;
pub mod command;
pub mod event;
pub mod frame;

/// The subprotocol that selects [`Dialect::V1`] (`Sec-WebSocket-Protocol`, RFC 6455 section 1.9).
pub const V1_SUBPROTOCOL: &str = "throng.v1";

/// Which of the two dialects a connection speaks; settled by its handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dialect {
    /// No subprotocol: any client that can send `{"message":"hi"}`.
    #[default]
    Plain,
    /// [`V1_SUBPROTOCOL`]: positions, acks, several rooms, resume.
    V1,
}
