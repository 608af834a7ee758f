//! Bytes → frames → messages. Holds memory only while a message is under way.

use std::task::Poll;

use bytes::{Bytes, BytesMut};
use fastwebsockets::{OpCode, WebSocketError};
use memchr::memmem;

use super::parser::{FrameParser, Parsed, ParserPool, SCRATCH_BYTES};
use super::scanner::{FrameLimits, Scanner};
use crate::protocol::close::{EndReason, is_allowed_code};
use crate::rate_limit::{Bucket, Rate, Refused};

/// Something whole that a client sent.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A text message, checked to be UTF-8.
    Text(BytesMut),
    /// A binary message.
    Binary(BytesMut),
    /// A ping with its payload.
    Ping(BytesMut),
    /// A pong.
    Pong,
    /// A close frame's code; 1005 when it had none.
    Close(u16),
}

/// The fragments of a message so far.
#[derive(Debug)]
struct Assembly {
    is_text: bool,
    bytes: BytesMut,
    /// How much of it is known to be UTF-8.
    valid: usize,
    /// The last fragment that came too fast.
    refused: Option<Refused>,
}

impl Assembly {
    /// Checks what was added; a character may continue in the next fragment.
    fn check_utf8(&mut self, is_final: bool) -> Result<(), EndReason> {
        match std::str::from_utf8(&self.bytes[self.valid..]) {
            Ok(_) => self.valid = self.bytes.len(),
            Err(error) if error.error_len().is_none() && !is_final => self.valid += error.valid_up_to(),
            Err(_) => return Err(EndReason::InvalidUtf8),
        }
        Ok(())
    }
}

/// Longest text that is looked at for an answer: there is a type in it, and perhaps an id.
const MAX_ANSWER_BYTES: usize = 128;

/// What a frame costs.
#[derive(Debug)]
pub(super) struct Charge<'a> {
    /// Frames of a connection; `None` when rates are not limited.
    pub(super) rate: Option<&'a Rate>,
    /// Answers that the server has asked for: they cost nothing, or others could use up what a client may send by
    /// having it asked.
    pub(super) asked: u16,
    pub(super) now_ms: u64,
}

impl Charge<'_> {
    fn take(&mut self, frame: &Parsed, frames: &mut Bucket) -> Option<Refused> {
        let rate = self.rate?;
        if self.asked > 0 && is_answer(frame) {
            self.asked -= 1;
            return None;
        }
        frames.take(self.now_ms, rate).err()
    }
}

/// True for what answers a ping or a heartbeat. That a text is more than it seems costs nobody anything: there are no
/// more free ones than were asked for.
fn is_answer(frame: &Parsed) -> bool {
    match frame.opcode {
        OpCode::Pong => true,
        OpCode::Text if frame.is_final && frame.payload.len() <= MAX_ANSWER_BYTES => {
            memmem::find(&frame.payload, b"heartbeat_ack").is_some()
        }
        _ => false,
    }
}

/// Something whole, and whether it came too fast.
pub(super) type Received = (Incoming, Option<Refused>);

/// One connection's reader. 104 bytes while nothing is under way.
#[derive(Debug, Default)]
pub(super) struct Reader {
    scanner: Scanner,
    /// Has part of a frame.
    parser: Option<FrameParser>,
    assembly: Option<Box<Assembly>>,
    /// Read from the socket, not yet looked at: what came behind the handshake, or behind a pause.
    held: Bytes,
    /// The frames that may still come.
    frames: Bucket,
}

impl Reader {
    /// A reader that begins with what was read behind the handshake.
    #[must_use]
    pub(super) fn new(leftover: Bytes) -> Self {
        Self { held: leftover, ..Self::default() }
    }

    /// True between two messages.
    #[must_use]
    pub(super) fn is_idle(&self) -> bool {
        self.scanner.is_idle()
    }

    /// True when bytes wait that no longer have to be read.
    #[must_use]
    pub(super) fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Puts the next part of the held bytes into the scratch buffer.
    pub(super) fn unhold(&mut self, parsers: &ParserPool) {
        let part = self.held.split_to(self.held.len().min(SCRATCH_BYTES));
        let _ = parsers.scratch.fill(|buffer| {
            buffer[..part.len()].copy_from_slice(&part);
            Poll::Ready(Ok(part.len()))
        });
        if self.held.is_empty() {
            self.held = Bytes::new();
        }
    }

    /// Keeps what is left in the scratch buffer for later, in front of what is held already.
    pub(super) fn hold(&mut self, parsers: &ParserPool) {
        parsers.scratch.with_rest(|rest| {
            if !rest.is_empty() {
                self.held = [rest, &self.held].concat().into();
            }
        });
        parsers.scratch.clear();
    }

    /// The next message or control frame in the scratch buffer; `None` when it is used up. Every frame is taken off
    /// what `charge` says.
    ///
    /// # Errors
    /// The reason to end the connection. The reader is of no more use.
    pub(super) fn next(
        &mut self,
        parsers: &ParserPool,
        limits: &FrameLimits,
        charge: &mut Charge<'_>,
    ) -> Result<Option<Received>, EndReason> {
        loop {
            let step = parsers.scratch.with_rest(|rest| self.scanner.scan(rest, limits))?;
            if step.len == 0 && !step.is_complete {
                return Ok(None);
            }
            let mut parser = self.parser.take().unwrap_or_else(|| parsers.take());
            match parsers.run(&mut parser, step.len) {
                Ok(Some(frame)) if step.is_complete => {
                    parsers.give_back(parser, frame.payload.len());
                    let refused = charge.take(&frame, &mut self.frames);
                    if let Some(received) = self.assemble(frame, refused)? {
                        return Ok(Some(received));
                    }
                }
                Ok(None) if !step.is_complete => self.parser = Some(parser),
                Ok(_) => {
                    tracing::error!("scanner and parser disagree about the end of a frame");
                    return Err(EndReason::Internal);
                }
                Err(WebSocketError::InvalidUTF8) => return Err(EndReason::InvalidUtf8),
                Err(error) => {
                    tracing::error!(%error, "the parser refuses what the scanner let through");
                    return Err(EndReason::Internal);
                }
            }
        }
    }

    /// Adds a frame to the message under way, unless it is one by itself.
    fn assemble(&mut self, frame: Parsed, refused: Option<Refused>) -> Result<Option<Received>, EndReason> {
        let Parsed { is_final, opcode, payload } = frame;
        let whole = |incoming| Ok(Some((incoming, refused)));
        match opcode {
            OpCode::Ping => return whole(Incoming::Ping(payload)),
            OpCode::Pong => return whole(Incoming::Pong),
            OpCode::Close => return whole(parse_close(&payload)?),
            // The parser has checked a whole text already.
            OpCode::Text if is_final => return whole(Incoming::Text(payload)),
            OpCode::Binary if is_final => return whole(Incoming::Binary(payload)),
            OpCode::Text | OpCode::Binary => {
                let is_text = opcode == OpCode::Text;
                self.assembly = Some(Box::new(Assembly { is_text, bytes: payload, valid: 0, refused }));
            }
            OpCode::Continuation => {
                if let Some(assembly) = &mut self.assembly {
                    assembly.bytes.extend_from_slice(&payload);
                    assembly.refused = refused.or(assembly.refused);
                }
            }
        }
        let Some(assembly) = &mut self.assembly else { return Err(EndReason::Internal) };
        if assembly.is_text {
            assembly.check_utf8(is_final)?;
        }
        if !is_final {
            return Ok(None);
        }
        Ok(self.assembly.take().map(|whole| match whole.is_text {
            true => (Incoming::Text(whole.bytes), whole.refused),
            false => (Incoming::Binary(whole.bytes), whole.refused),
        }))
    }
}

/// Checks a close frame's payload (RFC 6455 sections 5.5.1 and 7.4).
fn parse_close(payload: &[u8]) -> Result<Incoming, EndReason> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return match payload {
            [] => Ok(Incoming::Close(1005)),
            _ => Err(EndReason::Protocol("close payload of one byte")),
        };
    };
    let code = u16::from_be_bytes(*code);
    if !is_allowed_code(code) {
        return Err(EndReason::Protocol("close code is not allowed"));
    }
    match std::str::from_utf8(reason) {
        Ok(_) => Ok(Incoming::Close(code)),
        Err(_) => Err(EndReason::InvalidUtf8),
    }
}
