//! Turns the bytes of a connection into frames, and frames into messages. It holds memory only while a message is under
//! way.

use bytes::{Bytes, BytesMut};
use fastwebsockets::{OpCode, WebSocketError};
use memchr::memmem;

use super::parser::{FrameParser, Parsed, ParserPool, SCRATCH_BYTES};
use super::scanner::{Compressed, FrameLimits, Scanner};
use crate::deflate::InflateError;
use crate::protocol::close::{EndReason, is_allowed_code};
use crate::rate_limit::{Bucket, Rate, Refused};

/// A whole message or control frame of a client.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A text message, which is valid UTF-8.
    Text(BytesMut),
    /// A binary message.
    Binary(BytesMut),
    /// A ping with its payload.
    Ping(BytesMut),
    /// A pong.
    Pong,
    /// A close frame with its code, 1005 where it has none.
    Close(u16),
}

/// The fragments of a message that have arrived.
#[derive(Debug)]
struct Assembly {
    is_text: bool,
    bytes: BytesMut,
    /// Number of bytes that are known to be UTF-8.
    valid: usize,
    /// The refusal of the last fragment that exceeded the rate limit.
    refused: Option<Refused>,
}

impl Assembly {
    /// Checks the bytes that were added. A character may continue in the next fragment.
    fn check_utf8(&mut self, is_final: bool) -> Result<(), EndReason> {
        match std::str::from_utf8(&self.bytes[self.valid..]) {
            Ok(_) => self.valid = self.bytes.len(),
            Err(error) if error.error_len().is_none() && !is_final => self.valid += error.valid_up_to(),
            Err(_) => return Err(EndReason::InvalidUtf8),
        }
        Ok(())
    }
}

/// Longest text that can be a heartbeat's answer: it has a type, and perhaps an id.
const MAX_ANSWER_BYTES: usize = 128;

/// Charges frames to the rate limit of a connection.
#[derive(Debug)]
pub(super) struct Charge<'a> {
    /// Rate of frames of the connection; `None` when rates are not limited.
    pub(super) rate: Option<&'a Rate>,
    /// Number of answers that the server has asked for. They are free, because otherwise others could use up a client's
    /// rate by causing the server to ask.
    pub(super) asked: u16,
    /// Time of the charge.
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

/// Returns true for a frame that may answer a ping or a heartbeat. Other text that looks like an answer does no harm,
/// because no more frames are free than were asked for.
fn is_answer(frame: &Parsed) -> bool {
    match frame.opcode {
        OpCode::Pong => true,
        OpCode::Text if frame.is_final && frame.payload.len() <= MAX_ANSWER_BYTES => {
            memmem::find(&frame.payload, b"heartbeat_ack").is_some()
        }
        _ => false,
    }
}

/// A whole message or control frame, and the refusal where it exceeded the rate limit.
pub(super) type Received = (Incoming, Option<Refused>);

/// The reader of one connection. It takes 104 bytes while no message is under way.
#[derive(Debug, Default)]
pub(super) struct Reader {
    scanner: Scanner,
    /// The parser of a frame that has arrived in part.
    parser: Option<FrameParser>,
    assembly: Option<Box<Assembly>>,
    /// Bytes that were read from the socket and are not handled yet: after the handshake, or after a pause.
    held: Bytes,
    /// The bucket for the rate of frames.
    frames: Bucket,
}

impl Reader {
    /// Creates a reader that begins with the bytes that were read after the handshake. With `deflates` the client may
    /// send compressed messages.
    #[must_use]
    pub(super) fn new(leftover: Bytes, deflates: bool) -> Self {
        Self { scanner: Scanner::new(deflates), held: leftover, ..Self::default() }
    }

    /// Returns true between two messages.
    #[must_use]
    pub(super) fn is_idle(&self) -> bool {
        self.scanner.is_idle()
    }

    /// Returns true when the bucket for the rate of frames is full.
    #[must_use]
    pub(super) fn is_rested(&self, now_ms: u64, frames: &Rate) -> bool {
        self.frames.is_full(now_ms, frames)
    }

    /// Returns true when held bytes have to be handled before anything is read.
    #[must_use]
    pub(super) fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Moves the next part of the held bytes into the scratch buffer.
    pub(super) fn unhold(&mut self, parsers: &ParserPool) {
        let part = self.held.split_to(self.held.len().min(SCRATCH_BYTES));
        parsers.scratch.fill_with(&part);
        if self.held.is_empty() {
            self.held = Bytes::new();
        }
    }

    /// Moves the rest of the scratch buffer to the front of the held bytes.
    pub(super) fn hold(&mut self, parsers: &ParserPool) {
        parsers.scratch.with_rest(|rest| {
            if !rest.is_empty() {
                self.held = [&*rest, &self.held].concat().into();
            }
        });
        parsers.scratch.clear();
    }

    /// Returns the next message or control frame in the scratch buffer, or `None` when the buffer is used up. Every
    /// frame is charged to `charge`.
    ///
    /// # Errors
    /// The reason to end the connection. The reader must not be used any more.
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
                Ok(Some(mut frame)) if step.is_complete => {
                    parsers.give_back(parser, frame.payload.len());
                    let inflation = Inflation { parsers, max_bytes: limits.message_bytes };
                    if let (OpCode::Binary, true, Some(kind)) =
                        (frame.opcode, frame.is_final, self.scanner.compressed())
                    {
                        // Before it is charged, because the rate depends on what it says.
                        inflation.whole_frame(&mut frame, kind)?;
                    }
                    let refused = charge.take(&frame, &mut self.frames);
                    if let Some(received) = self.assemble(frame, refused, &inflation)? {
                        return Ok(Some(received));
                    }
                }
                Ok(None) if !step.is_complete => self.parser = Some(parser),
                Ok(_) => {
                    tracing::error!("the scanner and the parser disagree about the end of a frame");
                    return Err(EndReason::Internal);
                }
                Err(WebSocketError::InvalidUTF8) => return Err(EndReason::InvalidUtf8),
                Err(error) => {
                    tracing::error!(%error, "the parser refuses a frame that the scanner has passed");
                    return Err(EndReason::Internal);
                }
            }
        }
    }

    /// Adds a frame to the message under way, or returns it when it is whole by itself.
    fn assemble(
        &mut self,
        frame: Parsed,
        refused: Option<Refused>,
        inflation: &Inflation<'_>,
    ) -> Result<Option<Received>, EndReason> {
        let Parsed { is_final, opcode, payload } = frame;
        let whole = |incoming| Ok(Some((incoming, refused)));
        match opcode {
            OpCode::Ping => return whole(Incoming::Ping(payload)),
            OpCode::Pong => return whole(Incoming::Pong),
            OpCode::Close => return whole(parse_close(&payload)?),
            // The UTF-8 of an unfragmented text has been checked.
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
        let Some(mut whole) = self.assembly.take() else { return Err(EndReason::Internal) };
        if let Some(kind) = self.scanner.compressed() {
            whole.bytes = inflation.message(&whole.bytes, kind)?;
            whole.is_text = kind == Compressed::Text;
        }
        Ok(Some(match whole.is_text {
            true => (Incoming::Text(whole.bytes), whole.refused),
            false => (Incoming::Binary(whole.bytes), whole.refused),
        }))
    }
}

/// Decompresses messages, which the parser has passed as binary ones.
struct Inflation<'a> {
    parsers: &'a ParserPool,
    /// Most bytes of a message.
    max_bytes: usize,
}

impl Inflation<'_> {
    /// Returns the message of this compressed form (RFC 7692, section 7.2.2). Memory: that of the message.
    ///
    /// # Errors
    /// The message is longer than the limit, the form is damaged, or the message is a text and no UTF-8.
    fn message(&self, form: &[u8], kind: Compressed) -> Result<BytesMut, EndReason> {
        let mut inflater = self.parsers.inflater.borrow_mut();
        let inflated = inflater.get_or_insert_default().inflate(form, self.max_bytes);
        let message = inflated.map_err(|error| match error {
            InflateError::TooLong => EndReason::MessageTooBig,
            InflateError::Corrupt => EndReason::InvalidDeflate,
        })?;
        if kind == Compressed::Text && std::str::from_utf8(message).is_err() {
            return Err(EndReason::InvalidUtf8);
        }
        Ok(BytesMut::from(message))
    }

    /// Makes of a frame with a whole compressed message the one that an uncompressed message would have been.
    fn whole_frame(&self, frame: &mut Parsed, kind: Compressed) -> Result<(), EndReason> {
        frame.payload = self.message(&frame.payload, kind)?;
        if kind == Compressed::Text {
            frame.opcode = OpCode::Text;
        }
        Ok(())
    }
}

/// Checks the payload of a close frame (RFC 6455, sections 5.5.1 and 7.4).
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
