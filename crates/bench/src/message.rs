//! Builds published messages: the template with a mark and padding as its payload.

use super::mark::{MARK_BYTES, Stamp};
use super::plan::Plan;
use super::target::fill_placeholders;
use super::wire::put_frame;

/// Builds the frames of published messages; reuses its buffers for each frame.
#[derive(Debug)]
pub(super) struct Messages {
    /// The text in front of the payload and behind it.
    around: [String; 2],
    /// The template has placeholders for the publisher or its room.
    has_placeholders: bool,
    padding: String,
    /// The message of the publisher below, with a mark of zeros.
    text: Vec<u8>,
    publisher: usize,
    mark_offset: usize,
    frame: Vec<u8>,
    opcode: u8,
    mark: u8,
}

/// Words of which messages are made that are to be compressed: the frequent ones of English, and some of a chat.
const WORDS: &str = "\
    the of and a to in is you that it he was for on are with as I his they be at one have this from or had by not \
    but what some we can out other were all there when up use your how said an each she which do their time if \
    will way about many then them write would like so these her long make thing see him two has look more day \
    could go come did number sound no most people my over know water than call first who may down side been now \
    find any new work part take get place made live where after back little only round man year came show every \
    good me give our under name very through just form sentence great think say help low line differ turn cause \
    much mean before move right boy old too same tell does set three want air well also play small end put home \
    read hand port large spell add even land here must big high such follow act why ask men change went light kind \
    off need house picture try us again animal point mother world near build self earth father head stand own page \
    should country found answer meeting tomorrow server thanks please maybe weekend question yesterday coffee \
    lunch update release deploy";

/// Makes `len` bytes for a message: one letter over and over, or words at random, the same in each run.
fn padding(len: usize, of_words: bool) -> String {
    if !of_words {
        return "x".repeat(len);
    }
    let words: Vec<&str> = WORDS.split_ascii_whitespace().collect();
    let mut random = fastrand::Rng::with_seed(1);
    let mut text = String::with_capacity(len + 16);
    while text.len() < len {
        text.push(' ');
        // The first words of the list are said more often, as people do.
        let at = random.f64() * random.f64() * words.len() as f64;
        text.push_str(words[at as usize]);
    }
    text.truncate(len);
    text
}

impl Messages {
    /// Prepares the messages of the run `plan`.
    pub(super) fn new(plan: &Plan) -> Self {
        let template = plan.template.replace("%n", &plan.size.to_string());
        let (before, after) = template.split_once("%s").unwrap_or((&template, ""));
        let mut messages = Self {
            around: [before.to_owned(), after.to_owned()],
            has_placeholders: ["{i}", "{r}"].iter().any(|place| template.contains(place)),
            padding: padding(plan.size - MARK_BYTES, plan.compression),
            text: Vec::new(),
            publisher: 0,
            mark_offset: 0,
            frame: Vec::new(),
            opcode: plan.opcode,
            mark: plan.mark,
        };
        messages.write(0, plan);
        messages
    }

    /// Writes the message of `publisher`, with a mark of zeros.
    fn write(&mut self, publisher: usize, plan: &Plan) {
        self.publisher = publisher;
        self.text.clear();
        let [before, after] =
            self.around.each_ref().map(|part| fill_placeholders(part, publisher, plan.room(publisher)));
        self.text.extend_from_slice(before.as_bytes());
        self.mark_offset = self.text.len();
        self.text.extend_from_slice(&[0; MARK_BYTES]);
        self.text.extend_from_slice(self.padding.as_bytes());
        self.text.extend_from_slice(after.as_bytes());
    }

    /// Returns the masked frame of a message with this stamp.
    pub(super) fn frame(&mut self, stamp: Stamp, plan: &Plan) -> &[u8] {
        let publisher = usize::from(stamp.publisher);
        if self.has_placeholders && publisher != self.publisher {
            self.write(publisher, plan);
        }
        let mark = self.mark_offset..self.mark_offset + MARK_BYTES;
        self.text[mark].copy_from_slice(&stamp.encode(self.mark));
        self.frame.clear();
        put_frame(&mut self.frame, self.opcode, &self.text, fastrand::u32(..).to_ne_bytes());
        &self.frame
    }
}
