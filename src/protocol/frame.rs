//! Encoding of WebSocket frames that the server sends (RFC 6455 section 5.2). They are not masked, so a frame is
//! encoded once and its bytes are the same for every recipient.

use bytes::{Buf, Bytes};

use super::close::MAX_REASON_BYTES;

/// Bytes of the longest header of a server frame.
const MAX_HEADER: usize = 10;

/// The type of a frame (RFC 6455 section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpCode {
    /// A message of UTF-8 text.
    Text = 0x1,
    /// A message of bytes.
    Binary = 0x2,
    /// The closing handshake.
    Close = 0x8,
    /// A question whether the peer is alive.
    Ping = 0x9,
    /// The answer to a ping.
    Pong = 0xA,
}

/// One encoded frame, header and payload; cheap to clone.
pub type Frame = Bytes;

/// The first byte of an unfragmented compressed text (RFC 7692 section 6): FIN, RSV1 and the opcode.
const COMPRESSED_TEXT: u8 = 0xc0 | OpCode::Text as u8;

/// Writes the header of an unfragmented server frame to the end of `space`, and returns the index where it starts.
fn put_header(space: &mut [u8; MAX_HEADER], first: u8, payload_len: usize) -> usize {
    if let Ok(len @ 0..=125) = u8::try_from(payload_len) {
        space[8..].copy_from_slice(&[first, len]);
        8
    } else if let Ok(len) = u16::try_from(payload_len) {
        space[6..8].copy_from_slice(&[first, 126]);
        space[8..].copy_from_slice(&len.to_be_bytes());
        6
    } else {
        space[..2].copy_from_slice(&[first, 127]);
        space[2..].copy_from_slice(&(payload_len as u64).to_be_bytes());
        0
    }
}

/// Encodes a frame whose payload `write` appends to the given buffer. `hint` estimates the payload's length.
pub fn encode(opcode: OpCode, hint: usize, write: impl FnOnce(&mut Vec<u8>)) -> Frame {
    encode_with(0x80 | opcode as u8, hint, write)
}

/// Encodes a text frame whose payload is compressed (RFC 7692 section 6.1), for clients that have negotiated that.
#[must_use]
pub fn compressed_text(payload: &[u8]) -> Frame {
    encode_with(COMPRESSED_TEXT, payload.len(), |out| out.extend_from_slice(payload))
}

fn encode_with(first: u8, hint: usize, write: impl FnOnce(&mut Vec<u8>)) -> Frame {
    let mut buffer = Vec::with_capacity(MAX_HEADER + hint);
    buffer.extend_from_slice(&[0; MAX_HEADER]);
    write(&mut buffer);
    let mut header = [0; MAX_HEADER];
    let start = put_header(&mut header, first, buffer.len() - MAX_HEADER);
    buffer[..MAX_HEADER].copy_from_slice(&header);
    // Advancing keeps the one reference; slicing would add a second one and drop the first.
    let mut frame = Bytes::from(buffer);
    frame.advance(start);
    frame
}

/// Encodes a text frame with this payload.
#[must_use]
pub fn text(payload: &str) -> Frame {
    data(OpCode::Text, payload.as_bytes())
}

/// Encodes a frame of this type with this payload.
#[must_use]
pub fn data(opcode: OpCode, payload: &[u8]) -> Frame {
    encode(opcode, payload.len(), |out| out.extend_from_slice(payload))
}

/// Returns the payload of a frame that [`encode`] made.
#[must_use]
pub fn payload(frame: &[u8]) -> &[u8] {
    let header = match frame.get(1) {
        Some(127) => 10,
        Some(126) => 4,
        _ => 2,
    };
    frame.get(header..).unwrap_or_default()
}

/// Encodes a close frame (RFC 6455 section 5.5.1). Without a code the payload is empty. A reason of more than
/// [`MAX_REASON_BYTES`] is cut at a character boundary.
#[must_use]
pub fn close(code: Option<u16>, reason: &str) -> Frame {
    let cut = reason.floor_char_boundary(MAX_REASON_BYTES);
    encode(OpCode::Close, 2 + cut, |out| {
        if let Some(code) = code {
            out.extend_from_slice(&code.to_be_bytes());
            out.extend_from_slice(&reason.as_bytes()[..cut]);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_encoded_minimally() {
        for (len, header) in [
            (0usize, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 0xff, 0xff]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let frame = data(OpCode::Text, &vec![b'x'; len]);
            assert_eq!(&frame[..header.len()], &header[..]);
            assert_eq!(frame.len(), header.len() + len);
            assert_eq!(payload(&frame).len(), len);
        }
    }

    #[test]
    fn a_close_frame_never_exceeds_a_control_frame() {
        let frame = close(Some(1011), &"ä".repeat(100));
        assert_eq!(&frame[..4], &[0x88, 124, 0x03, 0xf3]);
        assert!(std::str::from_utf8(&frame[4..]).is_ok());
        assert_eq!(&close(None, "ignored")[..], &[0x88, 0]);
    }
}
