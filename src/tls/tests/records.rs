//! Messages of TLS after the handshake, and peers that do not keep to the rules.

use std::sync::Arc;

use super::super::TlsError;
use super::authority::{Authority, localhost};
use super::peers::{Peers, VERSIONS, client_config};

fn established(version: usize) -> Peers {
    let authority = Authority::new();
    let client = Arc::new(client_config(authority.roots(), VERSIONS[version]));
    let mut peers = Peers::new(localhost(&authority, None), &client);
    peers.shake_hands(|| usize::MAX);
    peers
}

#[test]
fn keys_are_updated_when_the_client_asks_for_it() {
    let mut peers = established(1);
    for round in 0..40_u8 {
        peers.client.refresh_traffic_keys().unwrap();
        peers.ask(&[round], || 1);
        assert_eq!(peers.received.pop(), Some(round));
        // The server's own update leaves before its next message.
        assert_eq!(peers.tell(&[&[round]]), [round]);
    }
}

#[test]
fn updates_that_nobody_waits_for_are_not_answered_for_ever() {
    let mut peers = established(1);
    let error = (0..1000).find_map(|_| {
        peers.client.refresh_traffic_keys().unwrap();
        let bytes = peers.client_bytes();
        peers.deliver(&bytes, || usize::MAX).err()
    });
    assert!(matches!(error, Some(TlsError::Protocol(_))), "{error:?}");
}

#[test]
fn a_record_in_which_one_bit_is_wrong_ends_the_connection_with_an_alert() {
    for version in [0, 1] {
        let mut peers = established(version);
        std::io::Write::write_all(&mut peers.client.writer(), b"hello").unwrap();
        let mut bytes = peers.client_bytes();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let error = peers.deliver(&bytes, || 5).unwrap_err();
        assert!(matches!(error, TlsError::Protocol(rustls::Error::DecryptError)), "{error}");
        assert!(peers.received.is_empty());
        let told = peers.answer().unwrap_err();
        assert!(matches!(told, rustls::Error::AlertReceived(_)), "{told}");
    }
}

#[test]
fn bytes_that_are_no_tls_are_refused_at_once() {
    for bytes in
        [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], b"\x16\x03\x01\xff\xff", b"\x00\x00\x00\x00\x00\x00"]
    {
        let authority = Authority::new();
        let client = Arc::new(client_config(authority.roots(), VERSIONS[1]));
        let mut peers = Peers::new(localhost(&authority, None), &client);
        assert!(peers.deliver(bytes, || 1).is_err(), "{bytes:?}");
    }
}

#[test]
fn a_hello_without_end_is_not_held_without_end() {
    let authority = Authority::new();
    let client = Arc::new(client_config(authority.roots(), VERSIONS[1]));
    let mut peers = Peers::new(localhost(&authority, None), &client);
    // A ClientHello of 65,535 bytes in records of 1,000.
    let mut body = vec![1, 0, 0xff, 0xff];
    body.resize(65_000, 0);
    let mut sent = 0;
    let error = body.chunks(1000).find_map(|chunk| {
        let mut record = vec![0x16, 3, 1, (chunk.len() >> 8) as u8, chunk.len() as u8];
        record.extend_from_slice(chunk);
        sent += record.len();
        peers.deliver(&record, || usize::MAX).err()
    });
    assert!(error.is_some() && sent < 40_000, "{sent} bytes: {error:?}");
}

#[test]
fn nothing_is_written_before_the_handshake() {
    let authority = Authority::new();
    let client = Arc::new(client_config(authority.roots(), VERSIONS[1]));
    let mut peers = Peers::new(localhost(&authority, None), &client);
    assert!(peers.tls.encrypt(b"early", &mut Vec::new()).is_err());
    peers.tls.close();
    assert!(!peers.tls.wants_write());
}
