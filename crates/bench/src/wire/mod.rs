//! WebSocket frames as the load generator needs them: encodes masked frames and decodes the headers of unmasked ones.
//!
//! The decoder reads each frame's header and passes the payload on without copying it. A busy server sends mostly runs
//! of frames with equal headers, for which there is a fast path. A reader that assembles messages would be the
//! bottleneck of the measurement.

/// Opcode of a text frame (RFC 6455 section 11.8).
pub(super) const TEXT: u8 = 1;
/// Opcode of a binary frame.
pub(super) const BINARY: u8 = 2;
/// Opcode of a close frame.
pub(super) const CLOSE: u8 = 8;
/// Opcode of a ping.
pub(super) const PING: u8 = 9;
/// Opcode of a pong.
pub(super) const PONG: u8 = 10;

/// Longest header of an unmasked frame, in bytes.
const MAX_HEADER: usize = 10;
/// Bit of a header's first byte that marks the last frame of a message.
pub(super) const FIN: u8 = 0x80;
/// Bits RSV1 to RSV3 of a header's first byte. They must be 0: `inflate` has decompressed what a server may compress.
const RESERVED: u8 = 0x70;
/// Bit of a header's second byte that marks a masked frame.
const MASKED: u8 = 0x80;

/// Appends an unfragmented client frame (RFC 6455 sections 5.2 and 5.3) to `out`. Each frame needs a new random `mask`.
pub(super) fn put_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8], mask: [u8; 4]) {
    out.push(0x80 | opcode);
    if let Ok(len @ 0..=125) = u8::try_from(payload.len()) {
        out.push(MASKED | len);
    } else if let Ok(len) = u16::try_from(payload.len()) {
        out.push(MASKED | 126);
        out.extend_from_slice(&len.to_be_bytes());
    } else {
        out.push(MASKED | 127);
        out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    }
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    for chunk in out[start..].chunks_mut(4) {
        for (byte, mask) in chunk.iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }
}

/// Receives the parts of the frames that a [`FrameDecoder`] decodes.
pub(super) trait FrameHandler {
    /// Handles one or more whole data frames of `frame_len` bytes each, all of which begin with `header`.
    #[inline]
    fn on_equal_frames(&mut self, header: &[u8], frames: &[u8], frame_len: usize) {
        for frame in frames.chunks_exact(frame_len) {
            self.on_header(header);
            self.on_payload(&frame[header.len()..]);
        }
    }
    /// Handles the header of a data frame.
    fn on_header(&mut self, header: &[u8]);
    /// Handles bytes of a data frame's payload.
    fn on_payload(&mut self, payload: &[u8]);
    /// Handles a whole control frame.
    fn on_control(&mut self, opcode: u8, payload: &[u8]);
    /// Handles raw bytes of a control frame, from its header or payload, before the frame is complete.
    fn on_control_bytes(&mut self, raw: &[u8]);
}

/// The server sent bytes that no server may send: a masked frame, a reserved bit or opcode, or a long control frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Decodes the frames of one connection, whose bytes may be cut anywhere.
#[derive(Debug, Default)]
pub(super) struct FrameDecoder {
    /// Payload bytes of the current frame that have not arrived yet.
    left: u64,
    /// The first `have` bytes of a header that was cut.
    header: [u8; MAX_HEADER],
    have: u8,
    /// Opcode and payload so far of an incomplete control frame. It is boxed because it is rare.
    control: Option<Box<(u8, Vec<u8>)>>,
}

/// Returns the length of the header with this second byte.
pub(super) fn header_len(second: u8) -> usize {
    match second & 0x7f {
        126 => 4,
        127 => 10,
        _ => 2,
    }
}

/// Returns the length of the payload that follows a whole header.
pub(super) fn payload_len(header: &[u8]) -> u64 {
    match header {
        [_, len] => u64::from(len & 0x7f),
        [_, _, high, low] => u64::from(u16::from_be_bytes([*high, *low])),
        _ => header[2..].iter().fold(0, |len, byte| len << 8 | u64::from(*byte)),
    }
}

/// Finds the run of whole data frames with equal headers at the beginning of `data`; returns the lengths of the header,
/// of one frame and of the run. Returns `None` if `data` begins with no such frame or with one that
/// [`FrameDecoder::read_header`] has to check.
///
/// It costs a comparison and an addition per frame, and no frame depends on the decoded length of the one before.
#[inline]
fn equal_frames(data: &[u8]) -> Option<(usize, usize, usize)> {
    let first = *data.first_chunk::<4>()?;
    // With a short header, the last two of the four bytes are payload and not compared.
    let (header, payload, compared) = match first[1] {
        len @ 2..=125 => (2, usize::from(len), [0xff, 0xff, 0, 0]),
        126 => (4, usize::from(u16::from_be_bytes([first[2], first[3]])), [0xff; 4]),
        _ => return None,
    };
    if first[0] & RESERVED != 0 || first[0] & 0x0f > BINARY {
        return None;
    }
    let compared = u32::from_ne_bytes(compared);
    let wanted = u32::from_ne_bytes(first) & compared;
    let has_equal_header =
        |frame: &&[u8]| frame.first_chunk().is_some_and(|it| u32::from_ne_bytes(*it) & compared == wanted);
    let each = header + payload;
    let count = data.chunks_exact(each).take_while(has_equal_header).count();
    (count > 0).then_some((header, each, count * each))
}

impl FrameDecoder {
    /// Decodes `data`, the next bytes of the stream, and passes its frames to `handler`.
    ///
    /// # Errors
    /// No server may send these bytes; the rest of the stream cannot be decoded.
    pub(super) fn decode(
        &mut self,
        mut data: &[u8],
        handler: &mut impl FrameHandler,
    ) -> Result<(), Malformed> {
        loop {
            let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(data.len());
            let (payload, rest) = data.split_at(take);
            self.left -= take as u64;
            if let Some(control) = &mut self.control {
                handler.on_control_bytes(payload);
                control.1.extend_from_slice(payload);
                if self.left == 0 {
                    handler.on_control(control.0, &control.1);
                    self.control = None;
                }
            } else if take > 0 {
                handler.on_payload(payload);
            }
            data = rest;
            // If a header was cut, its remaining bytes come first.
            if let Some((header, frame_len, run_len)) = (self.have == 0).then(|| equal_frames(data)).flatten()
            {
                let (frames, rest) = data.split_at(run_len);
                handler.on_equal_frames(&data[..header], frames, frame_len);
                data = rest;
            } else if data.is_empty() {
                return Ok(());
            } else {
                data = self.read_header(data, handler)?;
            }
        }
    }

    /// Reads the header, or the rest of one, at the beginning of `data`; returns the bytes that follow it.
    #[inline]
    fn read_header<'a>(
        &mut self,
        data: &'a [u8],
        handler: &mut impl FrameHandler,
    ) -> Result<&'a [u8], Malformed> {
        if self.have == 0 && data.len() >= 2 && data.len() >= header_len(data[1]) {
            let (header, rest) = data.split_at(header_len(data[1]));
            self.begin_frame(header, handler)?;
            return Ok(rest);
        }
        for (at, byte) in data.iter().enumerate() {
            self.header[usize::from(self.have)] = *byte;
            self.have += 1;
            let have = usize::from(self.have);
            if have >= 2 && have == header_len(self.header[1]) {
                let header = self.header;
                self.have = 0;
                self.begin_frame(&header[..have], handler)?;
                return Ok(&data[at + 1..]);
            }
        }
        Ok(&[])
    }

    #[inline]
    fn begin_frame(&mut self, header: &[u8], handler: &mut impl FrameHandler) -> Result<(), Malformed> {
        let opcode = header[0] & 0x0f;
        self.left = payload_len(header);
        if header[0] & RESERVED != 0 || header[1] & MASKED != 0 {
            return Err(Malformed);
        }
        match opcode {
            0..=2 => handler.on_header(header),
            CLOSE | PING | PONG if self.left <= 125 => {
                handler.on_control_bytes(header);
                self.control = Some(Box::new((opcode, Vec::new())));
                if self.left == 0 {
                    handler.on_control(opcode, &[]);
                    self.control = None;
                }
            }
            _ => return Err(Malformed),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
