//! The format of the events on disk: framed entries, each with two checksums.
//!
//! ```text
//! segment = magic  entry*                       the first entry is a Header
//! entry   = length u32  sum of body u32  sum of these eight bytes u32  body
//! ```
//!
//! Numbers are little-endian, sums are CRC-32. The head has a sum of its own: a write that was cut short leaves a good
//! head and too few bytes, or too few for a head, and anything else is damage. Behind damage a reader continues at the
//! next whole entry. The numbers of the events then tell how many are missing.

/// Lanes of a receiver. Events of one room or user share a lane and come in order; a receiver that is slow for one
/// request still gets the other lanes' events.
pub(in crate::webhooks) const LANES: usize = 8;
/// The first bytes of a segment; the last of them is the version.
pub(super) const MAGIC: &[u8; 8] = b"throngw\x01";
/// Bytes before the body of an entry.
const HEAD: usize = 12;
/// Bytes of an event's entry besides its JSON.
const EVENT: usize = HEAD + 1 + 8 + 8;

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
    let start = bytes.len();
    bytes.extend_from_slice(&[0; HEAD]);
    match entry {
        Entry::Header { next, url } => {
            bytes.push(0);
            bytes.extend_from_slice(&next.to_le_bytes());
            bytes.extend_from_slice(url.as_bytes());
        }
        Entry::Event { number, at_unix_ms, json } => {
            bytes.push(1);
            bytes.extend_from_slice(&number.to_le_bytes());
            bytes.extend_from_slice(&at_unix_ms.to_le_bytes());
            bytes.extend_from_slice(json.as_bytes());
        }
    }
    let body = start + HEAD;
    // A URL or an event is far shorter than four gigabytes.
    let len = (bytes.len() - body) as u32;
    let sum = crc32fast::hash(&bytes[body..]);
    bytes[start..start + 4].copy_from_slice(&len.to_le_bytes());
    bytes[start + 4..start + 8].copy_from_slice(&sum.to_le_bytes());
    let own = crc32fast::hash(&bytes[start..start + 8]);
    bytes[start + 8..body].copy_from_slice(&own.to_le_bytes());
}

/// The next thing that a reader finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// An entry.
    Entry(Entry<'a>),
    /// The end of the bytes.
    End,
    /// The beginning of an entry, of this whole length if that is known.
    Torn(Option<usize>),
    /// So many damaged bytes. The next step is behind them.
    Damaged(usize),
}

/// Reads entries one after the other.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Begins at the start of `bytes`, which is that of an entry.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Returns how many bytes were read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn step(&mut self) -> Step<'a> {
        let rest = &self.bytes[self.at..];
        if rest.is_empty() {
            return Step::End;
        }
        if rest.len() < HEAD {
            return Step::Torn(None);
        }
        let damaged = match entry_at(rest) {
            Ok((entry, len)) => {
                self.at += len;
                return Step::Entry(entry);
            }
            // The head is good: only the body is damaged.
            Err(Some(len)) if len <= rest.len() => len,
            Err(Some(len)) => return Step::Torn(Some(len)),
            Err(None) => {
                let behind = (1..rest.len()).find(|at| entry_at(&rest[*at..]).is_ok());
                behind.unwrap_or(rest.len())
            }
        };
        self.at += damaged;
        Step::Damaged(damaged)
    }
}

/// Reads an entry. Returns it with its length; otherwise the length given by its head, if that is good.
fn entry_at(bytes: &[u8]) -> Result<(Entry<'_>, usize), Option<usize>> {
    let head = bytes.get(..HEAD).ok_or(None)?;
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    if crc32fast::hash(&head[..8]) != word(8) {
        return Err(None);
    }
    let end = HEAD + word(0) as usize;
    let body = bytes.get(HEAD..end).ok_or(Some(end))?;
    let entry = if crc32fast::hash(body) == word(4) { decode(body) } else { None };
    Ok((entry.ok_or(Some(end))?, end))
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
        let (mut reader, mut numbers, mut is_damaged) = (Reader::new(bytes), Vec::new(), false);
        loop {
            match reader.step() {
                Step::Entry(Entry::Event { number, .. }) => numbers.push(number),
                Step::Entry(Entry::Header { .. }) => {}
                Step::Damaged(_) => is_damaged = true,
                Step::Torn(_) => return (numbers, true, is_damaged),
                Step::End => return (numbers, false, is_damaged),
            }
        }
    }

    #[test]
    fn entries_are_read_as_they_were_written() {
        let bytes = three();
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.step(), Step::Entry(Entry::Header { next: 7, url: "http://a/" }));
        let event = Entry::Event { number: 7, at_unix_ms: 5, json: "{\"a\":\"é\"}" };
        assert_eq!(reader.step(), Step::Entry(event));
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
