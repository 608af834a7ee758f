//! Framed entries on disk, each with two checksums: those of the log of messages, and of the events for webhooks.
//!
//! ```text
//! entry = length u32  sum of body u32  sum of these eight bytes u32  body
//! ```
//!
//! Numbers are little-endian, sums are CRC-32. The highest bit of the length is a mark, whose meaning the owner knows.
//! The head has a sum of its own, because a length that cannot be trusted would make damage look like an end: a write
//! that was cut short leaves a good head and too few bytes, or too few for a head. Behind damage a reader continues at
//! the next whole entry.

/// Bytes before the body of an entry.
pub const HEAD: usize = 12;
/// The bit of the length that is the mark.
const MARK: u32 = 1 << 31;

/// Appends an entry, whose body `write` appends. Returns its length.
///
/// # Panics
/// The body has two gigabytes or more.
pub fn append(bytes: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> usize {
    let start = bytes.len();
    bytes.extend_from_slice(&[0; HEAD]);
    write(bytes);
    let body = start + HEAD;
    let len = (bytes.len() - body) as u32;
    assert!(len & MARK == 0, "an entry is shorter than two gigabytes");
    let sum = crc32fast::hash(&bytes[body..]);
    put_head(&mut bytes[start..body], len, sum);
    bytes.len() - start
}

/// Marks the entry with which `bytes` begin. Nothing happens where there is none.
pub fn mark(bytes: &mut [u8]) {
    if let Some((len, sum)) = head_at(bytes) {
        put_head(&mut bytes[..HEAD], len | MARK, sum);
    }
}

fn put_head(head: &mut [u8], len: u32, sum: u32) {
    head[..4].copy_from_slice(&len.to_le_bytes());
    head[4..8].copy_from_slice(&sum.to_le_bytes());
    let own = crc32fast::hash(&head[..8]);
    head[8..].copy_from_slice(&own.to_le_bytes());
}

/// Reads an entry's head: the length with its mark, and the sum of the body. Returns `None` when the head is damaged.
fn head_at(bytes: &[u8]) -> Option<(u32, u32)> {
    let head = bytes.get(..HEAD)?;
    let number = |at: usize| Some(u32::from_le_bytes(head[at..at + 4].try_into().ok()?));
    (crc32fast::hash(&head[..8]) == number(8)?).then_some((number(0)?, number(4)?))
}

/// The next thing that a reader finds.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// An entry, its length on disk, and whether it is marked.
    Entry(T, usize, bool),
    /// The end of the bytes.
    End,
    /// The beginning of an entry: the write was cut short.
    Torn,
    /// So many damaged bytes. The next step is behind them.
    Damaged(usize),
}

/// Reads entries one after the other.
#[derive(Debug)]
pub struct Reader<'a, T> {
    bytes: &'a [u8],
    at: usize,
    decode: fn(&'a [u8]) -> Option<T>,
}

impl<'a, T> Reader<'a, T> {
    /// Begins at the start of `bytes`, which is that of an entry. `decode` reads a body; one that it cannot read counts
    /// as damaged.
    pub fn new(bytes: &'a [u8], decode: fn(&'a [u8]) -> Option<T>) -> Self {
        Self { bytes, at: 0, decode }
    }

    /// Returns how many bytes were read.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Reads what is next.
    pub fn step(&mut self) -> Step<T> {
        let rest = &self.bytes[self.at..];
        if rest.is_empty() {
            return Step::End;
        }
        if rest.len() < HEAD {
            return Step::Torn;
        }
        let damaged = match self.entry_at(rest) {
            Ok((entry, len, is_marked)) => {
                self.at += len;
                return Step::Entry(entry, len, is_marked);
            }
            // The head is good: only the body is damaged.
            Err(Some(len)) if len <= rest.len() => len,
            Err(Some(_)) => return Step::Torn,
            Err(None) => {
                let behind = (1..rest.len()).find(|at| self.entry_at(&rest[*at..]).is_ok());
                behind.unwrap_or(rest.len())
            }
        };
        self.at += damaged;
        Step::Damaged(damaged)
    }

    /// Reads an entry. Returns it with its length, and whether it is marked; otherwise the length given by its head, if
    /// that is good.
    fn entry_at(&self, bytes: &'a [u8]) -> Result<(T, usize, bool), Option<usize>> {
        let (len, sum) = head_at(bytes).ok_or(None)?;
        let end = HEAD + (len & !MARK) as usize;
        let body = bytes.get(HEAD..end).ok_or(Some(end))?;
        let entry = if crc32fast::hash(body) == sum { (self.decode)(body) } else { None };
        Ok((entry.ok_or(Some(end))?, end, len & MARK != 0))
    }
}
