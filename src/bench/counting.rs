//! Deliveries in received bytes: every mark is counted everywhere, and read only where a connection is sampled.

use super::mark::Scanner;
use super::shared::Shared;
use super::wire::{Malformed, Visitor, Walker};

/// Control frames met on the way: opcode and payload.
pub(super) type Controls = Vec<(u8, Vec<u8>)>;

/// Counts the marks in `data`, the next bytes of a connection.
pub(super) fn count(
    walker: &mut Walker,
    data: &[u8],
    shared: &mut Shared<'_>,
    controls: &mut Controls,
) -> Result<(), Malformed> {
    let (marks, foreign, walked) = count_in(walker, shared.plan.mark, data, controls);
    shared.tally.delivered = shared.tally.delivered + marks - foreign;
    walked
}

/// How often `mark` stands in `data`, and how often it stood where no mark can be: in headers and control frames that
/// ended here. A header cut by the last read had some of its bytes counted then, so that the difference may be
/// negative, but not its sum over all reads.
fn count_in(
    walker: &mut Walker,
    mark: u8,
    data: &[u8],
    controls: &mut Controls,
) -> (u64, u64, Result<(), Malformed>) {
    let mut visitor = Counter { mark, foreign: 0, controls };
    let walked = walker.walk(data, &mut visitor);
    (memchr::memchr_iter(mark, data).count() as u64, visitor.foreign, walked)
}

/// Reads the marks in `data`, the next bytes of the sampled connection `number`.
pub(super) fn parse(
    walker: &mut Walker,
    scanner: &mut Scanner,
    number: u32,
    data: &[u8],
    shared: &mut Shared<'_>,
    controls: &mut Controls,
) -> Result<(), Malformed> {
    // One look at the clock for all that was read at once.
    let now_ns = shared.clock.now_ns();
    walker.walk(data, &mut Parser { scanner, number, now_ns, shared, controls })
}

/// Counts nothing: control frames alone are of interest.
pub(super) fn skip(walker: &mut Walker, data: &[u8], controls: &mut Controls) -> Result<(), Malformed> {
    walker.walk(data, &mut Counter { mark: 0, foreign: 0, controls })
}

/// Counting marks in raw bytes, headers and all, is one pass at memory speed; this tells how many of them were no marks
/// but lengths or control frames.
struct Counter<'a> {
    mark: u8,
    foreign: u64,
    controls: &'a mut Controls,
}

impl Visitor for Counter<'_> {
    #[inline]
    fn header(&mut self, header: &[u8]) {
        self.foreign += header.iter().filter(|byte| **byte == self.mark).count() as u64;
    }
    #[inline]
    fn payload(&mut self, _: &[u8]) {}
    fn skipped(&mut self, raw: &[u8]) {
        self.header(raw);
    }
    fn control(&mut self, opcode: u8, payload: &[u8]) {
        self.controls.push((opcode, payload.to_vec()));
    }
}

/// Parses every mark: latency, and which messages of one's own came back.
struct Parser<'a, 'p> {
    scanner: &'a mut Scanner,
    number: u32,
    now_ns: u64,
    shared: &'a mut Shared<'p>,
    controls: &'a mut Controls,
}

impl Visitor for Parser<'_, '_> {
    fn header(&mut self, _: &[u8]) {}
    fn payload(&mut self, payload: &[u8]) {
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

    /// 1. A frame of 35 bytes has the mark's byte as its length, one of 9,000 has it in the first byte of its length.
    /// 2. Both carry one mark, and between them a ping is full of them.
    /// 3. Two deliveries, however the stream is cut.
    #[test]
    fn only_marks_in_messages_are_deliveries() {
        let mut stream = vec![0x81, b'#'];
        stream.extend_from_slice(&[b'x'; 34]);
        stream.extend_from_slice(b"#\x89\x03###\x81\x7e\x23\x28#");
        stream.extend_from_slice(&[b'x'; 8_999]);
        for cut in 0..64 {
            let (mut walker, mut controls) = (Walker::default(), Vec::new());
            let mut sum = 0;
            for part in [&stream[..cut], &stream[cut..]] {
                let (marks, foreign, walked) = count_in(&mut walker, b'#', part, &mut controls);
                assert_eq!(walked, Ok(()));
                sum = sum + marks - foreign;
            }
            assert_eq!((sum, controls.len()), (2, 1), "cut at {cut}");
        }
    }
}
