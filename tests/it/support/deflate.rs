//! Messages compressed as permessage-deflate has them (RFC 7692), by the library alone.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::frame::{CONTINUATION, Frame, TEXT};

/// The header of a browser that offers compression.
pub(crate) const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";

/// The answer to it.
pub(crate) const ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// Returns the compressed form of a message.
pub(crate) fn deflate(message: impl AsRef<[u8]>) -> Vec<u8> {
    let mut form = Vec::with_capacity(message.as_ref().len() + 100);
    let mut stream = Compress::new(Compression::best(), false);
    stream.compress_vec(message.as_ref(), &mut form, FlushCompress::Sync).expect("it compresses");
    assert!(form.ends_with(&[0, 0, 0xff, 0xff]), "a flush");
    form.truncate(form.len() - 4);
    form
}

/// Returns the message of a compressed form, of up to 1 MiB.
#[track_caller]
pub(crate) fn inflate(form: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(1 << 20);
    let mut stream = Decompress::new(false);
    let form = [form, &[0, 0, 0xff, 0xff]].concat();
    stream.decompress_vec(&form, &mut message, FlushDecompress::Sync).expect("a deflate stream");
    assert_eq!(stream.total_in() as usize, form.len(), "the whole form is read");
    message
}

/// Makes a compressed text message of one frame.
pub(crate) fn text(message: impl AsRef<[u8]>) -> Vec<u8> {
    frame(TEXT, deflate(message))
}

/// Makes a compressed message of one frame from its form, right or wrong.
pub(crate) fn frame(opcode: u8, form: impl AsRef<[u8]>) -> Vec<u8> {
    Frame::new(opcode, form).rsv(4).bytes()
}

/// Makes a compressed text message of fragments with `size` bytes of its form each, with `between` after each but the
/// last.
pub(crate) fn fragments(form: &[u8], size: usize, between: &[u8]) -> Vec<u8> {
    let parts: Vec<_> = form.chunks(size).collect();
    let mut bytes = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let frame = Frame::new(if index == 0 { TEXT } else { CONTINUATION }, part);
        let frame = if index == 0 { frame.rsv(4) } else { frame };
        let is_last = index + 1 == parts.len();
        bytes.extend(if is_last { frame } else { frame.unfinished() }.bytes());
        bytes.extend(between.iter().filter(|_| !is_last));
    }
    bytes
}
