//! Texts that carry no mark: heartbeats are answered, and the others say why a delivery is missing.

use super::counting::Controls;
use super::wire::{FIN, TEXT, payload_len};

/// Text heartbeats and their answers. A server that hears none takes its client for dead.
const HEARTBEATS: [(&str, &str); 2] = [
    // Engine.IO 4, below Socket.IO.
    ("2", "3"),
    // throng.v1, and /ws/heartbeat.
    (r#"{"type":"heartbeat"}"#, r#"{"type":"heartbeat_ack"}"#),
];

/// What is kept of a text: enough to see what it is about.
const MAX_KEPT: usize = 200;

/// What a text asks for, if it is a heartbeat.
pub(super) fn answer(text: &[u8]) -> Option<&'static [u8]> {
    let found = HEARTBEATS.iter().find(|(beat, _)| beat.as_bytes() == text);
    found.map(|(_, answer)| answer.as_bytes())
}

/// Whether a text of so many bytes can be a heartbeat. All are shorter than a mark: none is a delivery.
#[inline]
pub(super) fn may_be_heartbeat(len: u64) -> bool {
    HEARTBEATS.iter().any(|(beat, _)| beat.len() as u64 == len)
}

/// Listens to one connection's data frames, cut anywhere.
#[derive(Debug, Default)]
pub(super) struct Ear {
    /// To every text; where not, only to what may be a heartbeat.
    hears_all: bool,
    /// The message under way is a text without a mark so far.
    listens: bool,
    is_final: bool,
    /// Bytes of the frame still to come.
    left: u64,
    text: Vec<u8>,
}

impl Ear {
    /// To every text, or to heartbeats alone.
    pub(super) fn new(hears_all: bool) -> Self {
        Self { hears_all, ..Self::default() }
    }

    /// The header of a data frame.
    #[inline]
    pub(super) fn header(&mut self, header: &[u8], heard: &mut Controls) {
        self.left = payload_len(header);
        self.is_final = header[0] & FIN != 0;
        if header[0] & 0x0f != 0 {
            let is_worth_it = self.hears_all || (self.is_final && may_be_heartbeat(self.left));
            self.listens = is_worth_it && header[0] & 0x0f == TEXT;
            self.text.clear();
        }
        self.end(heard);
    }

    /// Bytes of its payload.
    #[inline]
    pub(super) fn payload(&mut self, payload: &[u8], mark: u8, heard: &mut Controls) {
        self.left = self.left.saturating_sub(payload.len() as u64);
        if !self.listens {
            return;
        }
        if memchr::memchr(mark, payload).is_some() {
            self.listens = false;
            return;
        }
        let room = MAX_KEPT - self.text.len();
        self.text.extend_from_slice(&payload[..room.min(payload.len())]);
        self.end(heard);
    }

    #[inline]
    fn end(&mut self, heard: &mut Controls) {
        if self.listens && self.is_final && self.left == 0 {
            self.listens = false;
            heard.push((TEXT, std::mem::take(&mut self.text)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{Visitor, Walker};
    use super::*;

    struct Listener<'a>(&'a mut Ear, &'a mut Controls);

    impl Visitor for Listener<'_> {
        fn header(&mut self, header: &[u8]) {
            self.0.header(header, self.1);
        }
        fn payload(&mut self, payload: &[u8]) {
            self.0.payload(payload, b'#', self.1);
        }
        fn control(&mut self, _: u8, _: &[u8]) {}
        fn skipped(&mut self, _: &[u8]) {}
    }

    fn heard(hears_all: bool, parts: &[&[u8]]) -> Vec<String> {
        let (mut walker, mut ear, mut heard) = (Walker::default(), Ear::new(hears_all), Controls::new());
        for part in parts {
            walker.walk(part, &mut Listener(&mut ear, &mut heard)).expect("good frames");
        }
        heard.into_iter().map(|(_, text)| String::from_utf8(text).expect("text")).collect()
    }

    #[test]
    fn texts_without_a_mark_are_heard_however_they_are_cut() {
        let beat = HEARTBEATS[1].0;
        let stream = [
            b"\x81\x012\x81\x14".as_slice(),
            beat.as_bytes(),
            b"\x81\x03a#b\x01\x02no\x89\x01p\x80\x01!\x82\x01x\x81\x00\x81\x7e\x01\x00",
            &[b'y'; 256],
        ]
        .concat();
        let all = ["2", beat, "no!", "", &"y".repeat(MAX_KEPT)];
        for cut in 0..=stream.len() {
            let (head, tail) = stream.split_at(cut);
            assert_eq!(heard(true, &[head, tail]), all, "cut at {cut}");
            assert_eq!(heard(false, &[head, tail]), all[..2], "cut at {cut}");
        }
    }

    #[test]
    fn heartbeats_have_their_answers_and_are_shorter_than_a_mark() {
        assert_eq!(answer(b"2"), Some(b"3".as_slice()));
        assert_eq!(answer(br#"{"type":"heartbeat"}"#), Some(br#"{"type":"heartbeat_ack"}"#.as_slice()));
        assert_eq!((answer(b"3"), answer(b"")), (None, None));
        assert!(HEARTBEATS.iter().all(|(beat, _)| beat.len() < super::super::mark::MARK_BYTES));
    }
}
