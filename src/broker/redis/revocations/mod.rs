//! The revocations that all nodes share: the scripts that store and read them. Each node reads them at its start and
//! then again and again, and only what has changed; a message to the nodes makes a new one quick.

use bytes::Bytes;
use smallvec::smallvec;

use super::keys::Keys;
use super::nodes::text::{hex, parse_hex};
use super::nodes::{Fields, yes_or_no};
use super::script::{BadReply, Call, Reply, Script};
use crate::revocation::{Revocation, Seconds, Subject};

/// Stores a revocation.
pub static REVOKE: Script = Script::new("revoke", include_str!("revoke.lua"));
/// Reads revocations.
pub static READ: Script = Script::new("revocations", include_str!("read.lua"));

/// Most revocations that are stored, as many as a node can remember.
const MOST: usize = 1_000_000;
/// Most revocations in one answer, some 40 KiB.
const PAGE: usize = 1_000;
/// The lowest version of a new table; no moment is so large.
const LEAST_VERSION: u64 = 1 << 41;

/// Writes a revocation without the moment at which it can be forgotten: `t HASH 0` or `u HASH BEFORE`.
#[must_use]
pub fn entry(revocation: &Revocation) -> String {
    let before_s = revocation.before_s;
    match revocation.subject {
        Subject::Token(jti) => format!("t {} {before_s}", hex(jti)),
        Subject::User(user) => format!("u {} {before_s}", hex(user)),
    }
}

/// Reads what [`entry`] writes, in three words.
#[must_use]
pub fn of_words(kind: &str, hash: &str, before: &str, until_s: Seconds) -> Option<Revocation> {
    let hash = parse_hex(hash)?;
    let subject = match kind {
        "t" => Subject::Token(hash),
        "u" => Subject::User(hash),
        _ => return None,
    };
    Some(Revocation { subject, before_s: before.parse().ok()?, until_s })
}

/// Returns the call that stores a revocation in place of a weaker one of the same subject. [`is_stored`] parses the
/// answer.
#[must_use]
pub fn store(keys: &Keys, revocation: &Revocation, weaker: Option<&Revocation>) -> Call {
    // Random, so that a table that was lost and begun again is not taken for the old one.
    let version = LEAST_VERSION + fastrand::u64(..LEAST_VERSION);
    let args = vec![
        entry(revocation).into(),
        revocation.until_s.to_string().into(),
        weaker.map_or_else(Bytes::new, |weaker| entry(weaker).into()),
        MOST.to_string().into(),
        version.to_string().into(),
    ];
    Call { script: &REVOKE, keys: smallvec![keys.revocations()], args }
}

/// Parses the answer to [`store`]: false when there are as many revocations as can be.
///
/// # Errors
/// The script cannot have given it.
pub fn is_stored(reply: &Reply) -> Result<bool, BadReply> {
    yes_or_no(&REVOKE, reply)
}

/// The place in the table behind the entries that were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The moment of the last entry.
    from_s: Seconds,
    /// The entries of that moment that were read.
    seen: usize,
}

/// A page of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// The version of the table.
    pub version: Bytes,
    /// The revocations; none when the version is the known one, or behind the last page.
    pub revocations: Vec<Revocation>,
    /// Entries that another version of this program has written.
    pub unknown: usize,
}

impl Page {
    /// Returns true when there may be a further page.
    #[must_use]
    pub fn has_next(&self) -> bool {
        self.revocations.len() + self.unknown >= PAGE
    }
}

impl Cursor {
    /// Moves behind a page.
    #[must_use]
    pub fn after(self, page: &Page) -> Self {
        let Some(last) = page.revocations.last() else { return self };
        let from_s = last.until_s;
        let here = page.revocations.iter().rev().take_while(|one| one.until_s == from_s).count();
        let seen = if from_s == self.from_s { self.seen + here } else { here };
        Self { from_s, seen }
    }
}

/// Returns the call that reads the page behind `cursor`, unless the version of the table is `known`. [`page`] parses
/// the answer.
#[must_use]
pub fn read(keys: &Keys, known: &Bytes, cursor: Cursor) -> Call {
    let args = vec![
        known.clone(),
        cursor.from_s.to_string().into(),
        cursor.seen.to_string().into(),
        PAGE.to_string().into(),
    ];
    Call { script: &READ, keys: smallvec![keys.revocations()], args }
}

/// Parses the answer to [`read`].
///
/// # Errors
/// The script cannot have given it.
pub fn page(reply: &Reply) -> Result<Page, BadReply> {
    let mut fields = Fields::new(&READ, reply)?;
    let version = fields.bytes("a version")?.clone();
    let mut page = Page { version, revocations: Vec::new(), unknown: 0 };
    while !fields.is_empty() {
        let text = fields.bytes("an entry")?;
        let until_s: Seconds = fields.name("a moment")?;
        let words = std::str::from_utf8(text).ok().map(|text| text.split(' ').collect::<Vec<_>>());
        match words.as_deref() {
            Some([kind, hash, before]) => match of_words(kind, hash, before, until_s) {
                Some(revocation) => page.revocations.push(revocation),
                None => page.unknown += 1,
            },
            _ => page.unknown += 1,
        }
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Reply {
        Reply::Bytes(Bytes::from(text.to_owned()))
    }

    #[test]
    fn an_entry_keeps_its_parts() {
        for revocation in [Revocation::of_token("7", 50), Revocation::of_user("alice", 9, 4_000_000_000)] {
            let text = entry(&revocation);
            let words: Vec<_> = text.split(' ').collect();
            assert_eq!(of_words(words[0], words[1], words[2], revocation.until_s), Some(revocation));
        }
        for bad in [["x", "0000000000000001", "0"], ["t", "1", "0"], ["u", "0000000000000001", "-1"]] {
            assert_eq!(of_words(bad[0], bad[1], bad[2], 1), None, "{bad:?}");
        }
    }

    #[test]
    fn pages_follow_each_other_also_within_one_moment() {
        let (a, b, c) =
            (Revocation::of_token("a", 5), Revocation::of_token("b", 7), Revocation::of_token("c", 7));
        let fields = |all: &[&Revocation]| {
            let pairs = all.iter().flat_map(|one| [bytes(&entry(one)), bytes(&one.until_s.to_string())]);
            Reply::Array([bytes("9")].into_iter().chain(pairs).collect())
        };
        let first = page(&fields(&[&a, &b])).unwrap();
        assert_eq!((&first.version[..], &first.revocations[..]), (&b"9"[..], &[a, b][..]));
        let cursor = Cursor::default().after(&first);
        assert_eq!(cursor, Cursor { from_s: 7, seen: 1 });
        let second = page(&fields(&[&c])).unwrap();
        assert_eq!(cursor.after(&second), Cursor { from_s: 7, seen: 2 });
        let newer = Reply::Array(vec![bytes("9"), bytes("z 1 2 3"), bytes("8")]);
        assert_eq!(page(&newer).unwrap().unknown, 1);
    }
}
