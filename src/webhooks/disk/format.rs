//! The format of the events on disk: [framed] entries.
//!
//! ```text
//! segment = magic  entry*                       the first entry is a Header
//! ```
//!
//! Behind damage the numbers of the events tell how many are missing.

use crate::framed;

/// Lanes of a receiver. Events of one room or user share a lane and come in order; a receiver that is slow for one
/// request still gets the other lanes' events.
pub(in crate::webhooks) const LANES: usize = 8;
/// The first bytes of a segment; the last of them is the version.
pub(super) const MAGIC: &[u8; 8] = b"throngw\x01";
/// Bytes of an event's entry besides its JSON.
const EVENT: usize = framed::HEAD + 1 + 8 + 8;

/// An entry of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    /// The first entry of each segment: the receiver's URL, for people, and the number of the next event in the lane.
    Header { next: u64, url: &'a str },
    /// An event.
    Event { number: u64, at_unix_ms: u64, json: &'a str },
}

/// Returns the length on disk of an event with so many bytes of JSON.
pub(super) const fn event_len(json: usize) -> usize {
    EVENT + json
}

/// Writes an entry.
pub(super) fn write(bytes: &mut Vec<u8>, entry: &Entry<'_>) {
    framed::append(bytes, |body| match entry {
        Entry::Header { next, url } => {
            body.push(0);
            body.extend_from_slice(&next.to_le_bytes());
            body.extend_from_slice(url.as_bytes());
        }
        Entry::Event { number, at_unix_ms, json } => {
            body.push(1);
            body.extend_from_slice(&number.to_le_bytes());
            body.extend_from_slice(&at_unix_ms.to_le_bytes());
            body.extend_from_slice(json.as_bytes());
        }
    });
}

/// The next thing in a segment.
pub(super) type Step<'a> = framed::Step<Entry<'a>>;

/// Returns a reader of entries. `bytes` begin with one.
pub(super) fn reader(bytes: &[u8]) -> framed::Reader<'_, Entry<'_>> {
    framed::Reader::new(bytes, decode)
}

fn decode(body: &[u8]) -> Option<Entry<'_>> {
    let (kind, rest) = body.split_first()?;
    let (first, rest) = rest.split_first_chunk()?;
    let first = u64::from_le_bytes(*first);
    match kind {
        0 => Some(Entry::Header { next: first, url: str::from_utf8(rest).ok()? }),
        1 => {
            let (at, json) = rest.split_first_chunk()?;
            let at_unix_ms = u64::from_le_bytes(*at);
            Some(Entry::Event { number: first, at_unix_ms, json: str::from_utf8(json).ok()? })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes, &Entry::Header { next: 7, url: "http://a/" });
        for number in [7, 8] {
            let before = bytes.len();
            write(&mut bytes, &Entry::Event { number, at_unix_ms: 5, json: "{\"a\":\"é\"}" });
            assert_eq!(bytes.len() - before, event_len(10));
        }
        bytes
    }

    /// Returns the numbers of the events, and whether something was torn or damaged.
    fn read(bytes: &[u8]) -> (Vec<u64>, bool, bool) {
        let (mut reader, mut numbers, mut is_damaged) = (reader(bytes), Vec::new(), false);
        loop {
            match reader.step() {
                Step::Entry(Entry::Event { number, .. }, ..) => numbers.push(number),
                Step::Entry(Entry::Header { .. }, ..) => {}
                Step::Damaged(_) => is_damaged = true,
                Step::Torn => return (numbers, true, is_damaged),
                Step::End => return (numbers, false, is_damaged),
            }
        }
    }

    #[test]
    fn entries_are_read_as_they_were_written() {
        let bytes = three();
        let mut reader = reader(&bytes);
        let header = Entry::Header { next: 7, url: "http://a/" };
        assert_eq!(reader.step(), Step::Entry(header, bytes.len() - 2 * event_len(10), false));
        let event = Entry::Event { number: 7, at_unix_ms: 5, json: "{\"a\":\"é\"}" };
        assert_eq!(reader.step(), Step::Entry(event, event_len(10), false));
        assert_eq!(read(&bytes), (vec![7, 8], false, false));
    }

    #[test]
    fn a_cut_at_any_byte_is_torn_and_takes_the_last_entry_alone() {
        let bytes = three();
        for cut in bytes.len() - event_len(10) + 1..bytes.len() {
            assert_eq!(read(&bytes[..cut]), (vec![7], true, false), "{cut}");
        }
    }

    #[test]
    fn a_wrong_byte_anywhere_takes_one_entry_alone() {
        let bytes = three();
        let first = bytes.len() - 2 * event_len(10);
        for at in first..first + event_len(10) {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x55;
            assert_eq!(read(&bytes), (vec![8], false, true), "{at}");
        }
        let mut zeros = bytes;
        zeros.extend_from_slice(&[0; 100]);
        assert_eq!(read(&zeros), (vec![7, 8], false, true), "a power cut may leave zeros");
    }
}
