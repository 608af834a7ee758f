//! Fuzzes what an engine's server sends: the values do not depend on how the bytes are split, and nothing panics.

#![no_main]

mod split;

use throng::testing::broker::redis::link::wire::{Decoder, Frame, Malformed};

/// Returns the values in the bytes, and what is wrong with those that follow.
fn read(parts: &[&[u8]]) -> (Vec<Frame>, Option<Malformed>) {
    let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
    for part in parts {
        decoder.buffer().extend_from_slice(part);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(malformed) => return (frames, Some(malformed)),
            }
        }
    }
    (frames, None)
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((bytes, lens)) = split::take(input) else { return };
    let whole = read(&[bytes]);
    assert_eq!(read(&split::parts(bytes, &lens)), whole, "in parts of {lens:?}");
    assert_eq!(read(&bytes.chunks(1).collect::<Vec<_>>()), whole, "byte by byte");
});
