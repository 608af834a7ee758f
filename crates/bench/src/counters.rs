//! The counters of a run, and the texts that explain what went wrong.
//!
//! A mark is the stamp in every published message. A text without one is something else that the server says, such as
//! an error.

use std::collections::{BTreeMap, VecDeque};

/// Number of complaints kept, the first ones.
const MAX_COMPLAINTS: usize = 5;
/// Bytes kept of a text without a mark, and characters of a complaint: enough to see what it is about.
const MAX_KEPT: usize = 200;
/// Number of texts without a mark that are kept, the last ones.
const MAX_UNMATCHED_TEXTS: usize = 5;
/// Number of different close reasons that are counted.
const MAX_REASONS: usize = 16;

/// Makes text of the server safe for a terminal: escapes control characters and those that change the reading order.
pub(super) fn printable(text: &str) -> String {
    let must_escape = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if must_escape(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Returns whether two texts are equal except for their digits.
fn are_alike(a: &[u8], b: &[u8]) -> bool {
    let is_kept = |byte: &&u8| !byte.is_ascii_digit();
    a.iter().filter(is_kept).eq(b.iter().filter(is_kept))
}

/// The counters of a run. They only grow: the counts of an interval are the later values minus the earlier ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Counters {
    /// Messages published.
    pub(super) sent: u64,
    /// Deliveries that these messages must cause: for each, the connections that should receive it when it was sent.
    pub(super) expected: u64,
    /// Marks received.
    pub(super) delivered: u64,
    /// Bytes received on open connections.
    pub(super) bytes: u64,
    /// Marks that could not be parsed, on sampled connections, the only ones whose marks are parsed.
    pub(super) bad_marks: u64,
    /// Pongs received.
    pub(super) pongs: u64,
    /// Handshakes that succeeded.
    pub(super) opened: u64,
    /// Handshakes in which the server accepted to compress messages.
    pub(super) deflating: u64,
    /// Handshakes that failed.
    pub(super) failed: u64,
    /// Open connections that the server or the network ended.
    pub(super) closed: u64,
    /// Number of closed connections by close code; 1006 stands for an end without a close frame.
    pub(super) close_codes: BTreeMap<u16, u64>,
    /// Number of closed connections by close code and the server's reason.
    pub(super) close_reasons: BTreeMap<(u16, String), u64>,
    /// The last texts without a mark on sampled connections, the newest last, each with the number of texts that are
    /// equal to it except for their digits.
    pub(super) unmatched_texts: VecDeque<(Vec<u8>, u64)>,
    /// Connections ended because the server violated RFC 6455.
    pub(super) malformed: u64,
    /// Descriptions of the first problems.
    pub(super) complaints: Vec<String>,
}

impl Counters {
    /// Keeps `what` if it is new and there are fewer than [`MAX_COMPLAINTS`].
    pub(super) fn add_complaint(&mut self, what: impl Into<String>) {
        let what: String = printable(&what.into()).chars().take(2 * MAX_KEPT).collect();
        if self.complaints.len() < MAX_COMPLAINTS && !self.complaints.contains(&what) {
            self.complaints.push(what);
        }
    }

    /// Counts the end of an open connection.
    pub(super) fn count_close(&mut self, code: u16, reason: &str) {
        self.closed += 1;
        *self.close_codes.entry(code).or_default() += 1;
        let reason = printable(reason);
        self.add_complaint(format!("closed with {code} {reason}").trim_end());
        let (is_full, key) = (self.close_reasons.len() >= MAX_REASONS, (code, reason));
        if !is_full || self.close_reasons.contains_key(&key) {
            *self.close_reasons.entry(key).or_default() += 1;
        }
    }

    /// Counts and keeps a text without a mark.
    pub(super) fn count_unmatched_text(&mut self, text: &[u8]) {
        let text = &text[..text.len().min(MAX_KEPT)];
        let known = self.unmatched_texts.iter().position(|(known, _)| are_alike(known, text));
        let before = known.and_then(|at| self.unmatched_texts.remove(at)).map_or(0, |(_, count)| count);
        if self.unmatched_texts.len() >= MAX_UNMATCHED_TEXTS {
            self.unmatched_texts.pop_front();
        }
        self.unmatched_texts.push_back((text.to_vec(), before + 1));
    }

    /// Counts a failed handshake and keeps the reason.
    pub(super) fn count_failed_handshake(&mut self, why: impl std::fmt::Display) {
        self.failed += 1;
        self.add_complaint(format!("handshake failed: {why}"));
    }

    /// Returns how many expected deliveries have not arrived.
    pub(super) fn missing(&self) -> u64 {
        self.expected.saturating_sub(self.delivered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_texts_are_kept_and_equal_ones_counted_together() {
        let mut counters = Counters::default();
        for n in 0..1_000 {
            counters.count_unmatched_text(format!("wait {n} ms").as_bytes());
        }
        counters.count_unmatched_text(b"joined");
        counters.count_unmatched_text(b"wait 7 ms");
        assert_eq!(counters.unmatched_texts, [(b"joined".to_vec(), 1), (b"wait 7 ms".to_vec(), 1_001)]);
        for letter in b'a'..=b'z' {
            counters.count_unmatched_text(&[letter]);
            counters.count_close(4_000, &String::from(char::from(letter)));
        }
        assert_eq!(
            (counters.unmatched_texts.len(), counters.unmatched_texts[MAX_UNMATCHED_TEXTS - 1].0.as_slice()),
            (MAX_UNMATCHED_TEXTS, b"z".as_slice())
        );
        assert_eq!((counters.close_reasons.len(), counters.close_codes[&4_000]), (MAX_REASONS, 26));
    }

    #[test]
    fn text_of_the_server_is_escaped_for_a_terminal() {
        assert_eq!(printable("a\u{1b}[2J\r\n\u{202e}ä"), "a\\u{1b}[2J\\r\\n\\u{202e}ä");
    }
}
