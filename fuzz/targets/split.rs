//! Bytes that arrive in parts: the first two bytes of the input choose how the rest is cut.

/// The bytes, and the lengths of their parts.
pub fn take(input: &[u8]) -> Option<(&[u8], Vec<usize>)> {
    let ([longest, seed], bytes) = input.split_first_chunk()?;
    let (longest, mut state) = (usize::from(*longest).max(1), u32::from(*seed) | 0x0100);
    let (mut lens, mut left) = (Vec::new(), bytes.len());
    while left > 0 {
        // A linear congruential generator: any mutation of the seed gives other cuts, and the same input the same.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let len = (1 + (state >> 16) as usize % longest).min(left);
        lens.push(len);
        left -= len;
    }
    Some((bytes, lens))
}

/// The parts themselves.
pub fn parts<'b>(mut bytes: &'b [u8], lens: &[usize]) -> Vec<&'b [u8]> {
    let mut parts = Vec::with_capacity(lens.len());
    for len in lens {
        let (part, rest) = bytes.split_at(*len);
        parts.push(part);
        bytes = rest;
    }
    parts
}
