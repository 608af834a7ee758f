//! The server under test: a WebSocket URL with placeholders, the handshake request of each connection, and the check
//! of the response.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

use super::inflate::NAME;
use super::tls::{Tls, Trust};

/// The GUID that a server appends to the key (RFC 6455 section 1.3).
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A parsed URL and the headers of the handshake.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// The URL as given, with its placeholders.
    pub(super) url: String,
    /// The resolved address of the host.
    pub(super) address: SocketAddr,
    /// How connections are encrypted, if the URL begins with `wss://`.
    pub(super) tls: Option<Tls>,
    authority: String,
    path: String,
    headers: Vec<String>,
}

/// Splits a URL behind its scheme into the host with its port, and the path with the query.
pub(super) fn authority_and_path(url: &str) -> (&str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()))
}

/// Replaces `{i}` by a connection's number (in five digits, so that it is a valid user id) and `{r}` by its room.
pub(super) fn fill_placeholders(text: &str, number: usize, room: usize) -> String {
    text.replace("{i}", &format!("{number:05}")).replace("{r}", &room.to_string())
}

/// Returns the `Sec-WebSocket-Accept` with which a server must answer `key` (RFC 6455 section 4.2.2).
fn accept_for(key: &str) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(ACCEPT_GUID).finalize())
}

impl Target {
    /// Parses `ws://HOST[:PORT][/PATH]`, or the same with `wss://`. Each header is a line `Name: value`; placeholders
    /// are allowed in both.
    ///
    /// # Errors
    /// The URL is no WebSocket URL, its host has no address, a header is malformed, or the certificates to trust cannot
    /// be read or are not needed.
    pub(super) fn parse(url: &str, headers: &[String], trust: Trust<'_>) -> anyhow::Result<Self> {
        let usual_port = match url.split_once("://") {
            Some(("ws", _)) => 80,
            Some(("wss", _)) => 443,
            _ => bail!("{url}: must begin with ws:// or wss://"),
        };
        let (authority, path) = authority_and_path(url);
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let safe = |text: &str| text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        ensure!(
            safe(url) && !url.contains([' ', '#']),
            "{url}: spaces, # and other special characters must be percent-encoded"
        );
        for header in headers {
            let named =
                header.split_once(':').is_some_and(|(name, _)| !name.is_empty() && !name.contains(' '));
            ensure!(named && safe(header), "{header}: a header must be written as `Name: value`");
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let dialled = if has_port { authority.to_owned() } else { format!("{authority}:{usual_port}") };
        let addresses =
            dialled.to_socket_addrs().with_context(|| format!("{url}: no address for {authority}"))?;
        // IPv4 first: `localhost` often resolves to ::1 first, where few servers listen.
        let address =
            addresses.min_by_key(SocketAddr::is_ipv6).with_context(|| format!("{url}: no address"))?;
        let tls = match url.strip_prefix("wss://") {
            Some(_) => Some(Tls::new(dialled.rsplit_once(':').map_or("", |(host, _)| host), trust)?),
            None if trust == Trust::System => None,
            None => bail!("--ca and --insecure are for wss:// alone, and the server is {url}"),
        };
        let (authority, headers) = (authority.into(), headers.to_vec());
        Ok(Self { url: url.into(), address, tls, authority, path, headers })
    }

    /// Returns the handshake request of connection `number`, and the `Sec-WebSocket-Accept` that must answer it.
    pub(super) fn request(&self, number: usize, room: usize) -> (Vec<u8>, String) {
        let mut nonce = [0; 16];
        nonce.fill_with(|| fastrand::u8(..));
        let key = STANDARD.encode(nonce);
        let headers: String = self
            .headers
            .iter()
            .map(|header| format!("{}\r\n", fill_placeholders(header, number, room)))
            .collect();
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n",
            fill_placeholders(&self.path, number, room),
            self.authority,
        );
        (request.into_bytes(), accept_for(&key))
    }

    /// Returns the source address of connection `number` if one address has ports for `per_address` connections.
    /// `None` lets the system choose. Only loopback has more than one address.
    pub(super) fn source(&self, number: usize, per_address: usize) -> Option<SocketAddr> {
        let nth = number / per_address.max(1);
        let loopback = matches!(self.address.ip(), IpAddr::V4(ip) if ip.is_loopback());
        let last = u8::try_from(nth + 1).ok().filter(|_| nth > 0 && loopback)?;
        Some(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)))
    }

    /// Returns how many connections are possible with `per_address` ports for each source address.
    pub(super) fn most_connections(&self, per_address: usize) -> usize {
        let loopback = matches!(self.address.ip(), IpAddr::V4(ip) if ip.is_loopback());
        per_address * if loopback { 254 } else { 1 }
    }
}

/// The result of checking the response to a handshake.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HandshakeState {
    /// The head of the response is not complete.
    Incomplete,
    /// The connection is open.
    Open {
        /// Offset of the response at which frames begin.
        frames_at: usize,
        /// The server has accepted the offer to compress messages.
        deflates: bool,
    },
    /// The server refused, or is no WebSocket server; contains its answer.
    Refused(String),
}

/// Longest head of a response, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// Checks the bytes of the response to a handshake that have arrived so far (RFC 6455 section 4.1).
pub(super) fn check_response(response: &[u8], accept: &str) -> HandshakeState {
    let Some(end) = memchr::memmem::find(response, b"\r\n\r\n") else {
        if response.len() > MAX_HEAD {
            return HandshakeState::Refused(format!(
                "the head of the response is longer than {MAX_HEAD} bytes"
            ));
        }
        return HandshakeState::Incomplete;
    };
    let head = String::from_utf8_lossy(&response[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 101") {
        let body = String::from_utf8_lossy(&response[end + 4..]);
        return HandshakeState::Refused(
            format!("{status} {}", body.trim()).trim().chars().take(200).collect(),
        );
    }
    let headers: Vec<_> = lines.filter_map(|line| line.split_once(':')).collect();
    let value = |wanted: &str| {
        let mut headers = headers.iter();
        headers.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
    };
    if value("sec-websocket-accept") == Some(accept) {
        let extensions = value("sec-websocket-extensions");
        let deflates = extensions.is_some_and(|accepted| accepted.starts_with(NAME));
        HandshakeState::Open { frames_at: end + 4, deflates }
    } else {
        HandshakeState::Refused("101 with a wrong Sec-WebSocket-Accept".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_parsed_and_its_placeholders_are_replaced() {
        let headers = ["X-User: {i}".to_owned()];
        let target = Target::parse("ws://127.0.0.1:8080/ws/chat/u{i}?room={r}", &headers, Trust::System)
            .expect("a URL");
        assert_eq!(target.address, SocketAddr::from(([127, 0, 0, 1], 8080)));
        let (request, accept) = target.request(7, 3);
        let request = String::from_utf8(request).expect("text");
        assert!(
            request.starts_with("GET /ws/chat/u00007?room=3 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n"),
            "{request}"
        );
        assert!(request.ends_with("\r\nX-User: 00007\r\n\r\n"), "{request}");
        assert_eq!(accept.len(), 28);
        assert_eq!(
            Target::parse("ws://127.0.0.1?x", &[], Trust::System).map(|target| target.path).ok().as_deref(),
            Some("/?x")
        );
    }

    #[test]
    fn malformed_urls_and_headers_are_refused() {
        for url in
            ["http://127.0.0.1/", "WSS://127.0.0.1/", "ws://", "ws://127.0.0.1:99999/", "ws://127.0.0.1/a b"]
        {
            assert!(Target::parse(url, &[], Trust::System).is_err(), "{url}");
        }
        for header in ["no colon", ": x", "a b: c", "A: b\r\nC: d"] {
            assert!(Target::parse("ws://127.0.0.1/", &[header.into()], Trust::System).is_err(), "{header}");
        }
    }

    #[test]
    fn a_secure_url_has_its_own_port_and_trusts_as_it_is_told() {
        let secure = Target::parse("wss://127.0.0.1/", &[], Trust::Any).expect("a URL");
        assert_eq!((secure.address.port(), secure.tls.is_some()), (443, true));
        let near = Target::parse("wss://[::1]:8443/x", &[], Trust::Any).expect("a URL");
        assert_eq!((near.address.to_string().as_str(), near.path.as_str()), ("[::1]:8443", "/x"));
        let plain = Target::parse("ws://127.0.0.1/", &[], Trust::System).expect("a URL");
        assert!(plain.tls.is_none());
        assert!(Target::parse("ws://127.0.0.1/", &[], Trust::Any).is_err(), "there is nothing to trust");
    }

    #[test]
    fn sources_change_when_the_ports_of_one_are_used_up() {
        let near = Target::parse("ws://127.0.0.1:1/", &[], Trust::System).expect("a URL");
        assert_eq!((near.source(9, 10), near.source(10, 10)), (None, Some(([127, 0, 0, 2], 0).into())));
        let far = Target::parse("ws://192.0.2.1:1/", &[], Trust::System).expect("a URL");
        assert_eq!((far.source(10, 10), far.most_connections(10)), (None, 10));
    }

    #[test]
    fn only_the_right_101_opens() {
        // The key and answer of RFC 6455 section 1.3.
        let accept = accept_for("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let good = format!("HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: {accept}\r\n\r\n");
        for cut in 0..good.len() {
            assert_eq!(check_response(&good.as_bytes()[..cut], &accept), HandshakeState::Incomplete);
        }
        assert_eq!(
            check_response(format!("{good}\u{1}x").as_bytes(), &accept),
            HandshakeState::Open { frames_at: good.len(), deflates: false }
        );
        let deflates = good.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
        assert_eq!(
            check_response(deflates.as_bytes(), &accept),
            HandshakeState::Open { frames_at: deflates.len(), deflates: true }
        );
        assert!(matches!(check_response(good.as_bytes(), "other"), HandshakeState::Refused(_)));
        let refused = check_response(b"HTTP/1.1 503 Service Unavailable\r\n\r\n{}", &accept);
        assert_eq!(refused, HandshakeState::Refused("HTTP/1.1 503 Service Unavailable {}".into()));
        assert!(matches!(check_response(&[b'x'; MAX_HEAD + 1], &accept), HandshakeState::Refused(_)));
    }
}
