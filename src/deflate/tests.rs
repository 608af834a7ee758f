use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;

use super::*;

const MAX: usize = 64 * 1024;

fn inflate(payload: &[u8]) -> Result<Vec<u8>, InflateError> {
    Inflater::default().inflate(payload, MAX).map(<[u8]>::to_vec)
}

/// Compresses a message as foreign senders may do it: at any level, in any window, with a flush after some parts.
fn foreign(parts: &[Vec<u8>], level: u32, window_bits: u8) -> Vec<u8> {
    let mut stream = Compress::new_with_window_bits(Compression::new(level), false, window_bits);
    let mut out = Vec::with_capacity(parts.iter().map(|part| part.len() * 2 + 100).sum::<usize>() + 100);
    for part in parts {
        stream.compress_vec(part, &mut out, FlushCompress::Sync).unwrap();
    }
    stream.compress_vec(b"", &mut out, FlushCompress::Sync).unwrap();
    out.truncate(out.len() - FLUSH_END.len());
    out
}

#[test]
fn the_examples_of_the_rfc_are_read() {
    // RFC 7692, section 7.2.3: one block, no compression, a final block, two blocks; and an empty message.
    for payload in [
        &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
        &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
    ] {
        assert_eq!(inflate(payload).as_deref(), Ok(&b"Hello"[..]), "{payload:x?}");
    }
    for payload in [&[0x00][..], &[0x02, 0x00], &[]] {
        assert_eq!(inflate(payload).as_deref(), Ok(&b""[..]), "{payload:x?}");
    }
}

#[test]
fn the_second_message_of_the_rfc_is_refused_because_it_refers_to_the_first() {
    assert_eq!(inflate(&[0xf2, 0x00, 0x11, 0x00, 0x00]), Err(InflateError::Corrupt));
}

#[test]
fn a_stream_that_is_cut_or_damaged_is_corrupt() {
    let mut deflater = Deflater::default();
    let message =
        b"the quick brown fox jumps over the lazy dog, and the quick dog over the lazy fox".repeat(9);
    let whole = deflater.deflate(&message, message.len()).unwrap().to_vec();
    assert_eq!(inflate(&whole).as_ref(), Ok(&message));
    for len in 1..whole.len() {
        assert_eq!(inflate(&whole[..len]), Err(InflateError::Corrupt), "{len} bytes");
    }
    for payload in
        [&[0x06][..], &[0xff, 0xff], &[0x00, 0x05, 0x00, 0xfa, 0xfe], b"Hello", &[0x01, 0x02, 0x00]]
    {
        assert_eq!(inflate(payload), Err(InflateError::Corrupt), "{payload:x?}");
    }
    let stored = [&[0x00, 0x09, 0x00, 0xf6, 0xff][..], b"123456789", &[0x00]].concat();
    assert_eq!(inflate(&stored).as_deref(), Ok(&b"123456789"[..]));
    // The first byte alone is an empty message.
    for len in 2..stored.len() {
        assert_eq!(inflate(&stored[..len]), Err(InflateError::Corrupt), "{len} bytes");
    }
}

#[test]
fn a_bomb_is_not_decompressed_beyond_the_limit() {
    let bomb = foreign(&[vec![b'x'; 64 * MAX]], 9, 15);
    assert!(bomb.len() * 900 < 64 * MAX, "{}", bomb.len());
    let mut inflater = Inflater::default();
    for max in [0, 1, 1000, MAX, 3 * MAX] {
        assert_eq!(inflater.inflate(&bomb, max), Err(InflateError::TooLong), "{max}");
        let space = inflater.space();
        assert!(space <= (max + 1).max(2 * KEPT), "{max}: {space}");
    }
    let at_limit = foreign(&[vec![b'x'; MAX]], 9, 15);
    assert_eq!(inflater.inflate(&at_limit, MAX).map(<[u8]>::len), Ok(MAX));
    assert_eq!(inflater.inflate(&at_limit, MAX - 1), Err(InflateError::TooLong));
}

/// The space that an inflater keeps.
const KEPT: usize = 64 * 1024;

#[test]
fn a_form_that_is_not_shorter_than_wanted_is_not_made() {
    let mut deflater = Deflater::default();
    let mut random = fastrand::Rng::with_seed(1);
    let noise: Vec<u8> = (0..1000).map(|_| random.u8(..)).collect();
    assert_eq!(deflater.deflate(&noise, 900), None);
    assert!(deflater.deflate(&[b'x'; 1000], 900).unwrap().len() < 20);
    assert!(deflater.deflate(b"", 10).is_some());
}

proptest! {
    #[test]
    fn every_message_comes_back_as_it_was(
        parts in prop::collection::vec(prop::collection::vec(0u8..8, 0..3000), 1..5),
        level in 0u32..10,
        window_bits in 9u8..16,
    ) {
        let message = parts.concat();
        prop_assert_eq!(inflate(&foreign(&parts, level, window_bits)), Ok(message.clone()));
        let mut deflater = Deflater::default();
        deflater.deflate(b"an earlier message", 100);
        if let Some(payload) = deflater.deflate(&message, message.len()) {
            prop_assert_eq!(inflate(payload), Ok(message.clone()));
        }
    }

    #[test]
    fn any_bytes_end_in_a_message_or_an_error(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(message) = inflate(&payload) {
            prop_assert!(message.len() <= MAX);
        }
    }
}
