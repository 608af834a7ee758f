//! Text messages that carry no mark. The protocol says what to do about them; those that are no part of it may explain
//! why a delivery is missing, so that their beginning is kept for the report.

use super::protocol::Protocol;
use super::wire::{FIN, TEXT, payload_len};

/// Messages that are no deliveries, as opcode and payload: control frames, and texts without a mark.
pub(super) type OtherMessages = Vec<(u8, Vec<u8>)>;

/// Bytes kept of a text while a connection joins: as much as an answer needs that has to be understood.
const MAX_ANSWER: usize = 64 << 10;
/// Bytes kept of a text later: enough to understand an error or a list of members.
const MAX_KEPT: usize = 4 << 10;
/// Bytes kept of a text that can only be a heartbeat. The longest one is shorter.
const MAX_HEARTBEAT: usize = u64::BITS as usize;

/// The texts that a connection collects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Every text, nearly as a whole, with a mark or without: the connection is joining.
    Answers,
    /// The beginning of every text.
    All,
    /// Texts that can be a heartbeat.
    Heartbeats,
}

/// Collects the texts without a mark from the data frames of one connection, which may be cut anywhere.
#[derive(Debug)]
pub(super) struct TextCollector {
    wanted: Wanted,
    /// Lengths of heartbeats, as bits of their numbers.
    heartbeat_lens: u64,
    /// A text may have several messages, one in each line.
    has_lines: bool,
    /// The current message is a text in which no mark has been found yet.
    is_collecting: bool,
    /// The current frame belongs to a text.
    is_text: bool,
    is_final: bool,
    /// Payload bytes of the current frame that have not arrived yet.
    left: u64,
    text: Vec<u8>,
}

impl TextCollector {
    /// Returns a collector for a connection that speaks `protocol`.
    pub(super) fn new(protocol: Protocol, wanted: Wanted) -> Self {
        Self {
            wanted,
            heartbeat_lens: protocol.heartbeat_lens(),
            has_lines: protocol.has_lines(),
            is_collecting: false,
            is_text: false,
            is_final: false,
            left: 0,
            text: Vec::new(),
        }
    }

    /// Changes which texts are collected, from the next one on.
    pub(super) fn want(&mut self, wanted: Wanted) {
        self.wanted = wanted;
    }

    /// Returns true if a frame with a payload of `len` bytes may have a text that this collector wants.
    #[inline]
    pub(super) fn may_want(&self, len: u64) -> bool {
        self.wanted != Wanted::Heartbeats || self.has_lines || self.can_be_heartbeat(len)
    }

    #[inline]
    fn can_be_heartbeat(&self, len: u64) -> bool {
        len < u64::from(u64::BITS) && self.heartbeat_lens >> len & 1 == 1
    }

    fn most(&self) -> usize {
        match self.wanted {
            Wanted::Answers => MAX_ANSWER,
            Wanted::All => MAX_KEPT,
            Wanted::Heartbeats => MAX_HEARTBEAT,
        }
    }

    /// Takes the header of a data frame; appends the text to `others` if it is complete.
    #[inline]
    pub(super) fn on_header(&mut self, header: &[u8], others: &mut OtherMessages) {
        self.left = payload_len(header);
        self.is_final = header[0] & FIN != 0;
        if header[0] & 0x0f != 0 {
            self.is_text = header[0] & 0x0f == TEXT;
            // A heartbeat in pieces would be unusual.
            self.is_collecting =
                self.is_text && self.may_want(self.left) && (self.is_final || !self.is_sparse());
            self.text.clear();
        }
        self.finish_text(others);
    }

    /// Returns true if only whole frames of certain lengths are looked at.
    fn is_sparse(&self) -> bool {
        self.wanted == Wanted::Heartbeats && !self.has_lines
    }

    /// Takes bytes of the current frame's payload; appends the text to `others` if it is complete.
    #[inline]
    pub(super) fn on_payload(&mut self, payload: &[u8], mark: u8, others: &mut OtherMessages) {
        self.left = self.left.saturating_sub(payload.len() as u64);
        if self.has_lines && self.is_text {
            return self.on_lines(payload, mark, others);
        }
        if !self.is_collecting {
            return;
        }
        self.collect(payload, mark);
        self.finish_text(others);
    }

    /// Takes bytes of a text with lines, each of which is a message.
    fn on_lines(&mut self, mut payload: &[u8], mark: u8, others: &mut OtherMessages) {
        while let Some(end) = memchr::memchr(b'\n', payload) {
            self.collect(&payload[..end], mark);
            self.push(others);
            self.is_collecting = true;
            payload = &payload[end + 1..];
        }
        self.collect(payload, mark);
        self.finish_text(others);
    }

    #[inline]
    fn collect(&mut self, part: &[u8], mark: u8) {
        // A client that joins is sent no deliveries, whatever stands in the texts that it gets.
        let is_searched = self.is_collecting && self.wanted != Wanted::Answers;
        if is_searched && memchr::memchr(mark, part).is_some() {
            self.is_collecting = false;
        }
        if self.is_collecting {
            let room = self.most().saturating_sub(self.text.len());
            self.text.extend_from_slice(&part[..room.min(part.len())]);
        }
    }

    #[inline]
    fn finish_text(&mut self, others: &mut OtherMessages) {
        if self.is_collecting && self.is_final && self.left == 0 {
            self.push(others);
        }
    }

    /// Appends what was collected to `others`, if it is wanted.
    fn push(&mut self, others: &mut OtherMessages) {
        if !std::mem::take(&mut self.is_collecting) {
            return self.text.clear();
        }
        let text = std::mem::take(&mut self.text);
        let is_empty_line = self.has_lines && text.is_empty();
        let is_wanted = self.wanted != Wanted::Heartbeats || self.can_be_heartbeat(text.len() as u64);
        if is_wanted && !is_empty_line {
            others.push((TEXT, text));
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

    fn collected(protocol: Protocol, wanted: Wanted, parts: &[&[u8]]) -> Vec<String> {
        let (mut decoder, mut texts) = (FrameDecoder::default(), TextCollector::new(protocol, wanted));
        let mut others = OtherMessages::new();
        for part in parts {
            decoder.decode(part, &mut TextHandler(&mut texts, &mut others)).expect("good frames");
        }
        others.into_iter().map(|(_, text)| String::from_utf8(text).expect("text")).collect()
    }

    #[test]
    fn texts_without_a_mark_are_collected_wherever_they_are_cut() {
        let beat = r#"{"type":"heartbeat"}"#;
        let stream = [
            b"\x81\x012\x81\x14".as_slice(),
            beat.as_bytes(),
            b"\x81\x03a#b\x01\x02no\x89\x01p\x80\x01!\x82\x01x\x81\x00\x81\x7e\x20\x00",
            &[b'y'; 8192],
        ]
        .concat();
        let all = ["2", beat, "no!", "", &"y".repeat(MAX_KEPT)];
        let whole = ["2", beat, "a#b", "no!", "", &"y".repeat(8_192)];
        for cut in (0..80).chain(stream.len() - 20..=stream.len()) {
            let (head, tail) = stream.split_at(cut);
            let collected = |wanted| collected(Protocol::Throng, wanted, &[head, tail]);
            assert_eq!(collected(Wanted::All), all, "cut at {cut}");
            assert_eq!(collected(Wanted::Answers), whole, "cut at {cut}");
            assert_eq!(collected(Wanted::Heartbeats), all[..2], "cut at {cut}");
        }
    }

    /// 1. A text has a line with a mark, a heartbeat, an answer and another line with a mark.
    /// 2. The next one is in two frames, and its heartbeat ends with it.
    #[test]
    fn lines_are_messages_wherever_they_are_cut() {
        let stream = b"\x81\x0d#a\n{}\n{1}\nb#b\x01\x02x#\x00\x01\n\x80\x02{}\x82\x02{}";
        for cut in 0..=stream.len() {
            let (head, tail) = stream.split_at(cut);
            let collected = |wanted| collected(Protocol::Centrifugo, wanted, &[head, tail]);
            assert_eq!(collected(Wanted::All), ["{}", "{1}", "{}"], "cut at {cut}");
            assert_eq!(collected(Wanted::Heartbeats), ["{}", "{}"], "cut at {cut}");
        }
    }
}
