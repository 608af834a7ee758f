//! The written form of ids in the engine and on its channels.

/// Writes a number as 16 hexadecimal digits in lower case.
pub(in crate::broker::redis) fn hex(number: u64) -> String {
    format!("{number:016x}")
}

/// Parses the 16 digits that [`hex`] writes, and nothing else.
pub(in crate::broker::redis) fn parse_hex(text: &str) -> Option<u64> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 16 || !text.bytes().all(is_digit) {
        return None;
    }
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_written_form() {
        for number in [0, 1, 0xfe, u64::MAX] {
            assert_eq!(parse_hex(&hex(number)), Some(number));
        }
        for bad in ["", "0", "000000000000000A", "+00000000000000f", "00000000000000000", "000000000000000g"]
        {
            assert_eq!(parse_hex(bad), None, "{bad:?}");
        }
    }
}
