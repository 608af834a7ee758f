//! `/ws/secure`: echoes text `T` as `User NAME: T`. Only a connection with a valid token gets here.

use super::peer::Peer;
use crate::protocol::frame::{self, OpCode};

pub(super) fn text(name: &str, text: &[u8], peer: &Peer<'_>) {
    peer.reply(&frame::encode(OpCode::Text, name.len() + text.len() + 8, |out| {
        out.extend_from_slice(b"User ");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(text);
    }));
}
