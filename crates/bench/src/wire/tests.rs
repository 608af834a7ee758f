use super::*;

#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    headers: usize,
    payload: Vec<u8>,
    controls: Vec<(u8, Vec<u8>)>,
    control_bytes: Vec<u8>,
}

impl FrameHandler for Seen {
    fn on_header(&mut self, _: &[u8]) {
        self.headers += 1;
    }
    fn on_payload(&mut self, payload: &[u8]) {
        self.payload.extend_from_slice(payload);
    }
    fn on_control(&mut self, opcode: u8, payload: &[u8]) {
        self.controls.push((opcode, payload.to_vec()));
    }
    fn on_control_bytes(&mut self, raw: &[u8]) {
        self.control_bytes.extend_from_slice(raw);
    }
}

fn decode_parts(parts: &[&[u8]]) -> Result<Seen, Malformed> {
    let mut decoder = FrameDecoder::default();
    let mut seen = Seen::default();
    for part in parts {
        decoder.decode(part, &mut seen)?;
    }
    Ok(seen)
}

/// Asserts that `text` decodes to `whole` if it is cut in two at any byte, and if it arrives byte by byte.
#[track_caller]
fn expect_same_if_cut(text: &[u8], whole: &Seen) {
    for cut in 0..=text.len() {
        let (head, tail) = text.split_at(cut);
        assert_eq!(decode_parts(&[head, tail]).as_ref(), Ok(whole), "cut at {cut}");
    }
    let single: Vec<&[u8]> = text.chunks(1).collect();
    assert_eq!(decode_parts(&single).as_ref(), Ok(whole));
}

#[test]
fn frames_are_decoded_wherever_they_are_cut() {
    let long = [b"\x81\x7e\x00\x80".as_slice(), &[b'l'; 128]].concat();
    let longest = [b"\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x03".as_slice(), b"abc"].concat();
    let text = [b"\x81\x02hi".as_slice(), b"\x89\x03#!#", &long, b"\x8a\x00", &longest, b"\x88\x02\x03\xe8"]
        .concat();
    let whole = decode_parts(&[&text]).expect("well formed");
    assert_eq!((whole.headers, whole.payload.len()), (3, 2 + 128 + 3));
    let controls = [(PING, b"#!#".to_vec()), (PONG, vec![]), (CLOSE, vec![3, 232])];
    assert_eq!(whole.controls, controls);
    assert_eq!(whole.control_bytes, b"\x89\x03#!#\x8a\x00\x88\x02\x03\xe8");
    expect_same_if_cut(&text, &whole);
}

/// 1. The stream has runs of frames with equal headers, short and long, of text and binary, and frames whose headers
///    differ in one byte or whose payloads begin differently.
/// 2. The same frames are decoded wherever the stream is cut.
#[test]
fn frames_with_equal_headers_are_decoded_like_single_ones() {
    let short = [b"\x81\x03abc".repeat(5), b"\x81\x03xyz".to_vec(), b"\x82\x03abc".repeat(2)].concat();
    let tiny = b"\x81\x00\x81\x01a\x81\x01b\x81\x02cd".repeat(2);
    let long = [b"\x81\x7e\x00\x80".as_slice(), &[b'l'; 128]].concat().repeat(3);
    let longer = [b"\x81\x7e\x00\x81".as_slice(), &[b'm'; 129]].concat();
    let text = [&short[..], &tiny, &long, &longer, b"\x89\x00", &long, &short].concat();
    let whole = decode_parts(&[&text]).expect("well formed");
    assert_eq!((whole.headers, whole.controls.len()), (8 + 8 + 3 + 1 + 3 + 8, 1));
    expect_same_if_cut(&text, &whole);
}

#[test]
fn frames_that_no_server_may_send_are_malformed() {
    for bad in [b"\x81\x80".as_slice(), b"\xc1\x00", b"\x83\x00", b"\x89\x7e\x00\x80", b"\x8b\x00"] {
        assert_eq!(decode_parts(&[bad]), Err(Malformed), "{bad:?}");
        let after_a_run = [&b"\x81\x02ab".repeat(3), bad, b"some more"].concat();
        assert_eq!(decode_parts(&[&after_a_run]), Err(Malformed), "{bad:?}");
    }
}

#[test]
fn a_sent_frame_is_masked_and_its_length_minimal() {
    for (len, header) in [
        (0usize, vec![0x81, 0x80]),
        (125, vec![0x81, 0xfd]),
        (126, vec![0x81, 0xfe, 0, 126]),
        (65_535, vec![0x81, 0xfe, 0xff, 0xff]),
        (65_536, vec![0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        let payload: Vec<u8> = (0..len).map(|at| at as u8).collect();
        let mask = [0xde, 0xad, 0xbe, 0xef];
        let mut frame = b"before".to_vec();
        put_frame(&mut frame, TEXT, &payload, mask);
        let frame = &frame[6..];
        assert_eq!(&frame[..header.len()], &header[..], "{len}");
        assert_eq!(&frame[header.len()..header.len() + 4], &mask);
        let masked = &frame[header.len() + 4..];
        let unmasked: Vec<u8> =
            masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        assert_eq!(unmasked, payload);
    }
}
