//! Fuzzes the frame scanner: it finds the same frames and the same mistake however the stream is split.

#![no_main]

mod split;

use throng::testing::connection::fuzzing::{MAX_MESSAGE_BYTES, scan};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((bytes, lens)) = split::take(input) else { return };
    let whole = scan(&[bytes]);
    assert_eq!(scan(&split::parts(bytes, &lens)), whole, "in parts of {lens:?}");
    assert_eq!(scan(&bytes.chunks(1).collect::<Vec<_>>()), whole, "byte by byte");
    assert!(whole.ends.is_sorted() && whole.ends.iter().all(|end| *end <= bytes.len()));
    // Every accepted frame is masked, has no reserved bit, and is within the limit.
    let mut begin = 0;
    for end in &whole.ends {
        let frame = &bytes[begin..*end];
        assert!(frame.len() >= 6 && frame[0] & 0x70 == 0 && frame[1] & 0x80 != 0, "{frame:x?}");
        assert!(frame.len() <= MAX_MESSAGE_BYTES + 14);
        begin = *end;
    }
});
