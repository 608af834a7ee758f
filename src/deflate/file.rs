//! Compresses files for browsers, each once.

use flate2::{Compress, Compression, FlushCompress, Status};

/// Size of the window: 2^15 bytes, the largest that every browser takes.
const WINDOW_BITS: u8 = 15;
/// Bytes of the header and of the trailer (RFC 1952).
const FRAME_BYTES: usize = 18;

/// Returns a file in the gzip format (RFC 1952), as small as it gets.
#[must_use]
pub fn gzip(file: &[u8]) -> Vec<u8> {
    let mut stream = Compress::new_gzip(Compression::best(), WINDOW_BITS);
    // A file of noise becomes longer, by at most five bytes for each block of 16 KiB.
    let mut compressed = Vec::with_capacity(FRAME_BYTES + file.len() + file.len() / 1024 + 64);
    let status = stream.compress_vec(file, &mut compressed, FlushCompress::Finish);
    assert_eq!(status.ok(), Some(Status::StreamEnd), "the space suffices for any file");
    compressed.shrink_to_fit();
    compressed
}

#[cfg(test)]
mod tests {
    use flate2::{Decompress, FlushDecompress};

    use super::*;

    fn unzipped(compressed: &[u8], length: usize) -> Vec<u8> {
        let mut file = Vec::with_capacity(length + 1);
        let mut stream = Decompress::new_gzip(WINDOW_BITS);
        let status = stream.decompress_vec(compressed, &mut file, FlushDecompress::Finish);
        assert_eq!(status.unwrap(), Status::StreamEnd);
        file
    }

    #[test]
    fn files_come_back_as_they_were() {
        let mut noise = 1_u32;
        let mut random = || {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        };
        let incompressible: Vec<u8> = (0..100_000).map(|_| random()).collect();
        for file in [b"".to_vec(), b"a".to_vec(), b"never HTML ".repeat(5_000), incompressible] {
            assert_eq!(unzipped(&gzip(&file), file.len()), file);
        }
        assert!(gzip(&b"never HTML ".repeat(5_000)).len() < 500);
    }
}
