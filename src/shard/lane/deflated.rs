//! Compresses the frames of lanes whose members have negotiated permessage-deflate (RFC 7692). A lane is the members of
//! one room on one shard that are sent its events in one form.

use std::cell::OnceCell;

use crate::deflate::Deflater;
use crate::metrics::ShardMetrics;
use crate::protocol::frame::{self, Frame};

/// Compressing has to make a frame shorter by one in so many bytes, because the client has to decompress it.
const LEAST_SAVING: usize = 10;

/// The compressed form of a frame, made for the first lane that needs it and shared by the others of the room. `None`
/// inside when compressing does not save enough.
pub(in crate::shard) type DeflatedForm = OnceCell<Option<Frame>>;

/// Compresses the frames of a shard.
#[derive(Debug, Default)]
pub(in crate::shard) struct Compressor {
    /// Made for the first frame.
    deflater: Option<Box<Deflater>>,
    /// Bytes of the frames that were compressed since the counts were taken, before and after.
    before: u64,
    after: u64,
}

impl Compressor {
    /// Returns the frame to send: the compressed form, or `plain` itself if that is hardly longer.
    pub(super) fn choose<'a>(&mut self, plain: &'a Frame, form: &'a DeflatedForm) -> &'a Frame {
        form.get_or_init(|| self.compress(plain)).as_ref().unwrap_or(plain)
    }

    fn compress(&mut self, plain: &Frame) -> Option<Frame> {
        let most = plain.len() - plain.len() / LEAST_SAVING;
        let payload = self.deflater.get_or_insert_default().deflate(frame::payload(plain), most)?;
        let compressed = Some(frame::compressed_text(payload)).filter(|frame| frame.len() <= most)?;
        self.before += plain.len() as u64;
        self.after += compressed.len() as u64;
        Some(compressed)
    }

    /// Moves the counts of compressed bytes into the shard's counters.
    pub(in crate::shard) fn count(&mut self, metrics: &ShardMetrics) {
        if self.before > 0 {
            metrics.compressed_from.add(std::mem::take(&mut self.before));
            metrics.compressed_to.add(std::mem::take(&mut self.after));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_made_once_and_only_if_it_saves_a_tenth() {
        let mut compressor = Compressor::default();
        let (plain, form) = (frame::text(&"to be or not to be ".repeat(20)), DeflatedForm::default());
        let compressed = compressor.choose(&plain, &form).clone();
        assert_eq!(compressed[0], 0xc1, "FIN, RSV1 and text");
        assert!(compressed.len() < 60, "{}", compressed.len());
        assert_eq!(compressor.choose(&plain, &form).as_ptr(), compressed.as_ptr());
        let mut random = fastrand::Rng::with_seed(7);
        let noise: String = (0..400).map(|_| random.alphanumeric()).collect();
        let (noise, form) = (frame::text(&noise), DeflatedForm::default());
        // Letters and digits have 6 of 8 bits, so this saves a quarter, and nothing where the text is short.
        assert!(compressor.choose(&noise, &form).len() * 10 <= noise.len() * 9);
        let noise: String = (0..40).map(|_| random.alphanumeric()).collect();
        let (noise, form) = (frame::text(&noise), DeflatedForm::default());
        assert_eq!(compressor.choose(&noise, &form), &noise);
        let metrics = ShardMetrics::default();
        compressor.count(&metrics);
        assert!(
            metrics.compressed_from.get() > metrics.compressed_to.get() && metrics.compressed_to.get() > 0
        );
    }
}
