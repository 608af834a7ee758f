//! What is measured: a WebSocket URL with placeholders, and the request each connection makes of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

/// RFC 6455 section 1.3.
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Where connections go and what they ask for.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// As given, placeholders and all.
    pub(super) url: String,
    /// What the host's name stands for.
    pub(super) address: SocketAddr,
    authority: String,
    path: String,
    headers: Vec<String>,
}

/// Puts a connection's number (five digits, so that it makes a user id) and its room into a text.
pub(super) fn fill(text: &str, number: usize, room: usize) -> String {
    text.replace("{i}", &format!("{number:05}")).replace("{r}", &room.to_string())
}

/// What a server must answer to `key` (RFC 6455 section 4.2.2).
fn accept_for(key: &str) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(ACCEPT_GUID).finalize())
}

impl Target {
    /// Reads `ws://HOST[:PORT][/PATH]`. `headers` are whole lines, `Name: value`; placeholders are allowed in both.
    ///
    /// # Errors
    /// The URL is no `ws://` URL, its host has no address, or a header is no header.
    pub(super) fn parse(url: &str, headers: &[String]) -> anyhow::Result<Self> {
        let Some(rest) = url.strip_prefix("ws://") else {
            bail!("{url}: must begin with ws:// (TLS is not spoken here: measure behind what terminates it)")
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let safe = |text: &str| text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        ensure!(safe(url) && !url.contains([' ', '#']), "{url}: blanks and such must be percent-encoded");
        for header in headers {
            let named =
                header.split_once(':').is_some_and(|(name, _)| !name.is_empty() && !name.contains(' '));
            ensure!(named && safe(header), "{header}: a header is `Name: value`");
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let dialled = if has_port { authority.to_owned() } else { format!("{authority}:80") };
        let addresses =
            dialled.to_socket_addrs().with_context(|| format!("{url}: no address for {authority}"))?;
        // A name for loopback is often ::1 first, where few servers listen.
        let address =
            addresses.min_by_key(SocketAddr::is_ipv6).with_context(|| format!("{url}: no address"))?;
        Ok(Self { url: url.into(), address, authority: authority.into(), path, headers: headers.to_vec() })
    }

    /// The handshake of connection `number`, and the `Sec-WebSocket-Accept` that must answer it.
    pub(super) fn request(&self, number: usize, room: usize) -> (Vec<u8>, String) {
        let mut nonce = [0; 16];
        nonce.fill_with(|| fastrand::u8(..));
        let key = STANDARD.encode(nonce);
        let headers: String =
            self.headers.iter().map(|header| format!("{}\r\n", fill(header, number, room))).collect();
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n",
            fill(&self.path, number, room),
            self.authority,
        );
        (request.into_bytes(), accept_for(&key))
    }

    /// Where connection `number` comes from when one source address has ports for `per_address` connections: `None` is
    /// for the system to choose. Loopback has more addresses than one.
    pub(super) fn source(&self, number: usize, per_address: usize) -> Option<SocketAddr> {
        let nth = number / per_address.max(1);
        let loopback = matches!(self.address.ip(), IpAddr::V4(ip) if ip.is_loopback());
        let last = u8::try_from(nth + 1).ok().filter(|_| nth > 0 && loopback)?;
        Some(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)))
    }

    /// Most connections there are ports for, `per_address` each.
    pub(super) fn most_connections(&self, per_address: usize) -> usize {
        let loopback = matches!(self.address.ip(), IpAddr::V4(ip) if ip.is_loopback());
        per_address * if loopback { 254 } else { 1 }
    }
}

/// What came back on a handshake.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The head is not complete.
    More,
    /// The connection is open; frames begin at this place.
    Open(usize),
    /// The server refused, or is no WebSocket server; says how it answered.
    Refused(String),
}

/// Longest head of a response that is waited for.
const MAX_HEAD: usize = 16 * 1024;

/// Judges the bytes that have come so far in answer to a handshake (RFC 6455 section 4.1).
pub(super) fn judge(response: &[u8], accept: &str) -> Answer {
    let Some(end) = memchr::memmem::find(response, b"\r\n\r\n") else {
        let endless = response.len() > MAX_HEAD;
        return if endless { Answer::Refused("no end of the response's head".into()) } else { Answer::More };
    };
    let head = String::from_utf8_lossy(&response[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 101") {
        let body = String::from_utf8_lossy(&response[end + 4..]);
        return Answer::Refused(format!("{status} {}", body.trim()).trim().chars().take(200).collect());
    }
    let header = lines.filter_map(|line| line.split_once(':'));
    let mut accepted = header.filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-accept"));
    if accepted.next().is_some_and(|(_, value)| value.trim() == accept) {
        Answer::Open(end + 4)
    } else {
        Answer::Refused("101 with a wrong Sec-WebSocket-Accept".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_filled_in() {
        let headers = ["X-User: {i}".to_owned()];
        let target = Target::parse("ws://127.0.0.1:8080/ws/chat/u{i}?room={r}", &headers).expect("a URL");
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
            Target::parse("ws://127.0.0.1?x", &[]).map(|target| target.path).ok().as_deref(),
            Some("/?x")
        );
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for url in
            ["http://127.0.0.1/", "wss://127.0.0.1/", "ws://", "ws://127.0.0.1:99999/", "ws://127.0.0.1/a b"]
        {
            assert!(Target::parse(url, &[]).is_err(), "{url}");
        }
        for header in ["no colon", ": x", "a b: c", "A: b\r\nC: d"] {
            assert!(Target::parse("ws://127.0.0.1/", &[header.into()]).is_err(), "{header}");
        }
    }

    #[test]
    fn sources_change_when_the_ports_of_one_are_used_up() {
        let near = Target::parse("ws://127.0.0.1:1/", &[]).expect("a URL");
        assert_eq!((near.source(9, 10), near.source(10, 10)), (None, Some(([127, 0, 0, 2], 0).into())));
        let far = Target::parse("ws://192.0.2.1:1/", &[]).expect("a URL");
        assert_eq!((far.source(10, 10), far.most_connections(10)), (None, 10));
    }

    #[test]
    fn only_the_right_101_opens() {
        // The key and answer of RFC 6455 section 1.3.
        let accept = accept_for("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let good = format!("HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: {accept}\r\n\r\n");
        for cut in 0..good.len() {
            assert_eq!(judge(&good.as_bytes()[..cut], &accept), Answer::More);
        }
        assert_eq!(judge(format!("{good}\u{1}x").as_bytes(), &accept), Answer::Open(good.len()));
        assert!(matches!(judge(good.as_bytes(), "other"), Answer::Refused(_)));
        let refused = judge(b"HTTP/1.1 503 Service Unavailable\r\n\r\n{}", &accept);
        assert_eq!(refused, Answer::Refused("HTTP/1.1 503 Service Unavailable {}".into()));
        assert!(matches!(judge(&[b'x'; MAX_HEAD + 1], &accept), Answer::Refused(_)));
    }
}
