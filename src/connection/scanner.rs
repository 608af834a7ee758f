//! Checks the header of every frame before the parser gets it, against RFC 6455, RFC 7692 and the limits. The parser
//! alone would accept unmasked frames and lengths in too long a form, and would allocate whatever length a header
//! declares. It knows no extensions, so the scanner hides from it that a message is compressed.

use crate::protocol::close::EndReason;

/// Length of the longest header of a client: two bytes, a length of eight bytes, and a mask.
const MAX_HEADER: usize = 14;

/// The limits of one message.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameLimits {
    /// Most bytes of a message, all fragments together.
    pub(super) message_bytes: usize,
    /// Most fragments of a message.
    pub(super) fragments: usize,
}

impl FrameLimits {
    /// Returns the most bytes of a compressed message as it arrives. Compressing may add some bytes to a message that
    /// cannot be made shorter, and a message of the greatest length must arrive compressed, too.
    pub(super) const fn compressed_bytes(&self) -> usize {
        compressed_bytes(self.message_bytes)
    }
}

/// Returns the most bytes into which a compressor turns `len` bytes: five for each block without compression, which is
/// never shorter than some kilobytes.
pub(super) const fn compressed_bytes(len: usize) -> usize {
    len.saturating_add(len / 256 + 64)
}

/// The kind of a compressed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compressed {
    Text,
    Binary,
}

/// The result of one scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// Number of bytes that belong to the current frame.
    pub(super) len: usize,
    /// True when the frame ends with them.
    pub(super) is_complete: bool,
}

/// The state between two scans: a header that has arrived in part, the length of the payload that is still to come, and
/// the message that is under way. 40 bytes.
///
/// RSV1 in the first frame of a message says that the message is compressed (RFC 7692, section 6), where that has been
/// negotiated.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    header: [u8; MAX_HEADER],
    have: u8,
    in_payload: bool,
    /// True after the first fragment of a message, until its last one begins.
    in_message: bool,
    /// Compression has been negotiated.
    deflates: bool,
    /// The message under way, or the last one, is compressed.
    compressed: Option<Compressed>,
    remaining: u64,
    message_bytes: u64,
    fragments: u32,
}

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const RSV1: u8 = 0x40;
const TEXT: u8 = 0x01;
const BINARY: u8 = 0x02;
const MASK: u8 = 0x80;
const CONTROL: u8 = 0x08;

impl Scanner {
    /// Creates a scanner. With `deflates` compressed messages are allowed.
    #[must_use]
    pub(super) fn new(deflates: bool) -> Self {
        Self { deflates, ..Self::default() }
    }

    /// Returns the kind of the message whose frame was scanned last, if that message is compressed. A control frame
    /// between the frames of a message changes nothing.
    #[must_use]
    pub(super) fn compressed(&self) -> Option<Compressed> {
        self.compressed
    }

    /// Returns true between two messages.
    #[must_use]
    pub(super) fn is_idle(&self) -> bool {
        self.have == 0 && !self.in_message
    }

    /// Scans bytes up to the end of the current frame. The first frame of a compressed message becomes a binary one
    /// without RSV1, because the parser knows no RSV1, and would look for UTF-8 in the compressed bytes of a text.
    ///
    /// # Errors
    /// The reason to end the connection: a protocol error (1002), or a message over the limits (1009). Both are found
    /// in the header, before any payload arrives.
    pub(super) fn scan(&mut self, bytes: &mut [u8], limits: &FrameLimits) -> Result<Step, EndReason> {
        let mut len = 0;
        while !self.in_payload {
            let Some(byte) = bytes.get_mut(len) else { return Ok(Step { len, is_complete: false }) };
            if self.have == 0 {
                *byte = self.note_compression(*byte);
            }
            self.header[usize::from(self.have)] = *byte;
            self.have += 1;
            len += 1;
            self.check_header(limits)?;
        }
        let here = self.remaining.min((bytes.len() - len) as u64);
        self.remaining -= here;
        len += here as usize;
        let is_complete = self.remaining == 0;
        if is_complete {
            self.have = 0;
            self.in_payload = false;
        }
        Ok(Step { len, is_complete })
    }

    /// Checks the header as far as its newest byte decides.
    fn check_header(&mut self, limits: &FrameLimits) -> Result<(), EndReason> {
        let short = self.header[1] & !MASK;
        let extended = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        match self.have {
            1 => return self.check_first(),
            2 if self.header[1] & MASK == 0 => return Err(EndReason::Protocol("frame is not masked")),
            2 if self.is_control() && short > 125 => {
                return Err(EndReason::Protocol("control frame is too long"));
            }
            _ => {}
        }
        if usize::from(self.have) == 2 + extended {
            self.check_length(short, limits)?;
        }
        if usize::from(self.have) == 2 + extended + 4 {
            self.in_payload = true;
        }
        Ok(())
    }

    /// Notes whether a message is compressed that begins with a frame of this first byte. Returns the byte as the
    /// parser may see it. A byte that breaks a rule is returned as it is, to be refused.
    fn note_compression(&mut self, first: u8) -> u8 {
        let is_compressed = self.deflates && first & RESERVED == RSV1;
        let compressed = match first & 0x0f {
            TEXT => Compressed::Text,
            BINARY => Compressed::Binary,
            _ => return first,
        };
        if self.in_message {
            return first;
        }
        self.compressed = is_compressed.then_some(compressed);
        if is_compressed { first & FIN | BINARY } else { first }
    }

    fn is_control(&self) -> bool {
        self.header[0] & CONTROL != 0
    }

    fn check_first(&self) -> Result<(), EndReason> {
        let first = self.header[0];
        let is_final = first & FIN != 0;
        if first & RESERVED != 0 {
            return Err(EndReason::Protocol("reserved bits are set"));
        }
        match first & 0x0f {
            0 if !self.in_message => Err(EndReason::Protocol("continuation without a message")),
            1 | 2 if self.in_message => Err(EndReason::Protocol("new message inside a message")),
            8..=10 if !is_final => Err(EndReason::Protocol("control frame is fragmented")),
            0..=2 | 8..=10 => Ok(()),
            _ => Err(EndReason::Protocol("reserved opcode")),
        }
    }

    fn check_length(&mut self, short: u8, limits: &FrameLimits) -> Result<(), EndReason> {
        let length = match short {
            126 => u64::from(u16::from_be_bytes([self.header[2], self.header[3]])),
            127 => self.header[2..10].iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)),
            short => u64::from(short),
        };
        let is_minimal = match short {
            126 => length > 125,
            127 => length > u64::from(u16::MAX),
            _ => true,
        };
        if length >> 63 != 0 || !is_minimal {
            return Err(EndReason::Protocol("payload length is not encoded as it must be"));
        }
        self.remaining = length;
        if self.is_control() {
            return Ok(());
        }
        if !self.in_message {
            self.message_bytes = 0;
            self.fragments = 0;
        }
        self.in_message = self.header[0] & FIN == 0;
        self.message_bytes = self.message_bytes.saturating_add(length);
        self.fragments += 1;
        let most = if self.compressed.is_some() { limits.compressed_bytes() } else { limits.message_bytes };
        if self.message_bytes > most as u64 {
            return Err(EndReason::MessageTooBig);
        }
        if self.fragments as usize > limits.fragments {
            return Err(EndReason::TooManyFragments);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FrameLimits = FrameLimits { message_bytes: 1000, fragments: 3 };

    fn frame(first: u8, payload: usize) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload {
            0..=125 => bytes.push(MASK | payload as u8),
            _ => bytes.extend([MASK | 126, (payload >> 8) as u8, payload as u8]),
        }
        bytes.extend([1, 2, 3, 4]);
        bytes.resize(bytes.len() + payload, b'x');
        bytes
    }

    fn run(frames: &[Vec<u8>], chunk: usize) -> Result<usize, EndReason> {
        run_in(Scanner::default(), frames, chunk).map(|(complete, _)| complete)
    }

    /// Returns the number of frames, and the stream as the parser would see it.
    fn run_in(mut scanner: Scanner, frames: &[Vec<u8>], chunk: usize) -> Result<(usize, Vec<u8>), EndReason> {
        let mut stream = frames.concat();
        let mut complete = 0;
        for mut part in stream.chunks_mut(chunk) {
            while !part.is_empty() {
                let step = scanner.scan(part, &LIMITS)?;
                complete += usize::from(step.is_complete);
                part = &mut part[step.len..];
            }
        }
        Ok((complete, stream))
    }

    #[test]
    fn frames_are_told_apart_whatever_the_segments() {
        let frames = [frame(0x81, 0), frame(0x01, 200), frame(0x89, 5), frame(0x80, 126), frame(0x82, 125)];
        for chunk in [1, 2, 3, 7, 1000] {
            assert_eq!(run(&frames, chunk), Ok(5), "{chunk}");
        }
    }

    #[test]
    fn every_rule_is_kept_at_the_byte_that_breaks_it() {
        let cases: &[(&[u8], u16)] = &[
            (&[0xC1], 1002),
            (&[0xA1], 1002),
            (&[0x91], 1002),
            (&[0x83], 1002),
            (&[0x8B], 1002),
            (&[0x80], 1002),
            (&[0x09], 1002),
            (&[0x81, 0x05], 1002),
            (&[0x89, 0xFE], 1002),
            (&[0x81, 0xFE, 0, 125], 1002),
            (&[0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], 1002),
            (&[0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0], 1002),
            (&[0x81, 0xFF, 0x40, 0, 0, 0, 0, 0, 0, 0], 1009),
            (&[0x81, 0xFE, 0x03, 0xE9], 1009),
        ];
        for &(bytes, code) in cases {
            let (last, before) = bytes.split_last().expect("not empty");
            let mut scanner = Scanner::default();
            assert!(scanner.scan(&mut before.to_vec(), &LIMITS).is_ok(), "{bytes:x?}");
            let error = scanner.scan(&mut [*last], &LIMITS).expect_err("the last byte breaks a rule");
            assert_eq!(error.code(), code, "{bytes:x?}");
        }
    }

    #[test]
    fn fragments_are_counted_and_added_up() {
        let fine = [frame(0x01, 400), frame(0x00, 400), frame(0x8A, 3), frame(0x80, 200), frame(0x81, 1000)];
        assert_eq!(run(&fine, 64), Ok(5));
        assert_eq!(run(&[frame(0x01, 400), frame(0x80, 601)], 64), Err(EndReason::MessageTooBig));
        let many = [frame(0x01, 0), frame(0x00, 0), frame(0x00, 0), frame(0x80, 0)];
        assert_eq!(run(&many, 64), Err(EndReason::TooManyFragments));
        let nested = [frame(0x01, 1), frame(0x81, 1)];
        assert_eq!(run(&nested, 64), Err(EndReason::Protocol("new message inside a message")));
    }

    #[test]
    fn a_compressed_message_looks_like_a_binary_one() {
        let frames =
            [frame(0x41, 9), frame(0x89, 2), frame(0x80, 5), frame(0xC1, 3), frame(0xC2, 3), frame(0x81, 1)];
        let plain =
            [frame(0x02, 9), frame(0x89, 2), frame(0x80, 5), frame(0x82, 3), frame(0x82, 3), frame(0x81, 1)];
        for chunk in [1, 2, 3, 7, 1000] {
            assert_eq!(run_in(Scanner::new(true), &frames, chunk), Ok((6, plain.concat())), "{chunk}");
        }
        let mut scanner = Scanner::new(true);
        for (index, compressed) in [
            (0, Some(Compressed::Text)),
            (1, Some(Compressed::Text)),
            (2, Some(Compressed::Text)),
            (4, Some(Compressed::Binary)),
            (3, Some(Compressed::Text)),
            (5, None),
        ] {
            assert!(scanner.scan(&mut frames[index].clone(), &LIMITS).is_ok_and(|step| step.is_complete));
            assert_eq!(scanner.compressed(), compressed, "frame {index}");
        }
    }

    #[test]
    fn compression_is_for_first_frames_of_data_alone_and_where_it_was_negotiated() {
        for first in [0xC1, 0xC2, 0x41] {
            let scanned = Scanner::new(false).scan(&mut [first], &LIMITS);
            assert_eq!(scanned, Err(EndReason::Protocol("reserved bits are set")), "{first:x}");
        }
        for first in [0xC8, 0xC9, 0xCA, 0xE1, 0xD1, 0xF1, 0xA1, 0xC3, 0xC0] {
            let scanned = Scanner::new(true).scan(&mut [first], &LIMITS);
            assert!(matches!(scanned, Err(EndReason::Protocol(_))), "{first:x}: {scanned:?}");
        }
        for begun in [0x41, 0x01] {
            for first in [0xC0, 0x40, 0xC1, 0xC9] {
                let frames = [frame(begun, 3), frame(first, 3)];
                let scanned = run_in(Scanner::new(true), &frames, 99);
                assert!(matches!(scanned, Err(EndReason::Protocol(_))), "{begun:x} {first:x}: {scanned:?}");
            }
        }
    }

    #[test]
    fn a_compressed_message_may_be_a_little_longer_than_a_plain_one() {
        let most = LIMITS.compressed_bytes();
        assert!(run_in(Scanner::new(true), &[frame(0xC1, most)], 64).is_ok());
        for frames in
            [&[frame(0xC1, most + 1)][..], &[frame(0x41, most), frame(0x80, 1)], &[frame(0x81, 1001)]]
        {
            let scanned = run_in(Scanner::new(true), frames, 64);
            assert_eq!(scanned, Err(EndReason::MessageTooBig));
        }
    }
}
