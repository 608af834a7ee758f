//! Counts deliveries in received bytes. Every connection counts marks; a sampled connection also parses them.
//!
//! Counting a delivery must be cheap beside the kernel's cost of receiving it: the load generator must keep up with
//! the server. `cargo bench deliveries` measures it.

use super::mark::MarkScanner;
use super::protocol::Protocol;
use super::shared::Shared;
use super::texts::{OtherMessages, TextCollector, Wanted};
use super::wire::{FrameDecoder, FrameHandler, Malformed};

/// Counts the marks in `data`, the next bytes of a connection that is not sampled.
pub(super) fn count(
    decoder: &mut FrameDecoder,
    texts: &mut TextCollector,
    data: &[u8],
    shared: &mut Shared<'_>,
    others: &mut OtherMessages,
) -> Result<(), Malformed> {
    let (marks, false_marks, decoded) = count_in(decoder, texts, shared.plan.mark, data, others);
    shared.counters.delivered = shared.counters.delivered + marks - false_marks;
    decoded
}

/// Returns how often the byte `mark` is in `data`, and how often it was in headers and control frames that ended in
/// `data` and is therefore not a mark. If the previous read cut a header, some of its bytes were counted then: the
/// difference of one call may be negative, its sum over all calls is exact.
fn count_in(
    decoder: &mut FrameDecoder,
    texts: &mut TextCollector,
    mark: u8,
    data: &[u8],
    others: &mut OtherMessages,
) -> (u64, u64, Result<(), Malformed>) {
    let mut handler = FalseMarkCounter { mark, false_marks: 0, texts, others };
    let decoded = decoder.decode(data, &mut handler);
    (occurrences(mark, data), handler.false_marks, decoded)
}

/// Number of bytes compared at once. With 64 the compiler emits vector instructions, with fewer it does not.
const LANES: usize = 64;

/// Counts how often `byte` is in `data`, with one counter per lane. Unlike an iterator over positions, it computes no
/// position, which would cost two to three times as much.
fn occurrences(byte: u8, data: &[u8]) -> u64 {
    let mut sum = 0;
    // The counters are bytes too: they are summed up before they can overflow.
    for part in data.chunks(usize::from(u8::MAX) * LANES) {
        let (rows, rest) = part.as_chunks::<LANES>();
        let mut counters = [0u8; LANES];
        for row in rows {
            add_matches(&mut counters, row, byte);
        }
        sum += counters.iter().map(|count| u64::from(*count)).sum::<u64>();
        // The last row is padded with a byte that does not match.
        let mut row = [!byte; LANES];
        row[..rest.len()].copy_from_slice(rest);
        let mut counters = [0u8; LANES];
        add_matches(&mut counters, &row, byte);
        sum += counters.iter().map(|count| u64::from(*count)).sum::<u64>();
    }
    sum
}

#[inline]
fn add_matches(counters: &mut [u8; LANES], row: &[u8; LANES], byte: u8) {
    for (counter, found) in counters.iter_mut().zip(row) {
        *counter += u8::from(*found == byte);
    }
}

/// Counts the deliveries of one connection in the same way as a run does if the connection is not sampled. Only the
/// benches use it.
#[derive(Debug)]
pub struct Deliveries {
    decoder: FrameDecoder,
    texts: TextCollector,
    mark: u8,
}

impl Deliveries {
    /// Returns a counter for a new connection; the byte `mark` begins a mark.
    #[must_use]
    pub fn new(mark: u8) -> Self {
        Self { decoder: FrameDecoder::default(), texts: heartbeats(), mark }
    }

    /// Returns the number of marks in `data`, the next bytes of the server's frames (RFC 6455 section 5.2), less those
    /// in headers and control frames that end in `data`: the sum over all calls is exact. Returns `None` if the bytes
    /// are no frames that a server may send.
    pub fn count(&mut self, data: &[u8]) -> Option<i64> {
        let (marks, false_marks, decoded) =
            count_in(&mut self.decoder, &mut self.texts, self.mark, data, &mut OtherMessages::new());
        decoded.is_ok().then_some(marks as i64 - false_marks as i64)
    }
}

/// Returns what collects the texts of a connection that is only counted.
fn heartbeats() -> TextCollector {
    TextCollector::new(Protocol::Throng, Wanted::Heartbeats)
}

/// Parses the marks in `data`, the next bytes of the sampled connection `number`.
pub(super) fn parse(
    decoder: &mut FrameDecoder,
    scanner: &mut MarkScanner,
    texts: &mut TextCollector,
    number: u32,
    data: &[u8],
    shared: &mut Shared<'_>,
    others: &mut OtherMessages,
) -> Result<(), Malformed> {
    // One clock read for all messages of a read.
    let now_ns = shared.clock.now_ns();
    decoder.decode(data, &mut MarkParser { scanner, texts, number, now_ns, shared, others })
}

/// Decodes `data` without counting deliveries, and appends its other messages to `others`.
pub(super) fn skip(
    decoder: &mut FrameDecoder,
    texts: &mut TextCollector,
    data: &[u8],
    others: &mut OtherMessages,
) -> Result<(), Malformed> {
    decoder.decode(data, &mut FalseMarkCounter { mark: 0, false_marks: 0, texts, others })
}

/// Counts the mark bytes in headers and control frames. [`occurrences`] counts the raw bytes in one pass at memory
/// speed, including these, which are no marks.
struct FalseMarkCounter<'a> {
    mark: u8,
    false_marks: u64,
    texts: &'a mut TextCollector,
    others: &'a mut OtherMessages,
}

impl FrameHandler for FalseMarkCounter<'_> {
    #[inline]
    fn on_equal_frames(&mut self, header: &[u8], frames: &[u8], frame_len: usize) {
        let marks = header.iter().filter(|byte| **byte == self.mark).count();
        if marks > 0 {
            self.false_marks += (marks * (frames.len() / frame_len)) as u64;
        }
        if self.texts.may_want((frame_len - header.len()) as u64) {
            for frame in frames.chunks_exact(frame_len) {
                self.texts.on_header(header, self.others);
                self.texts.on_payload(&frame[header.len()..], self.mark, self.others);
            }
        }
    }
    #[inline]
    fn on_header(&mut self, header: &[u8]) {
        self.on_control_bytes(header);
        self.texts.on_header(header, self.others);
    }
    #[inline]
    fn on_payload(&mut self, payload: &[u8]) {
        self.texts.on_payload(payload, self.mark, self.others);
    }
    #[inline]
    fn on_control_bytes(&mut self, raw: &[u8]) {
        self.false_marks += raw.iter().filter(|byte| **byte == self.mark).count() as u64;
    }
    fn on_control(&mut self, opcode: u8, payload: &[u8]) {
        self.others.push((opcode, payload.to_vec()));
    }
}

/// Parses every mark: records its latency and whether a message came back to its publisher.
struct MarkParser<'a, 'p> {
    scanner: &'a mut MarkScanner,
    texts: &'a mut TextCollector,
    number: u32,
    now_ns: u64,
    shared: &'a mut Shared<'p>,
    others: &'a mut OtherMessages,
}

impl FrameHandler for MarkParser<'_, '_> {
    fn on_header(&mut self, header: &[u8]) {
        self.texts.on_header(header, self.others);
    }
    fn on_payload(&mut self, payload: &[u8]) {
        self.texts.on_payload(payload, self.shared.plan.mark, self.others);
        let Self { scanner, number, now_ns, shared, .. } = self;
        scanner.scan(shared.plan.mark, payload, |stamp| shared.record_delivery(*number, stamp, *now_ns));
    }
    fn on_control_bytes(&mut self, _: &[u8]) {}
    fn on_control(&mut self, opcode: u8, payload: &[u8]) {
        self.others.push((opcode, payload.to_vec()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1. Payloads of 35 bytes have the mark byte as their length, those of 9,000 bytes as the first byte of it.
    /// 2. Each frame carries one mark. Between the three short and the two long frames, a ping has three mark bytes.
    /// 3. There are five deliveries, wherever the stream is cut.
    #[test]
    fn only_marks_in_messages_are_deliveries() {
        let mut stream = [b"\x81#".as_slice(), &[b'x'; 34], b"#"].concat().repeat(3);
        stream.extend_from_slice(b"\x89\x03###");
        stream.extend_from_slice(&[b"\x81\x7e\x23\x28#".as_slice(), &[b'x'; 8_999]].concat().repeat(2));
        for cut in (0..200).chain(9_110..9_130) {
            let (mut decoder, mut texts, mut others) = (FrameDecoder::default(), heartbeats(), Vec::new());
            let mut sum = 0;
            for part in [&stream[..cut], &stream[cut..]] {
                let (marks, false_marks, decoded) =
                    count_in(&mut decoder, &mut texts, b'#', part, &mut others);
                assert_eq!(decoded, Ok(()));
                sum = sum + marks - false_marks;
            }
            assert_eq!((sum, others.len()), (5, 1), "cut at {cut}");
        }
    }

    /// Lengths around one row, and around the point where a counter would overflow if every byte matched.
    #[test]
    fn bytes_are_counted_at_any_length() {
        let most = usize::from(u8::MAX) * LANES;
        for len in (0..200).chain(most - 1..=most + LANES + 1) {
            let mut data = vec![b'#'; len];
            assert_eq!(occurrences(b'#', &data), len as u64);
            assert_eq!(occurrences(b'x', &data), 0);
            data.iter_mut().step_by(3).for_each(|byte| *byte = b'x');
            assert_eq!(occurrences(b'x', &data), len.div_ceil(3) as u64);
        }
    }
}
