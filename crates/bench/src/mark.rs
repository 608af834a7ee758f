//! The mark that every published message carries: how it is written, and how it is found in received bytes.
//!
//! A mark is the byte `#`, 4 hex digits of the publisher's number, and 16 hex digits of the time at which the message
//! was sent or due (nanoseconds of the run's clock). It is plain text, so that any server that relays text or bytes
//! relays it, whatever it puts around the message.

/// Number of hex digits after the mark byte.
const DIGITS: usize = 20;
/// Length of a mark in bytes, which is also the smallest payload.
pub(super) const MARK_BYTES: usize = 1 + DIGITS;
/// Largest number of publishers that a mark can tell apart.
pub(super) const MAX_PUBLISHERS: usize = 1 << 16;

/// The content of a mark: which publisher sent the message, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Number of the connection that published the message.
    pub(super) publisher: u16,
    /// When the message was sent (closed loop) or due (open loop), in nanoseconds of the run's clock.
    pub(super) at_ns: u64,
}

impl Stamp {
    /// Returns the text of the mark that begins with the byte `mark`.
    pub(super) fn encode(self, mark: u8) -> [u8; MARK_BYTES] {
        let mut text = [mark; MARK_BYTES];
        let both = u128::from(self.publisher) << 64 | u128::from(self.at_ns);
        for (nth, digit) in text[1..].iter_mut().rev().enumerate() {
            *digit = b"0123456789abcdef"[(both >> (4 * nth)) as usize & 15];
        }
        text
    }

    fn decode(digits: &[u8; DIGITS]) -> Option<Self> {
        let mut both = 0u128;
        for digit in digits {
            both = both << 4 | u128::from((*digit as char).to_digit(16)?);
        }
        Some(Self { publisher: (both >> 64) as u16, at_ns: both as u64 })
    }
}

/// Finds marks in a stream of payload bytes that may be cut anywhere.
#[derive(Debug, Default)]
pub(super) struct MarkScanner {
    digits: [u8; DIGITS],
    /// 0 outside of a mark, else one more than the number of digits collected so far.
    state: u8,
}

impl MarkScanner {
    /// Calls `seen` for each mark in `data`: with its stamp, or `None` if the mark byte is not followed by digits.
    pub(super) fn scan(&mut self, mark: u8, mut data: &[u8], mut seen: impl FnMut(Option<Stamp>)) {
        loop {
            if self.state > 0 {
                let have = usize::from(self.state - 1);
                let take = (DIGITS - have).min(data.len());
                self.digits[have..have + take].copy_from_slice(&data[..take]);
                data = &data[take..];
                if have + take < DIGITS {
                    self.state = (have + take + 1) as u8;
                    return;
                }
                self.state = 0;
                seen(Stamp::decode(&self.digits));
            }
            let Some(at) = memchr::memchr(mark, data) else { return };
            data = &data[at + 1..];
            self.state = 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Stamp = Stamp { publisher: 0xbeef, at_ns: 0x0123_4567_89ab_cdef };
    const SECOND: Stamp = Stamp { publisher: 7, at_ns: u64::MAX };

    fn scan(parts: &[&[u8]]) -> Vec<Option<Stamp>> {
        let mut scanner = MarkScanner::default();
        let mut found = Vec::new();
        for part in parts {
            scanner.scan(b'#', part, |stamp| found.push(stamp));
        }
        found
    }

    #[test]
    fn a_mark_is_found_wherever_the_bytes_are_cut() {
        let text =
            [b"{\"message\":\"".as_slice(), &FIRST.encode(b'#'), b"xx\"}", &SECOND.encode(b'#')].concat();
        for cut in 0..=text.len() {
            let (head, tail) = text.split_at(cut);
            assert_eq!(scan(&[head, tail]), [Some(FIRST), Some(SECOND)], "cut at {cut}");
        }
        let single: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(scan(&single), [Some(FIRST), Some(SECOND)]);
    }

    #[test]
    fn a_mark_byte_without_digits_is_bad() {
        assert_eq!(scan(&[b"# and this is no mark of ours"]), [None]);
        assert_eq!(scan(&[b"no mark"]), []);
    }
}
