//! Deliveries in received bytes: every mark is counted everywhere, and read only where a connection is sampled.
//!
//! The cost of a delivery that is only counted must be small beside what the kernel takes for it: some ten nanoseconds
//! (`cargo bench deliveries`) of about two hundred.

use super::ear::{Ear, may_be_heartbeat};
use super::mark::Scanner;
use super::shared::Shared;
use super::wire::{Malformed, Visitor, Walker};

/// Control frames met on the way, and texts without a mark: opcode and payload.
pub(super) type Controls = Vec<(u8, Vec<u8>)>;

/// Counts the marks in `data`, the next bytes of a connection.
pub(super) fn count(
    walker: &mut Walker,
    ear: &mut Ear,
    data: &[u8],
    shared: &mut Shared<'_>,
    controls: &mut Controls,
) -> Result<(), Malformed> {
    let (marks, foreign, walked) = count_in(walker, ear, shared.plan.mark, data, controls);
    shared.tally.delivered = shared.tally.delivered + marks - foreign;
    walked
}

/// How often `mark` stands in `data`, and how often it stood where no mark can be: in headers and control frames that
/// ended here. A header cut by the last read had some of its bytes counted then, so that the difference may be
/// negative, but not its sum over all reads.
fn count_in(
    walker: &mut Walker,
    ear: &mut Ear,
    mark: u8,
    data: &[u8],
    controls: &mut Controls,
) -> (u64, u64, Result<(), Malformed>) {
    let mut visitor = Counter { mark, foreign: 0, ear, controls };
    let walked = walker.walk(data, &mut visitor);
    (occurrences(mark, data), visitor.foreign, walked)
}

/// Bytes compared at once. Measured: the compiler makes vector instructions of 64, of fewer it makes none.
const LANES: usize = 64;

/// How often `byte` stands in `data`: one counter per lane, and no position is ever computed, which is what makes an
/// iterator over positions two to three times as expensive.
fn occurrences(byte: u8, data: &[u8]) -> u64 {
    let mut sum = 0;
    // The counters are bytes too, and must be emptied before they overflow.
    for part in data.chunks(usize::from(u8::MAX) * LANES) {
        let (rows, rest) = part.as_chunks::<LANES>();
        let mut counters = [0u8; LANES];
        for row in rows {
            add_matches(&mut counters, row, byte);
        }
        sum += counters.iter().map(|count| u64::from(*count)).sum::<u64>();
        // The rest is filled up to a row, with what does not count.
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

/// Counts the deliveries of one connection as a run does that does not sample it: for the benches.
#[derive(Debug)]
pub struct Deliveries {
    walker: Walker,
    ear: Ear,
    mark: u8,
}

impl Deliveries {
    /// Nothing read yet; `mark` begins a delivery.
    #[must_use]
    pub fn new(mark: u8) -> Self {
        Self { walker: Walker::default(), ear: Ear::default(), mark }
    }

    /// Marks in `data`, the next bytes of the server's frames (RFC 6455 section 5.2), less those of headers and control
    /// frames that end here: over all calls the sum is exact. `None` where no server may send this.
    pub fn count(&mut self, data: &[u8]) -> Option<i64> {
        let (marks, foreign, walked) =
            count_in(&mut self.walker, &mut self.ear, self.mark, data, &mut Controls::new());
        walked.is_ok().then_some(marks as i64 - foreign as i64)
    }
}

/// Reads the marks in `data`, the next bytes of the sampled connection `number`.
pub(super) fn parse(
    walker: &mut Walker,
    scanner: &mut Scanner,
    ear: &mut Ear,
    number: u32,
    data: &[u8],
    shared: &mut Shared<'_>,
    controls: &mut Controls,
) -> Result<(), Malformed> {
    // One look at the clock for all that was read at once.
    let now_ns = shared.clock.now_ns();
    walker.walk(data, &mut Parser { scanner, ear, number, now_ns, shared, controls })
}

/// Counts nothing: control frames alone are of interest.
pub(super) fn skip(walker: &mut Walker, data: &[u8], controls: &mut Controls) -> Result<(), Malformed> {
    walker.walk(data, &mut Counter { mark: 0, foreign: 0, ear: &mut Ear::default(), controls })
}

/// Counting marks in raw bytes, headers and all, is one pass at memory speed; this tells how many of them were no marks
/// but lengths or control frames.
struct Counter<'a> {
    mark: u8,
    foreign: u64,
    ear: &'a mut Ear,
    controls: &'a mut Controls,
}

impl Visitor for Counter<'_> {
    #[inline]
    fn alike(&mut self, header: &[u8], frames: &[u8], each: usize) {
        let marks = header.iter().filter(|byte| **byte == self.mark).count();
        if marks > 0 {
            self.foreign += (marks * (frames.len() / each)) as u64;
        }
        if may_be_heartbeat((each - header.len()) as u64) {
            for frame in frames.chunks_exact(each) {
                self.ear.header(header, self.controls);
                self.ear.payload(&frame[header.len()..], self.mark, self.controls);
            }
        }
    }
    #[inline]
    fn header(&mut self, header: &[u8]) {
        self.skipped(header);
        self.ear.header(header, self.controls);
    }
    #[inline]
    fn payload(&mut self, payload: &[u8]) {
        self.ear.payload(payload, self.mark, self.controls);
    }
    #[inline]
    fn skipped(&mut self, raw: &[u8]) {
        self.foreign += raw.iter().filter(|byte| **byte == self.mark).count() as u64;
    }
    fn control(&mut self, opcode: u8, payload: &[u8]) {
        self.controls.push((opcode, payload.to_vec()));
    }
}

/// Parses every mark: latency, and which messages of one's own came back.
struct Parser<'a, 'p> {
    scanner: &'a mut Scanner,
    ear: &'a mut Ear,
    number: u32,
    now_ns: u64,
    shared: &'a mut Shared<'p>,
    controls: &'a mut Controls,
}

impl Visitor for Parser<'_, '_> {
    fn header(&mut self, header: &[u8]) {
        self.ear.header(header, self.controls);
    }
    fn payload(&mut self, payload: &[u8]) {
        self.ear.payload(payload, self.shared.plan.mark, self.controls);
        let Self { scanner, number, now_ns, shared, .. } = self;
        scanner.scan(shared.plan.mark, payload, |stamp| shared.received(*number, stamp, *now_ns));
    }
    fn skipped(&mut self, _: &[u8]) {}
    fn control(&mut self, opcode: u8, payload: &[u8]) {
        self.controls.push((opcode, payload.to_vec()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1. Frames of 35 bytes have the mark's byte as their length, those of 9,000 in the first byte of it.
    /// 2. Each carries one mark, and between the three short and the two long ones a ping is full of them.
    /// 3. Five deliveries, however the stream is cut.
    #[test]
    fn only_marks_in_messages_are_deliveries() {
        let mut stream = [b"\x81#".as_slice(), &[b'x'; 34], b"#"].concat().repeat(3);
        stream.extend_from_slice(b"\x89\x03###");
        stream.extend_from_slice(&[b"\x81\x7e\x23\x28#".as_slice(), &[b'x'; 8_999]].concat().repeat(2));
        for cut in (0..200).chain(9_110..9_130) {
            let (mut walker, mut ear, mut controls) = (Walker::default(), Ear::default(), Vec::new());
            let mut sum = 0;
            for part in [&stream[..cut], &stream[cut..]] {
                let (marks, foreign, walked) = count_in(&mut walker, &mut ear, b'#', part, &mut controls);
                assert_eq!(walked, Ok(()));
                sum = sum + marks - foreign;
            }
            assert_eq!((sum, controls.len()), (5, 1), "cut at {cut}");
        }
    }

    /// Around a row, and around where a counter would overflow if all bytes counted.
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
