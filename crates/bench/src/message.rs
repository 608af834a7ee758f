//! What a publisher sends: the template around a mark and padding.

use super::mark::{MARK_BYTES, Stamp};
use super::plan::Plan;
use super::wire::put_frame;

/// Makes published frames; its buffers are used again for each.
#[derive(Debug)]
pub(super) struct Messages {
    /// The message with a mark of zeros.
    text: Vec<u8>,
    /// Where in it marks stand: a template may repeat `%s`.
    places: Vec<usize>,
    frame: Vec<u8>,
    opcode: u8,
    mark: u8,
}

impl Messages {
    /// The messages of a run.
    pub(super) fn new(plan: &Plan) -> Self {
        let padding = "x".repeat(plan.size - MARK_BYTES);
        let mut text = Vec::new();
        let mut places = Vec::new();
        let template = plan.template.replace("%n", &plan.size.to_string());
        for (nth, part) in template.split("%s").enumerate() {
            if nth > 0 {
                places.push(text.len());
                text.extend_from_slice(&[0; MARK_BYTES]);
                text.extend_from_slice(padding.as_bytes());
            }
            text.extend_from_slice(part.as_bytes());
        }
        Self { text, places, frame: Vec::new(), opcode: plan.opcode, mark: plan.mark }
    }

    /// The frame of a message with this stamp.
    pub(super) fn frame(&mut self, stamp: Stamp) -> &[u8] {
        for place in &self.places {
            self.text[*place..*place + MARK_BYTES].copy_from_slice(&stamp.encode(self.mark));
        }
        self.frame.clear();
        put_frame(&mut self.frame, self.opcode, &self.text, fastrand::u32(..).to_ne_bytes());
        &self.frame
    }
}
