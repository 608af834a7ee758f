//! The protocol on the wire, without I/O: frames, the commands of clients, the events of the server, close codes.

pub mod close;
pub mod command;
pub mod event;
pub mod frame;
pub mod sse;

/// The subprotocol that selects [`Dialect::V1`] (`Sec-WebSocket-Protocol`, RFC 6455 section 1.9).
pub const V1_SUBPROTOCOL: &str = "throng.v1";

/// The dialect that a connection speaks; its handshake selects it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dialect {
    /// The dialect without subprotocol, for any client that can send `{"message":"hi"}`.
    #[default]
    Plain,
    /// The dialect of [`V1_SUBPROTOCOL`]: positions, acks, several rooms, resume.
    V1,
    /// Server-sent events, over HTTP and not over a WebSocket: messages alone, for those who only read.
    Sse,
}

/// The use of permessage-deflate (RFC 7692) on a connection, which its handshake negotiates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Deflate {
    /// No message is compressed.
    #[default]
    Off,
    /// The client may send compressed messages, and is sent none.
    Received,
    /// Both sides may send compressed messages.
    Both,
}

impl Dialect {
    /// Every dialect, each at the place of its number.
    pub const ALL: [Self; 3] = [Self::Plain, Self::V1, Self::Sse];
}
