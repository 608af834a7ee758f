//! Text messages that carry no mark. Heartbeats among them must be answered; the others may explain why a delivery is
//! missing, so that their beginning is kept for the report.

use super::wire::{FIN, TEXT, payload_len};

/// Messages that are no deliveries, as opcode and payload: control frames, and texts without a mark.
pub(super) type OtherMessages = Vec<(u8, Vec<u8>)>;

/// Text heartbeats and their answers. A server that gets no answer closes the connection.
const HEARTBEATS: [(&str, &str); 2] = [
    // Engine.IO 4, below Socket.IO.
    ("2", "3"),
    // throng.v1, and /ws/heartbeat.
    (r#"{"type":"heartbeat"}"#, r#"{"type":"heartbeat_ack"}"#),
];

/// Bytes kept of a text: enough to see what it is about.
const MAX_KEPT: usize = 200;

/// Returns the answer to `text` if it is a heartbeat.
pub(super) fn heartbeat_answer(text: &[u8]) -> Option<&'static [u8]> {
    let found = HEARTBEATS.iter().find(|(beat, _)| beat.as_bytes() == text);
    found.map(|(_, answer)| answer.as_bytes())
}

/// Returns whether a text of `len` bytes can be a heartbeat. Every heartbeat is shorter than a mark, so that none is a
/// delivery.
#[inline]
pub(super) fn can_be_heartbeat(len: u64) -> bool {
    HEARTBEATS.iter().any(|(beat, _)| beat.len() as u64 == len)
}

/// Collects the texts without a mark from the data frames of one connection, which may be cut anywhere.
#[derive(Debug, Default)]
pub(super) struct TextCollector {
    /// Collects every text without a mark; if false, only texts that can be a heartbeat.
    collects_all: bool,
    /// The current message is a text in which no mark has been found yet.
    is_collecting: bool,
    is_final: bool,
    /// Payload bytes of the current frame that have not arrived yet.
    left: u64,
    text: Vec<u8>,
}

impl TextCollector {
    /// Returns a collector of every text without a mark, or of heartbeats alone.
    pub(super) fn new(collects_all: bool) -> Self {
        Self { collects_all, ..Self::default() }
    }

    /// Takes the header of a data frame; appends the text to `others` if it is complete.
    #[inline]
    pub(super) fn on_header(&mut self, header: &[u8], others: &mut OtherMessages) {
        self.left = payload_len(header);
        self.is_final = header[0] & FIN != 0;
        if header[0] & 0x0f != 0 {
            let is_wanted = self.collects_all || (self.is_final && can_be_heartbeat(self.left));
            self.is_collecting = is_wanted && header[0] & 0x0f == TEXT;
            self.text.clear();
        }
        self.finish_text(others);
    }

    /// Takes bytes of the current frame's payload; appends the text to `others` if it is complete.
    #[inline]
    pub(super) fn on_payload(&mut self, payload: &[u8], mark: u8, others: &mut OtherMessages) {
        self.left = self.left.saturating_sub(payload.len() as u64);
        if !self.is_collecting {
            return;
        }
        if memchr::memchr(mark, payload).is_some() {
            self.is_collecting = false;
            return;
        }
        let room = MAX_KEPT - self.text.len();
        self.text.extend_from_slice(&payload[..room.min(payload.len())]);
        self.finish_text(others);
    }

    #[inline]
    fn finish_text(&mut self, others: &mut OtherMessages) {
        if self.is_collecting && self.is_final && self.left == 0 {
            self.is_collecting = false;
            others.push((TEXT, std::mem::take(&mut self.text)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{FrameDecoder, FrameHandler};
    use super::*;

    struct TextHandler<'a>(&'a mut TextCollector, &'a mut OtherMessages);

    impl FrameHandler for TextHandler<'_> {
        fn on_header(&mut self, header: &[u8]) {
            self.0.on_header(header, self.1);
        }
        fn on_payload(&mut self, payload: &[u8]) {
            self.0.on_payload(payload, b'#', self.1);
        }
        fn on_control(&mut self, _: u8, _: &[u8]) {}
        fn on_control_bytes(&mut self, _: &[u8]) {}
    }

    fn collected(collects_all: bool, parts: &[&[u8]]) -> Vec<String> {
        let (mut decoder, mut texts) = (FrameDecoder::default(), TextCollector::new(collects_all));
        let mut others = OtherMessages::new();
        for part in parts {
            decoder.decode(part, &mut TextHandler(&mut texts, &mut others)).expect("good frames");
        }
        others.into_iter().map(|(_, text)| String::from_utf8(text).expect("text")).collect()
    }

    #[test]
    fn texts_without_a_mark_are_collected_wherever_they_are_cut() {
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
            assert_eq!(collected(true, &[head, tail]), all, "cut at {cut}");
            assert_eq!(collected(false, &[head, tail]), all[..2], "cut at {cut}");
        }
    }

    #[test]
    fn heartbeats_have_their_answers_and_are_shorter_than_a_mark() {
        assert_eq!(heartbeat_answer(b"2"), Some(b"3".as_slice()));
        assert_eq!(
            heartbeat_answer(br#"{"type":"heartbeat"}"#),
            Some(br#"{"type":"heartbeat_ack"}"#.as_slice())
        );
        assert_eq!((heartbeat_answer(b"3"), heartbeat_answer(b"")), (None, None));
        assert!(HEARTBEATS.iter().all(|(beat, _)| beat.len() < super::super::mark::MARK_BYTES));
    }
}
