//! What is counted in the whole of a run, and what went wrong.

use std::collections::{BTreeMap, VecDeque};

/// Complaints that are kept word for word.
const MAX_COMPLAINTS: usize = 5;
/// Texts without a mark that are kept, the last ones; those that differ only in numbers count as one.
const MAX_HEARD: usize = 5;
/// Reasons of closes that are kept apart.
const MAX_REASONS: usize = 16;

/// Foreign text, fit for a terminal: what would steer it, or turn the reading order, is written out.
pub(super) fn printable(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Whether two texts are the same but for their digits.
fn are_alike(a: &[u8], b: &[u8]) -> bool {
    let is_kept = |byte: &&u8| !byte.is_ascii_digit();
    a.iter().filter(is_kept).eq(b.iter().filter(is_kept))
}

/// Counters of a run. They only grow, so that any stretch of time is a difference.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    /// Messages published.
    pub(super) sent: u64,
    /// Deliveries they must cause: receivers counted when each was sent.
    pub(super) expected: u64,
    /// Marks received.
    pub(super) delivered: u64,
    /// Bytes received on open connections.
    pub(super) bytes: u64,
    /// Marks that could not be read, on sampled connections.
    pub(super) bad_marks: u64,
    /// Pongs received.
    pub(super) pongs: u64,
    /// Handshakes that succeeded.
    pub(super) opened: u64,
    /// Handshakes that did not.
    pub(super) failed: u64,
    /// Open connections that the server, or the network, ended.
    pub(super) closed: u64,
    /// Their close codes; 1006 where no close frame came.
    pub(super) close_codes: BTreeMap<u16, u64>,
    /// Why, as the server put it: code, reason, how often.
    pub(super) close_reasons: BTreeMap<(u16, String), u64>,
    /// The last texts that carried no mark, on sampled connections, and how often the like came; the last one last.
    pub(super) heard: VecDeque<(Vec<u8>, u64)>,
    /// Connections given up because the server broke the rules of RFC 6455.
    pub(super) malformed: u64,
    /// The first few of what went wrong, in words.
    pub(super) complaints: Vec<String>,
}

impl Tally {
    /// Keeps `what` if it is among the first and new.
    pub(super) fn complain(&mut self, what: impl Into<String>) {
        let what = printable(&what.into());
        if self.complaints.len() < MAX_COMPLAINTS && !self.complaints.contains(&what) {
            self.complaints.push(what);
        }
    }

    /// An open connection ended.
    pub(super) fn close(&mut self, code: u16, reason: &str) {
        self.closed += 1;
        *self.close_codes.entry(code).or_default() += 1;
        let reason = printable(reason);
        self.complain(format!("closed with {code} {reason}").trim_end());
        let (is_full, key) = (self.close_reasons.len() >= MAX_REASONS, (code, reason));
        if !is_full || self.close_reasons.contains_key(&key) {
            *self.close_reasons.entry(key).or_default() += 1;
        }
    }

    /// A text came that carries no mark.
    pub(super) fn hear(&mut self, text: &[u8]) {
        let known = self.heard.iter().position(|(known, _)| are_alike(known, text));
        let before = known.and_then(|at| self.heard.remove(at)).map_or(0, |(_, count)| count);
        if self.heard.len() >= MAX_HEARD {
            self.heard.pop_front();
        }
        self.heard.push_back((text.to_vec(), before + 1));
    }

    /// A handshake failed.
    pub(super) fn fail(&mut self, why: impl std::fmt::Display) {
        self.failed += 1;
        self.complain(format!("handshake failed: {why}"));
    }

    /// Expected and not delivered, if more was expected; else 0.
    pub(super) fn missing(&self) -> u64 {
        self.expected.saturating_sub(self.delivered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_texts_are_kept_and_those_alike_are_one() {
        let mut tally = Tally::default();
        for n in 0..1_000 {
            tally.hear(format!("wait {n} ms").as_bytes());
        }
        tally.hear(b"joined");
        tally.hear(b"wait 7 ms");
        assert_eq!(tally.heard, [(b"joined".to_vec(), 1), (b"wait 7 ms".to_vec(), 1_001)]);
        for letter in b'a'..=b'z' {
            tally.hear(&[letter]);
            tally.close(4_000, &String::from(char::from(letter)));
        }
        assert_eq!(
            (tally.heard.len(), tally.heard[MAX_HEARD - 1].0.as_slice()),
            (MAX_HEARD, b"z".as_slice())
        );
        assert_eq!((tally.close_reasons.len(), tally.close_codes[&4_000]), (MAX_REASONS, 26));
    }

    #[test]
    fn foreign_text_steers_no_terminal() {
        assert_eq!(printable("a\u{1b}[2J\r\n\u{202e}ä"), "a\\u{1b}[2J\\r\\n\\u{202e}ä");
    }
}
