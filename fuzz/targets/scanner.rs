//! Fuzzes the frame scanner: it finds the same frames and the same mistake however the stream is split.

#![no_main]

mod split;

use throng::testing::connection::fuzzing::{MAX_MESSAGE_BYTES, scan};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((bytes, lens)) = split::take(input) else { return };
    for deflates in [false, true] {
        let whole = scan(&[bytes], deflates);
        assert_eq!(scan(&split::parts(bytes, &lens), deflates), whole, "in parts of {lens:?}");
        assert_eq!(scan(&bytes.chunks(1).collect::<Vec<_>>(), deflates), whole, "byte by byte");
        assert!(whole.ends.is_sorted() && whole.ends.iter().all(|end| *end <= bytes.len()));
        // Every accepted frame is masked and within the limit, and has no reserved bit but that of compression.
        let mut begin = 0;
        for end in &whole.ends {
            let frame = &bytes[begin..*end];
            let begins_message = matches!(frame[0] & 0x0f, 1 | 2);
            let forbidden = if deflates && begins_message { 0x30 } else { 0x70 };
            assert!(frame.len() >= 6 && frame[0] & forbidden == 0 && frame[1] & 0x80 != 0, "{frame:x?}");
            assert!(frame.len() <= MAX_MESSAGE_BYTES + MAX_MESSAGE_BYTES / 256 + 64 + 14);
            begin = *end;
        }
    }
});
