//! Splits an input into parts: its first two bytes choose how the other bytes are cut.

/// Returns the bytes, and the lengths of their parts; `None` if the input is too short.
pub fn take(input: &[u8]) -> Option<(&[u8], Vec<usize>)> {
    let ([longest, seed], bytes) = input.split_first_chunk()?;
    let (longest, mut state) = (usize::from(*longest).max(1), u32::from(*seed) | 0x0100);
    let (mut lens, mut left) = (Vec::new(), bytes.len());
    while left > 0 {
        // A linear congruential generator: another seed gives other cuts, and the same input the same cuts.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let len = (1 + (state >> 16) as usize % longest).min(left);
        lens.push(len);
        left -= len;
    }
    Some((bytes, lens))
}

/// Cuts the bytes into parts of these lengths.
pub fn parts<'b>(mut bytes: &'b [u8], lens: &[usize]) -> Vec<&'b [u8]> {
    let mut parts = Vec::with_capacity(lens.len());
    for len in lens {
        let (part, rest) = bytes.split_at(*len);
        parts.push(part);
        bytes = rest;
    }
    parts
}
