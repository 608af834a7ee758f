//! Checks and answers the opening handshake (RFC 6455, section 4.2), without I/O.
//!
//! It is written by hand because the existing implementations accept POST, HTTP/1.0, a missing Host and keys of any
//! length.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    TRANSFER_ENCODING, UPGRADE,
};
use hyper::{HeaderMap, Method, Request, StatusCode, Version};
use sha1::{Digest, Sha1};
use smallvec::SmallVec;

use super::body::Response;
use super::host::is_host;
use crate::admission::token::BEARER;
use crate::admission::{Check, Refusal};

/// Most subprotocols that are read of an offer; further ones are ignored.
pub const MAX_OFFERED: usize = 16;

/// The constant with which a server proves that it has read the key (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A value of `Sec-WebSocket-Accept`.
pub type Accept = [u8; 28];

/// A handshake that passed all checks.
#[derive(Debug)]
pub struct Handshake<'r> {
    /// The answer to the client's key, for `Sec-WebSocket-Accept`.
    pub accept: Accept,
    /// The offered subprotocols in order, at most [`MAX_OFFERED`]. They may contain a token and must not be logged.
    pub offered: SmallVec<[&'r str; 4]>,
}

/// Checks a handshake. Headers that occur several times and lists with commas are equal, as RFC 9110, section 5.3,
/// requires.
///
/// # Errors
/// 405, 400 or 426. `Host` is checked first, then the mistakes of people (the method, no upgrade) before those of
/// programs.
pub fn check<B>(request: &Request<B>) -> Result<Handshake<'_>, Refusal> {
    let headers = request.headers();
    check_host(request)?;
    if request.method() != Method::GET {
        return Err(Refusal::Method { allow: "GET" });
    }
    if request.version() != Version::HTTP_11 {
        return Err(Refusal::Malformed(Check::HttpVersion));
    }
    if !has_token(headers, &CONNECTION, b"upgrade") || !has_token(headers, &UPGRADE, b"websocket") {
        return Err(Refusal::NoUpgrade);
    }
    if only(headers, &SEC_WEBSOCKET_VERSION) != Some(b"13") {
        return Err(Refusal::Version);
    }
    let key = only(headers, &SEC_WEBSOCKET_KEY).filter(|key| is_key(key));
    let key = key.ok_or(Refusal::Malformed(Check::Key))?;
    check_no_body(headers)?;
    Ok(Handshake { accept: accept(key), offered: offered(headers) })
}

/// Checks the request for a page: GET or HEAD, the `Host` that HTTP/1.1 requires, and no body.
///
/// # Errors
/// 405 or 400.
pub fn check_page<B>(request: &Request<B>) -> Result<(), Refusal> {
    check_host(request)?;
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Err(Refusal::Method { allow: "GET, HEAD" });
    }
    check_no_body(request.headers())
}

/// Checks the request for a stream of events: GET in HTTP/1.1, one good `Host`, and no body.
///
/// # Errors
/// 405 or 400.
pub fn check_events<B>(request: &Request<B>) -> Result<(), Refusal> {
    check_host(request)?;
    if request.method() != Method::GET {
        return Err(Refusal::Method { allow: "GET" });
    }
    if request.version() != Version::HTTP_11 {
        return Err(Refusal::Malformed(Check::HttpVersion));
    }
    check_no_body(request.headers())
}

/// Selects the subprotocol to answer with: the first of `spoken` that was offered, else `bearer` if it was offered,
/// because a browser fails a connection when none of its offers is selected. The token after `bearer` is never
/// selected.
#[must_use]
pub fn select(spoken: &[&'static str], offered: &[&str]) -> Option<&'static str> {
    // The text after `bearer` is a secret, even when it looks like a subprotocol.
    let bearer = offered.iter().position(|protocol| *protocol == BEARER);
    let is_offered = |wanted: &&'static str| {
        offered
            .iter()
            .enumerate()
            .any(|(index, name)| name == wanted && bearer.is_none_or(|at| index != at + 1))
    };
    spoken.iter().copied().find(is_offered).or(bearer.map(|_| BEARER))
}

/// Returns the headers of the 101 response, with the subprotocol and the extensions that are accepted.
pub(super) fn answer<'v>(
    accept: &'v Accept,
    subprotocol: Option<&'static str>,
    extensions: Option<&'static str>,
) -> impl Iterator<Item = (HeaderName, &'v [u8])> {
    [
        (UPGRADE, Some(&b"websocket"[..])),
        (CONNECTION, Some(b"upgrade")),
        (SEC_WEBSOCKET_ACCEPT, Some(&accept[..])),
        (SEC_WEBSOCKET_PROTOCOL, subprotocol.map(str::as_bytes)),
        (SEC_WEBSOCKET_EXTENSIONS, extensions.map(str::as_bytes)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
}

/// Builds the 101 response, with the subprotocol and the extensions that are accepted.
#[must_use]
pub fn switching_protocols(
    accept: &Accept,
    subprotocol: Option<&'static str>,
    extensions: Option<&'static str>,
) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    // All values are visible ASCII.
    let value = |(name, value)| Some((name, HeaderValue::from_bytes(value).ok()?));
    response.headers_mut().extend(answer(accept, subprotocol, extensions).filter_map(value));
    response
}

/// Checks the host that a request names. RFC 9110, section 7.2, requires 400 for any HTTP/1.1 request without exactly
/// one good `Host`. A request target that names a host is checked in the same way.
///
/// # Errors
/// [`Check::Host`].
pub fn check_host<B>(request: &Request<B>) -> Result<(), Refusal> {
    let headers = request.headers();
    let may_lack = request.version() != Version::HTTP_11 && !headers.contains_key(HOST);
    let is_good = may_lack || only(headers, &HOST).is_some_and(is_host);
    let authority = request.uri().authority();
    match is_good && authority.is_none_or(|authority| is_host(authority.as_str().as_bytes())) {
        true => Ok(()),
        false => Err(Refusal::Malformed(Check::Host)),
    }
}

fn check_no_body(headers: &HeaderMap) -> Result<(), Refusal> {
    let lengths = headers.get_all(CONTENT_LENGTH);
    let has_body = headers.contains_key(TRANSFER_ENCODING) || lengths.iter().any(|length| length != "0");
    if has_body { Err(Refusal::Malformed(Check::Body)) } else { Ok(()) }
}

/// Returns the value of a header that must occur exactly once.
fn only<'r>(headers: &'r HeaderMap, name: &HeaderName) -> Option<&'r [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { Some(value.as_bytes().trim_ascii()) }
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &[u8]) -> bool {
    let mut lists = headers.get_all(name).iter().map(|value| value.as_bytes().split(|byte| *byte == b','));
    lists.any(|mut list| list.any(|item| item.trim_ascii().eq_ignore_ascii_case(token)))
}

/// Returns true for the base64 of exactly 16 bytes.
fn is_key(key: &[u8]) -> bool {
    // 24 characters decode to at most 18 bytes.
    let mut nonce = [0; 18];
    key.len() == 24 && STANDARD.decode_slice(key, &mut nonce) == Ok(16)
}

fn accept(key: &[u8]) -> Accept {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut accept = [0; 28];
    let written = STANDARD.encode_slice(digest, &mut accept);
    debug_assert_eq!(written, Ok(28), "20 bytes are 28 characters");
    accept
}

fn offered(headers: &HeaderMap) -> SmallVec<[&str; 4]> {
    let lists = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let names = lists.flat_map(|list| list.split(',')).map(str::trim).filter(|name| !name.is_empty());
    names.take(MAX_OFFERED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 5] = [
        ("host", "x"),
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    /// Builds the good handshake without the headers of `without`, and with those of `with` added.
    fn request(without: &[&str], with: &[(&str, &str)]) -> Request<()> {
        let kept = GOOD.iter().filter(|(name, _)| !without.contains(name));
        let builder = Request::builder().uri("/ws");
        kept.chain(with)
            .fold(builder, |builder, (name, value)| builder.header(*name, *value))
            .body(())
            .unwrap()
    }

    #[test]
    fn the_key_of_the_rfc_gets_its_answer() {
        let request = request(&[], &[]);
        let handshake = check(&request).unwrap();
        assert_eq!(&handshake.accept, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(handshake.offered.is_empty());
    }

    #[test]
    fn tokens_are_found_in_lists_and_repeated_headers() {
        for (name, values) in [
            ("connection", &["keep-alive, Upgrade"][..]),
            ("connection", &["keep-alive", " ,UPGRADE ,"]),
            ("upgrade", &["WebSocket"]),
            ("upgrade", &["h2c, websocket"]),
            ("content-length", &["0"]),
        ] {
            let with: Vec<_> = values.iter().map(|value| (name, *value)).collect();
            assert!(check(&request(&[name], &with)).is_ok(), "{name}: {values:?}");
        }
    }

    #[test]
    fn a_wrong_handshake_is_refused_with_its_reason() {
        let malformed = Refusal::Malformed;
        let key = "sec-websocket-key";
        let version = "sec-websocket-version";
        for (without, with, refusal) in [
            ("host", &[][..], malformed(Check::Host)),
            ("", &[("host", "y")], malformed(Check::Host)),
            ("host", &[("host", "a@b")], malformed(Check::Host)),
            ("connection", &[], Refusal::NoUpgrade),
            ("connection", &[("connection", "keep-alive, xupgrade")], Refusal::NoUpgrade),
            ("upgrade", &[], Refusal::NoUpgrade),
            ("upgrade", &[("upgrade", "h2c")], Refusal::NoUpgrade),
            (version, &[], Refusal::Version),
            (version, &[(version, "8")], Refusal::Version),
            (version, &[(version, "13, 8")], Refusal::Version),
            ("", &[(version, "13")], Refusal::Version),
            (key, &[], malformed(Check::Key)),
            ("", &[(key, "dGhlIHNhbXBsZSBub25jZQ==")], malformed(Check::Key)),
            (key, &[(key, "AQID")], malformed(Check::Key)),
            (key, &[(key, "dGhlIHNhbXBsZSBub25jZTEx")], malformed(Check::Key)),
            (key, &[(key, "dGhlIHNhbXBsZSBub25jZTE=")], malformed(Check::Key)),
            (key, &[(key, "dGhl_HNhbXBsZSBub25jZQ==")], malformed(Check::Key)),
            (key, &[(key, "dGhlIHNhbXBsZSBub25jZQ")], malformed(Check::Key)),
            ("", &[("content-length", "1")], malformed(Check::Body)),
            ("", &[("transfer-encoding", "chunked")], malformed(Check::Body)),
        ] {
            assert_eq!(
                check(&request(&[without], with)).unwrap_err(),
                refusal,
                "without {without:?}, with {with:?}"
            );
        }
        let mut post = request(&[], &[]);
        *post.method_mut() = Method::POST;
        assert_eq!(check(&post).unwrap_err(), Refusal::Method { allow: "GET" });
        let mut elsewhere = request(&[], &[]);
        *elsewhere.uri_mut() = "http://me@x/ws".parse().unwrap();
        assert_eq!(check(&elsewhere).unwrap_err(), malformed(Check::Host));
        *elsewhere.uri_mut() = "http://x:80/ws".parse().unwrap();
        assert!(check(&elsewhere).is_ok());
        let mut old = request(&[], &[]);
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(check(&old).unwrap_err(), malformed(Check::HttpVersion));
    }

    #[test]
    fn offers_are_split_and_bounded() {
        let name = "sec-websocket-protocol";
        let with = [(name, "throng.v1, bearer,"), (name, "a.b.c")];
        let some = request(&[], &with);
        assert_eq!(check(&some).unwrap().offered.as_slice(), ["throng.v1", "bearer", "a.b.c"]);
        let many = vec!["x"; 1000].join(",");
        let many = request(&[], &[(name, &many)]);
        assert_eq!(check(&many).unwrap().offered.len(), MAX_OFFERED);
    }

    #[test]
    fn the_token_is_never_selected() {
        let chat = ["throng.v1"];
        for (speaks, offered, selected) in [
            (&chat[..], &["throng.v1", "bearer", "t"][..], Some("throng.v1")),
            (&chat, &["bearer", "t", "throng.v1"], Some("throng.v1")),
            (&chat, &["bearer", "throng.v1"], Some("bearer")),
            (&chat, &["bearer", "t"], Some("bearer")),
            (&chat, &["echo"], None),
            (&chat, &[], None),
            (&["echo"], &["throng.v1", "echo"], Some("echo")),
            (&["throng.v1", "echo"], &["echo", "throng.v1"], Some("throng.v1")),
            (&[], &["throng.v1"], None),
        ] {
            assert_eq!(select(speaks, offered), selected, "{speaks:?} {offered:?}");
        }
    }
}
