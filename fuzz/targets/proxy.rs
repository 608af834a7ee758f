//! Fuzzes PROXY headers: the result does not depend on how the bytes are split, and bytes after a header are ignored.

#![no_main]

mod split;

use throng::testing::admission::proxy::{FIXED_BYTES, MAX_REST_BYTES, ProxyError, may_begin, parse_fixed};

/// Returns the address and the length of the header, or an error; `None` if the header is not complete.
fn read(parts: &[&[u8]]) -> Option<Result<(Option<std::net::IpAddr>, usize), ProxyError>> {
    let mut come = Vec::new();
    let mut announced = None;
    for part in parts {
        come.extend_from_slice(part);
        if !may_begin(&come[..come.len().min(FIXED_BYTES)]) {
            return Some(Err(ProxyError::Signature));
        }
        if announced.is_none()
            && let Some(fixed) = come.first_chunk()
        {
            match parse_fixed(fixed) {
                Ok(found) => announced = Some(found),
                Err(error) => return Some(Err(error)),
            }
        }
        if let Some(announced) = announced
            && let Some(rest) = come[FIXED_BYTES..].get(..announced.rest_bytes)
        {
            let len = FIXED_BYTES + announced.rest_bytes;
            return Some(announced.source(rest).map(|address| (address, len)));
        }
    }
    None
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((bytes, lens)) = split::take(input) else { return };
    let whole = read(&[bytes]);
    assert_eq!(read(&split::parts(bytes, &lens)), whole, "in parts of {lens:?}");
    assert_eq!(read(&bytes.chunks(1).collect::<Vec<_>>()), whole, "byte by byte");
    // From the first wrong byte on, the bytes can no longer begin a header.
    let first_wrong = (0..=bytes.len()).find(|end| !may_begin(&bytes[..*end]));
    assert!(first_wrong.is_none_or(|wrong| (wrong..=bytes.len()).all(|end| !may_begin(&bytes[..end]))));
    if let Some(Ok((_, len))) = whole {
        assert!(len <= FIXED_BYTES + MAX_REST_BYTES && len <= bytes.len());
        let mut other = bytes.to_vec();
        other[len..].iter_mut().for_each(|byte| *byte = !*byte);
        assert_eq!(read(&[&other]), whole, "bytes after the header change nothing");
        assert_eq!(read(&[&bytes[..len]]), whole);
    }
});
