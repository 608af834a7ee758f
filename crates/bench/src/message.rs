//! Builds published messages: the template with a mark and padding as its payload.

use super::mark::{MARK_BYTES, Stamp};
use super::plan::Plan;
use super::wire::put_frame;

/// Builds the frames of published messages; reuses its buffers for each frame.
#[derive(Debug)]
pub(super) struct Messages {
    /// The message with a mark of zeros.
    text: Vec<u8>,
    /// Offset of each mark in `text`, one for each `%s` of the template.
    mark_offsets: Vec<usize>,
    frame: Vec<u8>,
    opcode: u8,
    mark: u8,
}

impl Messages {
    /// Prepares the messages of the run `plan`.
    pub(super) fn new(plan: &Plan) -> Self {
        let padding = "x".repeat(plan.size - MARK_BYTES);
        let mut text = Vec::new();
        let mut mark_offsets = Vec::new();
        let template = plan.template.replace("%n", &plan.size.to_string());
        for (nth, part) in template.split("%s").enumerate() {
            if nth > 0 {
                mark_offsets.push(text.len());
                text.extend_from_slice(&[0; MARK_BYTES]);
                text.extend_from_slice(padding.as_bytes());
            }
            text.extend_from_slice(part.as_bytes());
        }
        Self { text, mark_offsets, frame: Vec::new(), opcode: plan.opcode, mark: plan.mark }
    }

    /// Returns the masked frame of a message with this stamp.
    pub(super) fn frame(&mut self, stamp: Stamp) -> &[u8] {
        for offset in &self.mark_offsets {
            self.text[*offset..*offset + MARK_BYTES].copy_from_slice(&stamp.encode(self.mark));
        }
        self.frame.clear();
        put_frame(&mut self.frame, self.opcode, &self.text, fastrand::u32(..).to_ne_bytes());
        &self.frame
    }
}
