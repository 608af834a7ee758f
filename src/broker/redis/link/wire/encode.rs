//! Commands as bytes.

use bytes::{BufMut, BytesMut};

/// Most digits of a length.
const MAX_DIGITS: usize = 20;

/// Appends a command with its arguments: an array of strings. The words are counted before they are written.
pub(in crate::broker::redis::link) fn command<'a>(
    out: &mut BytesMut,
    words: impl Iterator<Item = &'a [u8]> + Clone,
) {
    put_number(out, b'*', words.clone().count());
    for word in words {
        out.reserve(word.len() + MAX_DIGITS + 5);
        put_number(out, b'$', word.len());
        out.put_slice(word);
        out.put_slice(b"\r\n");
    }
}

fn put_number(out: &mut BytesMut, kind: u8, number: usize) {
    let mut digits = [0; MAX_DIGITS];
    let (mut at, mut rest) = (MAX_DIGITS, number);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.put_u8(kind);
    out.put_slice(&digits[at..]);
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_an_array_of_strings() {
        let mut out = BytesMut::new();
        let words: [&[u8]; 3] = [b"SET", b"", b"a\r\nb0123456789"];
        command(&mut out, words.into_iter());
        assert_eq!(&out[..], b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$14\r\na\r\nb0123456789\r\n");
        out.clear();
        put_number(&mut out, b'$', usize::MAX);
        assert_eq!(&out[..], b"$18446744073709551615\r\n");
    }
}
