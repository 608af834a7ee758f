//! Decompresses what a server sends with permessage-deflate (RFC 7692), so that the rest of the load generator sees
//! frames without it.
//!
//! A form that one client gets is mostly the same that all others get. It is decompressed once and then remembered, or
//! decompressing would be the bottleneck of the measurement.

use std::collections::HashMap;

use flate2::{Decompress, FlushDecompress, Status};

use super::wire::{BINARY, FIN, Malformed, TEXT, header_len, payload_len};

/// The offer of a connection. Without context takeover each message can be decompressed by itself.
pub(super) const OFFER: &str =
    "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover";
/// Name of the extension, with which the answer to the offer begins.
pub(super) const NAME: &str = "permessage-deflate";

/// Bit of a header's first byte that marks a compressed message.
const RSV1: u8 = 0x40;
/// The three reserved bits.
const RESERVED: u8 = 0x70;
/// The end of a flush, which the sender leaves out.
const FLUSH_END: [u8; 4] = [0, 0, 0xff, 0xff];

/// Longest compressed frame, and longest message, in bytes.
const MAX_BYTES: usize = 32 << 20;
/// Number of forms that are remembered, the newest ones: as many as a busy server has under way.
const MAX_FORMS: usize = 1_024;

/// The forms that were decompressed, for all connections.
pub(super) struct Forms {
    stream: Decompress,
    /// Plain frames by the payload of the compressed frame.
    known: HashMap<Box<[u8]>, Vec<u8>>,
}

impl Default for Forms {
    fn default() -> Self {
        Self { stream: Decompress::new(false), known: HashMap::new() }
    }
}

impl std::fmt::Debug for Forms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} forms", self.known.len())
    }
}

impl Forms {
    /// Appends the plain frame for a compressed one to `out`.
    fn put_plain(&mut self, opcode: u8, form: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        if let Some(plain) = self.known.get(form) {
            out.extend_from_slice(plain);
            return Ok(());
        }
        let message = self.inflate(form)?;
        let mut plain = vec![FIN | opcode];
        if let Ok(len @ 0..=125) = u8::try_from(message.len()) {
            plain.push(len);
        } else if let Ok(len) = u16::try_from(message.len()) {
            plain.push(126);
            plain.extend_from_slice(&len.to_be_bytes());
        } else {
            plain.push(127);
            plain.extend_from_slice(&(message.len() as u64).to_be_bytes());
        }
        plain.extend_from_slice(&message);
        out.extend_from_slice(&plain);
        if self.known.len() >= MAX_FORMS {
            self.known.clear();
        }
        self.known.insert(form.into(), plain);
        Ok(())
    }

    fn inflate(&mut self, form: &[u8]) -> Result<Vec<u8>, Malformed> {
        self.stream.reset(false);
        let mut message = Vec::with_capacity(form.len() * 4 + 64);
        for part in [form, &FLUSH_END] {
            let before = self.stream.total_in();
            loop {
                let rest = &part[(self.stream.total_in() - before) as usize..];
                let status = self.stream.decompress_vec(rest, &mut message, FlushDecompress::None);
                let is_full = message.len() == message.capacity();
                match status.map_err(|_| Malformed)? {
                    Status::StreamEnd => return Err(Malformed),
                    _ if is_full && message.len() < MAX_BYTES => message.reserve(message.len()),
                    _ if !is_full && self.stream.total_in() - before == part.len() as u64 => break,
                    _ => return Err(Malformed),
                }
            }
        }
        Ok(message)
    }
}

/// Makes a stream without compression of one connection's frames, whose bytes may be cut anywhere.
#[derive(Debug, Default)]
pub(super) struct Expander {
    /// Payload bytes of a plain frame that have not arrived yet.
    left: u64,
    /// A header or a compressed frame that was cut.
    cut: Vec<u8>,
}

impl Expander {
    /// Appends the frames in `data`, the next bytes of the stream, to `out`. A frame that no server may send is passed
    /// on as it is, for the decoder to find.
    ///
    /// # Errors
    /// A compressed message is damaged, longer than 32 MiB, or fragmented, which a server under test should not do.
    pub(super) fn expand(
        &mut self,
        data: &[u8],
        forms: &mut Forms,
        out: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        let mut joined = std::mem::take(&mut self.cut);
        let mut data = if joined.is_empty() {
            data
        } else {
            joined.extend_from_slice(data);
            &joined
        };
        loop {
            let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(data.len());
            let (payload, rest) = data.split_at(take);
            self.left -= take as u64;
            out.extend_from_slice(payload);
            data = rest;
            let Some(header) = data.get(1).and_then(|second| data.get(..header_len(*second))) else {
                self.cut = data.to_vec();
                return Ok(());
            };
            let (first, len) = (header[0], payload_len(header));
            if first & RESERVED != RSV1 || !matches!(first & 0x0f, TEXT | BINARY) {
                out.extend_from_slice(header);
                data = &data[header.len()..];
                self.left = len;
                continue;
            }
            let end = usize::try_from(len).ok().filter(|len| *len <= MAX_BYTES && first & FIN != 0);
            let end = header.len() + end.ok_or(Malformed)?;
            let Some(form) = data.get(header.len()..end) else {
                self.cut = data.to_vec();
                return Ok(());
            };
            forms.put_plain(first & 0x0f, form, out)?;
            data = &data[end..];
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    fn compressed(message: &[u8]) -> Vec<u8> {
        let mut form = Vec::with_capacity(message.len() + 100);
        let mut stream = Compress::new(Compression::fast(), false);
        stream.compress_vec(message, &mut form, FlushCompress::Sync).unwrap();
        form.truncate(form.len() - FLUSH_END.len());
        assert!(form.len() < 126);
        [vec![FIN | RSV1 | TEXT, form.len() as u8], form].concat()
    }

    fn expand(parts: &[&[u8]]) -> Result<Vec<u8>, Malformed> {
        let (mut expander, mut forms, mut out) = (Expander::default(), Forms::default(), Vec::new());
        parts.iter().try_for_each(|part| expander.expand(part, &mut forms, &mut out)).map(|()| out)
    }

    #[test]
    fn plain_and_compressed_frames_become_plain_ones_wherever_they_are_cut() {
        let long = b"again and ".repeat(50);
        let stream = [
            &b"\x81\x02hi"[..],
            &compressed(b"Hello"),
            b"\x89\x00",
            &compressed(&long),
            &compressed(b"Hello"),
            &compressed(b""),
            b"\x88\x02\x03\xe8",
        ]
        .concat();
        let wanted = [
            &b"\x81\x02hi\x81\x05Hello\x89\x00\x81\x7e\x01\xf4"[..],
            &long,
            b"\x81\x05Hello\x81\x00\x88\x02\x03\xe8",
        ]
        .concat();
        for cut in 0..=stream.len() {
            let (head, tail) = stream.split_at(cut);
            assert_eq!(expand(&[head, tail]).as_ref(), Ok(&wanted), "cut at {cut}");
        }
        let single: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(expand(&single).as_ref(), Ok(&wanted));
    }

    #[test]
    fn damaged_and_fragmented_messages_are_malformed() {
        let good = compressed(b"Hello");
        let mut damaged = good.clone();
        damaged[2..].fill(0x06);
        let mut fragment = good;
        fragment[0] &= !FIN;
        let huge = [FIN | RSV1 | TEXT, 127, 0, 0, 1, 0, 0, 0, 0, 0];
        for bad in [&damaged[..], &fragment, &huge] {
            assert_eq!(expand(&[bad]), Err(Malformed), "{bad:?}");
        }
    }
}
