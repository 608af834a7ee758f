//! Negotiates the extension permessage-deflate (RFC 7692, section 7.1) from the offers in `Sec-WebSocket-Extensions`
//! (RFC 6455, section 9.1).

use std::borrow::Cow;
use std::iter;

use crate::protocol::Deflate;

/// Most offers that are looked at; further ones are declined.
const MAX_OFFERS: usize = 16;

/// Name of the extension.
const NAME: &str = "permessage-deflate";

/// The answers, by the `server_max_window_bits` of the offer, from 8 on. An offer that names a size must be answered
/// with one.
const ANSWERS: [&str; 8] = [
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=8",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=13",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=14",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15",
];
/// The answer to an offer that names no size for the server's window.
const ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// Exponents of the sizes that a window may have, in bytes (RFC 7692, section 7.1.2).
const SMALLEST: u8 = 8;
const LARGEST: u8 = 15;

/// An offer that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptedOffer {
    /// The value of `Sec-WebSocket-Extensions` to answer with.
    pub answer: &'static str,
    /// [`Deflate::Received`] where the client has asked for a window of the server that is smaller than 32 KiB: one
    /// compressed form is made of an event for all clients, and its window is the largest. So nothing that such a
    /// client is sent is compressed, which any window allows.
    pub deflate: Deflate,
}

/// Selects the offer to accept: the first good one with the largest window for the server, or else the first good one.
/// With each answer neither side keeps anything of one message for the next, and the client's window may have any size.
/// `None` when no offer is good: an unknown or repeated parameter, or a wrong value, makes it bad, as RFC
/// 7692, section 7.1, requires.
#[must_use]
pub fn negotiate<'r>(values: impl Iterator<Item = &'r [u8]>) -> Option<AcceptedOffer> {
    let offers =
        values.filter_map(|value| std::str::from_utf8(value).ok()).flat_map(|value| split(value, b','));
    let mut accepted = offers.take(MAX_OFFERS).filter_map(accept);
    let first = accepted.next()?;
    let better = iter::once(first).chain(accepted).find(|offer| offer.deflate == Deflate::Both);
    Some(better.unwrap_or(first))
}

/// Returns the answer to one offer, if it is a good offer of this extension.
fn accept(offer: &str) -> Option<AcceptedOffer> {
    let mut parameters = split(offer, b';');
    if parameters.next()? != NAME {
        return None;
    }
    let (mut server_bits, mut seen) = (None, [false; 4]);
    for parameter in parameters {
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name.trim_ascii_end(), Some(unquoted(value.trim_ascii_start())?)),
            None => (parameter, None),
        };
        let index = match (name, value) {
            ("server_no_context_takeover", None) => 0,
            ("client_no_context_takeover", None) => 1,
            ("server_max_window_bits", Some(value)) => {
                server_bits = Some(window_bits(&value)?);
                2
            }
            ("client_max_window_bits", None) => 3,
            ("client_max_window_bits", Some(value)) => {
                window_bits(&value)?;
                3
            }
            _ => return None,
        };
        if std::mem::replace(&mut seen[index], true) {
            return None;
        }
    }
    let answer = server_bits.map_or(ANSWER, |bits| ANSWERS[usize::from(bits - SMALLEST)]);
    let is_largest = server_bits.is_none_or(|bits| bits == LARGEST);
    Some(AcceptedOffer { answer, deflate: if is_largest { Deflate::Both } else { Deflate::Received } })
}

/// Returns the parts of a list, trimmed. A separator in a quoted string separates nothing.
fn split(list: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(list);
    iter::from_fn(move || {
        let text = rest?;
        let (mut is_quoted, mut is_escaped) = (false, false);
        let end = text.bytes().position(|byte| {
            if std::mem::take(&mut is_escaped) {
                return false;
            }
            match byte {
                b'\\' if is_quoted => is_escaped = true,
                b'"' => is_quoted = !is_quoted,
                _ => return byte == separator && !is_quoted,
            }
            false
        });
        let part = end.map_or(text, |end| &text[..end]);
        rest = end.map(|end| &text[end + 1..]);
        Some(part.trim_ascii())
    })
}

/// Returns a value without the quotes that it may have (RFC 9110, section 5.6.4). `None` when a quote is missing.
fn unquoted(value: &str) -> Option<Cow<'_, str>> {
    let Some(quoted) = value.strip_prefix('"') else { return Some(Cow::Borrowed(value)) };
    let quoted = quoted.strip_suffix('"')?;
    if !quoted.contains('\\') {
        return Some(Cow::Borrowed(quoted));
    }
    let mut text = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        text.push(if character == '\\' { characters.next()? } else { character });
    }
    Some(Cow::Owned(text))
}

/// Parses the size of a window: a decimal number from 8 to 15 without leading zeros.
fn window_bits(value: &str) -> Option<u8> {
    let is_plain = value.bytes().all(|byte| byte.is_ascii_digit()) && !value.starts_with('0');
    value.parse().ok().filter(|bits| is_plain && (SMALLEST..=LARGEST).contains(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the answer to some headers, and whether events may be compressed.
    fn answer(values: &[&str]) -> Option<(&'static str, bool)> {
        let accepted = negotiate(values.iter().map(|value| value.as_bytes()))?;
        Some((accepted.answer, accepted.deflate == Deflate::Both))
    }

    #[test]
    fn good_offers_are_accepted_without_context_takeover() {
        for offer in [
            "permessage-deflate",
            " permessage-deflate ; client_max_window_bits",
            "permessage-deflate; client_max_window_bits=8",
            "permessage-deflate;client_max_window_bits=\"10\"",
            "permessage-deflate; client_max_window_bits=\"1\\0\"",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            "x-webkit-deflate-frame, permessage-deflate",
            "foo; bar=\"a,permessage-deflate;b\", permessage-deflate; x, permessage-deflate",
            ",, permessage-deflate",
        ] {
            assert_eq!(answer(&[offer]), Some((ANSWER, true)), "{offer}");
        }
    }

    #[test]
    fn the_size_of_the_servers_window_is_answered() {
        for bits in SMALLEST..=LARGEST {
            let offer = format!("permessage-deflate; server_max_window_bits={bits}");
            let wanted = format!("{ANSWER}; server_max_window_bits={bits}");
            assert_eq!(answer(&[&offer]), Some((&*wanted, bits == LARGEST)), "{offer}");
        }
        let small = "permessage-deflate; server_max_window_bits=9";
        assert_eq!(answer(&[small, "permessage-deflate"]), Some((ANSWER, true)), "a better offer follows");
        let two = format!("{small}, permessage-deflate; server_max_window_bits=10");
        assert_eq!(answer(&[&two]).map(|(_, is_accepted)| is_accepted), Some(false));
        assert!(answer(&[&two]).is_some_and(|(answer, _)| answer.ends_with("=9")), "the first of equals");
    }

    #[test]
    fn bad_offers_are_declined() {
        for offer in [
            "",
            "deflate",
            "Permessage-Deflate",
            "permessage-deflate; ",
            "permessage-deflate; unknown",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=9",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=08",
            "permessage-deflate; server_max_window_bits=+9",
            "permessage-deflate; server_max_window_bits=",
            "permessage-deflate; server_max_window_bits=\"9",
            "permessage-deflate; server_max_window_bits=271",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=x",
            "permessage-deflate client_max_window_bits",
            "\"permessage-deflate\"",
        ] {
            assert_eq!(answer(&[offer]), None, "{offer}");
        }
        let late = "x,".repeat(MAX_OFFERS) + NAME;
        assert_eq!(answer(&[&late]), None);
        assert_eq!(
            negotiate([&b"\xff"[..], b"permessage-deflate"].into_iter()).map(|it| it.answer),
            Some(ANSWER)
        );
    }
}
