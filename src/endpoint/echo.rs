//! `/ws`: echoes text `T` as `Message processed: T`; with `?raw` echoes every message unchanged.

use super::peer::{Message, Peer};
use crate::protocol::frame::{self, OpCode};

const PREFIX: &[u8] = b"Message processed: ";

/// The text that makes the endpoint panic, in builds with the feature `fault-injection`.
#[cfg(feature = "fault-injection")]
const PANIC: &[u8] = b"throng:panic";

pub(super) fn text(text: &[u8], peer: &Peer<'_>) {
    #[cfg(feature = "fault-injection")]
    assert!(text != PANIC, "a panic was asked for");
    peer.reply(&frame::encode(OpCode::Text, PREFIX.len() + text.len(), |out| {
        out.extend_from_slice(PREFIX);
        out.extend_from_slice(text);
    }));
}

pub(super) fn raw(message: &Message<'_>, peer: &Peer<'_>) {
    let (opcode, payload) = match message {
        Message::Text(text) => (OpCode::Text, text),
        Message::Binary(bytes) => (OpCode::Binary, bytes),
    };
    peer.reply(&frame::data(opcode, payload));
}
