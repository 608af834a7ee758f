//! WebSocket frames as the load generator needs them: masked ones out, headers of unmasked ones walked over.
//!
//! The walk looks at each frame's header and skips its payload, and what a busy server sends is mostly runs of frames
//! of one length: these cost a nanosecond or two each. A full reader that hands out messages would be the bottleneck of
//! the whole measurement.

/// A text frame (RFC 6455 section 11.8).
pub(super) const TEXT: u8 = 1;
/// A binary frame.
pub(super) const BINARY: u8 = 2;
/// The end of a connection.
pub(super) const CLOSE: u8 = 8;
/// "Are you there?"
pub(super) const PING: u8 = 9;
/// "Yes."
pub(super) const PONG: u8 = 10;

/// Longest header of a server's frame.
const MAX_HEADER: usize = 10;
/// The last frame of a message.
pub(super) const FIN: u8 = 0x80;
/// RSV1 to RSV3: no extension is ever offered.
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// Appends an unfragmented client frame (RFC 6455 sections 5.2 and 5.3): `mask` must be unpredictable to the server.
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

/// What a [`Walker`] meets on its way.
pub(super) trait Visitor {
    /// Whole data frames alike: `frames` is one or more of `each` bytes, all with this `header`.
    #[inline]
    fn alike(&mut self, header: &[u8], frames: &[u8], each: usize) {
        for frame in frames.chunks_exact(each) {
            self.header(header);
            self.payload(&frame[header.len()..]);
        }
    }
    /// The header of a data frame.
    fn header(&mut self, header: &[u8]);
    /// Bytes of a data frame's payload.
    fn payload(&mut self, payload: &[u8]);
    /// A whole control frame.
    fn control(&mut self, opcode: u8, payload: &[u8]);
    /// Bytes of a control frame, header or payload, as they pass.
    fn skipped(&mut self, raw: &[u8]);
}

/// The server sent what no server may send: a masked frame, a reserved bit or opcode, a long control frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Walks over the frames of one connection, cut anywhere.
#[derive(Debug, Default)]
pub(super) struct Walker {
    /// Bytes of the current frame's payload still to come.
    left: u64,
    header: [u8; MAX_HEADER],
    have: u8,
    /// A control frame under way: its opcode and payload so far. Boxed because it is rare.
    control: Option<Box<(u8, Vec<u8>)>>,
}

/// Length of the header that starts with these two bytes.
fn header_len(second: u8) -> usize {
    match second & 0x7f {
        126 => 4,
        127 => 10,
        _ => 2,
    }
}

/// Bytes of the payload behind a whole header.
pub(super) fn payload_len(header: &[u8]) -> u64 {
    match header {
        [_, len] => u64::from(len & 0x7f),
        [_, _, high, low] => u64::from(u16::from_be_bytes([*high, *low])),
        _ => header[2..].iter().fold(0, |len, byte| len << 8 | u64::from(*byte)),
    }
}

/// The run of whole data frames with one and the same header that `data` begins with, as the lengths of this header, of
/// one frame, and of the run. `None` where there is none, or none that is worth it: what it is then, is for
/// [`Walker::enter`] to judge.
///
/// A compare and an add per frame, and none has to wait until the length of the one before is read and understood.
#[inline]
fn run(data: &[u8]) -> Option<(usize, usize, usize)> {
    let first = *data.first_chunk::<4>()?;
    // The last two bytes are payload behind a short header.
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
    let begins_alike =
        |frame: &&[u8]| frame.first_chunk().is_some_and(|it| u32::from_ne_bytes(*it) & compared == wanted);
    let each = header + payload;
    let count = data.chunks_exact(each).take_while(begins_alike).count();
    (count > 0).then_some((header, each, count * each))
}

impl Walker {
    /// Walks over `data`, the next bytes of the stream.
    ///
    /// # Errors
    /// The stream is not what a server may send; nothing behind that place can be understood.
    pub(super) fn walk(&mut self, mut data: &[u8], visitor: &mut impl Visitor) -> Result<(), Malformed> {
        loop {
            let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(data.len());
            let (payload, rest) = data.split_at(take);
            self.left -= take as u64;
            if let Some(control) = &mut self.control {
                visitor.skipped(payload);
                control.1.extend_from_slice(payload);
                if self.left == 0 {
                    visitor.control(control.0, &control.1);
                    self.control = None;
                }
            } else if take > 0 {
                visitor.payload(payload);
            }
            data = rest;
            // A cut header is continued first.
            if let Some((header, each, all)) = (self.have == 0).then(|| run(data)).flatten() {
                let (frames, rest) = data.split_at(all);
                visitor.alike(&data[..header], frames, each);
                data = rest;
            } else if data.is_empty() {
                return Ok(());
            } else {
                data = self.enter(data, visitor)?;
            }
        }
    }

    /// Reads the header that `data` begins or continues with; returns what stands behind it.
    #[inline]
    fn enter<'a>(&mut self, data: &'a [u8], visitor: &mut impl Visitor) -> Result<&'a [u8], Malformed> {
        if self.have == 0 && data.len() >= 2 && data.len() >= header_len(data[1]) {
            let (header, rest) = data.split_at(header_len(data[1]));
            self.begin(header, visitor)?;
            return Ok(rest);
        }
        for (at, byte) in data.iter().enumerate() {
            self.header[usize::from(self.have)] = *byte;
            self.have += 1;
            let have = usize::from(self.have);
            if have >= 2 && have == header_len(self.header[1]) {
                let header = self.header;
                self.have = 0;
                self.begin(&header[..have], visitor)?;
                return Ok(&data[at + 1..]);
            }
        }
        Ok(&[])
    }

    #[inline]
    fn begin(&mut self, header: &[u8], visitor: &mut impl Visitor) -> Result<(), Malformed> {
        let opcode = header[0] & 0x0f;
        self.left = payload_len(header);
        if header[0] & RESERVED != 0 || header[1] & MASKED != 0 {
            return Err(Malformed);
        }
        match opcode {
            0..=2 => visitor.header(header),
            CLOSE | PING | PONG if self.left <= 125 => {
                visitor.skipped(header);
                self.control = Some(Box::new((opcode, Vec::new())));
                if self.left == 0 {
                    visitor.control(opcode, &[]);
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
