//! Checks the syntax of `Host`: `host` or `host:port` (RFC 9110, section 7.2; RFC 3986, section 3.2).
//!
//! The check is stricter than the grammar in one point: it allows no comma, because a comma means that two values were
//! joined. It does not check that the name belongs to this server: a proxy may pass on any name that it was asked for.

use std::net::Ipv6Addr;

/// Returns true for a host with or without a port. The host may be empty, as in a request for no server in particular.
pub(super) fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value {
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
            if !is_ip_literal(&rest[..end]) {
                return false;
            }
            (&[][..], &rest[end + 1..])
        }
        _ => value.split_at(value.iter().position(|byte| *byte == b':').unwrap_or(value.len())),
    };
    is_reg_name(host) && is_port(port)
}

/// Returns true for a colon with a port number or without one, and for no text at all.
fn is_port(text: &[u8]) -> bool {
    let Some((colon, digits)) = text.split_first() else { return true };
    let number = digits.iter().try_fold(0_u32, |number, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        Some(number * 10 + digit).filter(|number| *number <= u32::from(u16::MAX))
    });
    *colon == b':' && number.is_some()
}

/// Returns true for a name, or for an IPv4 address, which has the syntax of a name.
fn is_reg_name(text: &[u8]) -> bool {
    let mut rest = text;
    loop {
        rest = match rest {
            [] => return true,
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest,
            [byte, rest @ ..] if *byte != b',' && is_name_byte(*byte) => rest,
            _ => return false,
        };
    }
}

/// Returns true for the characters of `unreserved` and `sub-delims`.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

/// Returns true for the text in brackets of an IP literal: an IPv6 address, or an address of a later version.
fn is_ip_literal(text: &[u8]) -> bool {
    if let [b'v' | b'V', rest @ ..] = text {
        let Some(dot) = rest.iter().position(|byte| *byte == b'.') else { return false };
        let (version, address) = (&rest[..dot], &rest[dot + 1..]);
        return !version.is_empty()
            && version.iter().all(u8::is_ascii_hexdigit)
            && !address.is_empty()
            && address.iter().all(|byte| *byte == b':' || is_name_byte(*byte));
    }
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        for good in [
            "",
            "x",
            "chat.example",
            "chat.example:8080",
            "chat.example:",
            ":80",
            "x:0",
            "x:65535",
            "x:00080",
            "127.0.0.1:80",
            "[::1]",
            "[::1]:8080",
            "[2001:db8::1]:443",
            "[::ffff:1.2.3.4]",
            "[v1.a:b]",
            "my_host",
            "xn--bcher-kva.example.",
            "a%20b",
            "a;b=c",
            "~a!$&'()*+",
        ] {
            assert!(is_host(good.as_bytes()), "{good:?}");
        }
        for bad in [
            "a b",
            "a/b",
            "a@b",
            "a,b",
            "[::1",
            "::1",
            "x:99999",
            "x:65536",
            "x:4294967376",
            "x:8a",
            "x:-1",
            "x: 80",
            "x:80:80",
            "[::1]x",
            "[::1]80",
            "[x]",
            "[]",
            "[1.2.3.4]",
            "[fe80::1%25lo]",
            "[v.a]",
            "[v1.]",
            "[vg.a]",
            "a]b",
            "a[b",
            "a\\b",
            "a?b",
            "a#b",
            "a%2",
            "a%zz",
            "a\"b",
            "a<b",
            "a^b",
            "a`b",
            "a{b",
            "a|b",
            "x\u{0}",
            "caf\u{e9}",
            "a\tb",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad:?}");
        }
        assert!(!is_host(b"\xff\xfe") && !is_host(b"x\x7f"));
    }
}
