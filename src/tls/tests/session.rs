//! Handshakes, plaintext both ways, resumption, and the end.

use std::io;
use std::io::IoSlice;
use std::sync::Arc;

use rustls::HandshakeKind;

use super::super::outgoing::RECORD_BYTES;
use super::super::{Received, TlsError};
use super::authority::{Authority, localhost};
use super::peers::{Peers, VERSIONS, client_config, known_client_config};

/// Runs a story in each version of TLS, after the handshake.
fn in_each_version(story: impl Fn(&mut Peers)) {
    let authority = Authority::new();
    let server = localhost(&authority, None);
    for version in VERSIONS {
        let client = Arc::new(client_config(authority.roots(), version));
        let mut peers = Peers::new(Arc::clone(&server), &client);
        peers.shake_hands(|| usize::MAX);
        story(&mut peers);
    }
}

#[test]
fn plaintext_passes_both_ways_however_the_bytes_are_split() {
    let authority = Authority::new();
    let server = localhost(&authority, None);
    let long: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
    for version in VERSIONS {
        let client = Arc::new(client_config(authority.roots(), version));
        for seed in 0..20 {
            let mut random = fastrand::Rng::with_seed(seed);
            let most = if seed == 0 { 1 } else { 1 << random.usize(0..16) };
            let mut next = || random.usize(1..=most);
            let mut peers = Peers::new(Arc::clone(&server), &client);
            peers.shake_hands(&mut next);
            assert_eq!(peers.client.alpn_protocol(), Some(&b"http/1.1"[..]));
            for length in [0, 1, 1000, if most == 1 { 20_000 } else { long.len() }] {
                peers.received.clear();
                peers.ask(&long[..length], &mut next);
                assert!(peers.received == long[..length], "seed {seed}, {length} bytes to the server");
                assert!(
                    peers.tell(&[&long[..length]]) == long[..length],
                    "seed {seed}, {length} to the client"
                );
            }
        }
    }
}

#[test]
fn many_small_buffers_share_records() {
    in_each_version(|peers| {
        let words: Vec<Vec<u8>> = (0..3000_u32).map(|n| format!("message {n};").into_bytes()).collect();
        let mut parts: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let large = vec![7; RECORD_BYTES + 1];
        parts.insert(100, &large);
        parts.insert(1000, &[]);
        parts.push(&[]);
        assert_eq!(peers.tell(&parts), parts.concat());
        let slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut writes = 0;
        let taken = peers.tls.write(&slices, &mut peers.scratch, |record| {
            writes += 1;
            Ok(record.len())
        });
        assert_eq!(taken.unwrap(), parts.concat().len());
        assert!(writes <= parts.concat().len() / RECORD_BYTES + 4, "{writes} writes");
    });
}

#[test]
fn bytes_that_the_socket_does_not_take_leave_first_and_are_17_kib_at_most() {
    in_each_version(|peers| {
        let plain: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
        let (mut at, mut told, mut wire) = (0, Vec::new(), Vec::new());
        let mut random = fastrand::Rng::with_seed(1);
        while at < plain.len() {
            let mut space = random.usize(0..40_000);
            let slices = [IoSlice::new(&plain[at..])];
            let result = peers.tls.write(&slices, &mut peers.scratch, |bytes| {
                let taken = bytes.len().min(space);
                if taken == 0 {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                wire.extend_from_slice(&bytes[..taken]);
                space -= taken;
                Ok(taken)
            });
            match result {
                Ok(taken) => at += taken,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            assert!(format!("{:?}", peers.tls).contains("tail"), "the debug text names the tail");
            for part in std::mem::take(&mut wire).chunks(8 * 1024) {
                peers.hand_to_client(part).unwrap();
                told.extend(peers.read_client());
            }
        }
        let mut wire = Vec::new();
        assert!(
            peers.tls.wants_write() != peers.tls.flush(|_| Err(io::ErrorKind::WouldBlock.into())).unwrap()
        );
        let tail = peers.tls.flush(|bytes| {
            wire.extend_from_slice(bytes);
            Ok(bytes.len())
        });
        assert!(tail.unwrap() && wire.len() <= RECORD_BYTES + 512, "{} bytes", wire.len());
        peers.hand_to_client(&wire).unwrap();
        told.extend(peers.read_client());
        assert!(told == plain);
        let gone = peers.tls.write(&[IoSlice::new(b"x")], &mut peers.scratch, |_| Ok(0));
        assert_eq!(gone.unwrap_err().kind(), io::ErrorKind::WriteZero);
    });
}

#[test]
fn a_session_is_resumed_and_the_client_certificate_is_demanded_again() {
    let authority = Authority::new();
    let server = localhost(&authority, Some(authority.roots()));
    for version in VERSIONS {
        let client = authority.issue(&["operator"], (2020, 2120)).der;
        let client = Arc::new(known_client_config(authority.roots(), version, client));
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut peers = Peers::new(Arc::clone(&server), &client);
            peers.shake_hands(|| usize::MAX);
            assert_eq!(peers.client.handshake_kind(), Some(kind), "{version:?}");
            peers.ask(b"GET", || 1);
            assert_eq!(peers.received, b"GET");
        }
    }
}

#[test]
fn a_client_without_a_certificate_is_told_that_it_needs_one() {
    let authority = Authority::new();
    let server = localhost(&authority, Some(authority.roots()));
    for version in VERSIONS {
        let mut peers = Peers::new(Arc::clone(&server), &Arc::new(client_config(authority.roots(), version)));
        let hello = peers.client_bytes();
        peers.deliver(&hello, || usize::MAX).unwrap();
        peers.answer().unwrap();
        let rest = peers.client_bytes();
        let error = peers.deliver(&rest, || usize::MAX).unwrap_err();
        assert!(error.to_string().contains("no certificates"), "{error}");
        let told = peers.answer().unwrap_err();
        assert!(matches!(told, rustls::Error::AlertReceived(_)), "{told}");
    }
}

#[test]
fn a_connection_ends_from_both_sides() {
    in_each_version(|peers| {
        peers.ask(b"last words", || 3);
        peers.client.send_close_notify();
        let mut bytes = peers.client_bytes();
        assert!(matches!(peers.tls.receive_end(), Err(TlsError::Truncated)));
        // Bytes behind the announcement are ignored.
        bytes.extend_from_slice(b"GET / HTTP/1.1");
        assert_eq!(peers.deliver(&bytes, || usize::MAX).unwrap(), Received::Closed);
        assert!(peers.tls.is_closed_by_peer() && peers.tls.receive_end().is_ok());
        assert_eq!(peers.deliver(b"more", || 1).unwrap(), Received::Closed);
        // The server may still write.
        assert_eq!(peers.tell(&[b"farewell"]), b"farewell");
        peers.tls.close();
        peers.tls.close();
        peers.answer().unwrap();
        assert!(peers.client.process_new_packets().unwrap().peer_has_closed());
        let late = peers.tls.write(&[IoSlice::new(b"late")], &mut peers.scratch, |bytes| Ok(bytes.len()));
        assert!(late.is_err());
    });
}

#[test]
fn the_server_announces_its_end_first_and_still_reads() {
    in_each_version(|peers| {
        peers.tls.close();
        peers.answer().unwrap();
        assert!(peers.client.process_new_packets().unwrap().peer_has_closed());
        peers.ask(b"unread", || 2);
        assert_eq!(peers.received, b"unread");
    });
}

#[test]
fn a_client_that_trusts_nobody_here_sends_an_alert() {
    let server = localhost(&Authority::new(), None);
    for version in VERSIONS {
        let client = Arc::new(client_config(Authority::new().roots(), version));
        let mut peers = Peers::new(Arc::clone(&server), &client);
        let hello = peers.client_bytes();
        peers.deliver(&hello, || 7).unwrap();
        assert!(peers.answer().is_err(), "another authority");
        let alert = peers.client_bytes();
        let error = peers.deliver(&alert, || 1).unwrap_err();
        assert!(error.to_string().contains("fatal alert"), "{error}");
        assert!(matches!(peers.deliver(b"x", || 1), Err(TlsError::Ended)), "it has failed for good");
    }
}
