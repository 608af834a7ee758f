//! Permanent failures: the Rust client and the terminal chat name the fault and stop.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use throng::client::{Client, Event, SendError, State, UNTRUSTED};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::support::rust_client::{Own, builder};
use crate::support::server::{Server, run};

const CERTIFICATE: &str = include_str!("../keys/TEST-ONLY-localhost.certificate.pem");
const EXPIRED: &str = include_str!("../keys/TEST-ONLY-localhost-until-2021.certificate.pem");
const STRANGER: &str = include_str!("../keys/TEST-ONLY-stranger.certificate.pem");
const KEY: &str = include_str!("../keys/TEST-ONLY-localhost.private.pem");

const USAGE: i32 = 64;
const UNAVAILABLE: i32 = 69;

/// A proxy that terminates TLS in front of a server, on a runtime of its own; dropping it ends it.
struct Front {
    port: u16,
    _runtime: tokio::runtime::Runtime,
}

impl Front {
    fn of(server: SocketAddr, certificate: &str) -> Self {
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("versions").with_no_client_auth().with_single_cert(chain, key);
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config.expect("they fit")));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let (Ok(mut client), Ok(mut server)) =
                        (acceptor.accept(client).await, TcpStream::connect(server).await)
                    else {
                        return;
                    };
                    // An error means that one side has ended, which ends the other.
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { port, _runtime: runtime }
    }

    fn url(&self) -> String {
        format!("wss://localhost:{}", self.port)
    }
}

/// Runs a future on a runtime of this thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// Starts a client; returns why it stopped. Panics when it tries again.
fn stopped(url: &str, ca: &str) -> String {
    block_on(async {
        let mut own = Own::start(builder(url, "ann").ca(ca));
        let client = own.client.clone();
        let said = client.say("lobby", "hi");
        let told = own.until("a stop", |event| match event {
            Event::State(State::Stopped { reason }) => Some(reason.clone()),
            Event::State(State::Waiting { reason, .. }) => panic!("it goes on trying: {reason}"),
            _ => None,
        });
        let (said, reason) = tokio::join!(said, told);
        assert_eq!(said, Err(SendError::Stopped(reason.clone())));
        assert_eq!(reason.code, None);
        reason.reason
    })
}

#[test]
fn an_untrusted_certificate_is_reported_and_not_tried_again() {
    let server = Server::start(&[]);
    let front = Front::of(server.address(), CERTIFICATE);
    let untrusted = stopped(&front.url(), STRANGER);
    assert!(untrusted.starts_with(UNTRUSTED), "{untrusted}");
    let other_name = stopped(&format!("wss://127.0.0.1:{}", front.port), CERTIFICATE);
    assert!(other_name.starts_with("the server's certificate is for another name"), "{other_name}");
    let late = Front::of(server.address(), EXPIRED);
    let expired = stopped(&late.url(), EXPIRED);
    assert!(expired.starts_with("the server's certificate has expired"), "{expired}");
    let plain = stopped(&format!("wss://{}", server.address()), CERTIFICATE);
    assert!(plain.starts_with("the server does not speak TLS"), "{plain}");
}

#[test]
fn a_certificate_that_is_named_is_trusted() {
    let server = Server::start(&[]);
    let front = Front::of(server.address(), CERTIFICATE);
    block_on(async {
        let mut ann = Own::start(builder(&front.url(), "ann").ca(CERTIFICATE));
        assert_eq!(ann.client.say("lobby", "hi").await.map(|ack| ack.offset), Ok(1));
        assert_eq!(ann.heard().await, "hi");
        // The right certificate may be one of several.
        let both = format!("{STRANGER}{CERTIFICATE}");
        let mut bob = Own::start(builder(&front.url(), "bob").ca(both));
        bob.until("a welcome", |event| matches!(event, Event::Welcome { .. }).then_some(())).await;
    });
    for none in ["", "no PEM", KEY, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let error = Client::builder(&front.url()).user("ann").ca(none).connect().expect_err("no certificate");
        assert!(error.to_string().starts_with("ca: "), "{error}");
    }
}

fn key_file(name: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "keys", name].iter().collect();
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn the_terminal_names_the_fault_of_a_certificate_and_accepts_a_named_one() {
    let server = Server::start(&[]);
    let front = Front::of(server.address(), CERTIFICATE);
    let chat = |arguments: &[&str]| {
        let output =
            run(&[&["chat", &front.url(), "--user", "ann", "--timeout", "1h"], arguments].concat(), &[]);
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, told, error) = chat(&["--ca", &key_file("TEST-ONLY-stranger.certificate.pem")]);
    assert_eq!(code, Some(UNAVAILABLE), "{told}{error}");
    assert!(told.contains(&format!("-- stopped: {UNTRUSTED}")) && !told.contains("reconnecting"), "{told}");
    assert!(error.contains(UNTRUSTED) && error.contains("--ca FILE names a certificate to trust"), "{error}");
    let (code, told, error) = chat(&["--ca", &key_file("TEST-ONLY-localhost.certificate.pem")]);
    assert_eq!((code, &*error), (Some(0), ""), "{told}");
    assert!(told.contains("-- connected as ann in lobby"), "{told}");
    for (file, why) in [("README.md", "ca: no certificate in PEM"), ("none.pem", "cannot read ")] {
        let (code, _, error) = chat(&["--ca", &key_file(file)]);
        assert_eq!(code, Some(USAGE), "{error}");
        assert!(error.contains(why), "{error}");
    }
}

/// Starts a server that answers every request with `response`; returns its address.
async fn answering(response: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && matches!(socket.read_buf(&mut head).await, Ok(1..)) {}
            // An error is fine: the client may have gone.
            let _ = socket.write_all(response.as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn a_permanent_refusal_is_not_tried_again() {
    for (response, why) in [
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "404"),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "403"),
        ("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n", "426"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "200"),
        ("HTTP/1.1 301 Moved Permanently\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "301"),
        (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: keep-alive\r\n\r\n",
            "does not speak the protocol throng.v1",
        ),
    ] {
        let address = answering(response).await;
        let reason = Own::start(builder(&format!("ws://{address}"), "ann")).stopped().await;
        assert!(reason.reason.contains(why), "{reason}");
    }
    for response in [
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        "",
    ] {
        let address = answering(response).await;
        let mut own = Own::start(builder(&format!("ws://{address}"), "ann"));
        own.away().await;
        own.away().await;
    }
}

#[test]
fn an_invalid_address_is_wrong_usage() {
    for url in ["ftp://h", "ws://chat..example", "chat.example", "ws://h/?token=x"] {
        let output = run(&["chat", url, "--user", "ann"], &[]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(USAGE), "{url}: {error}");
        assert!(error.contains("url: "), "{url}: {error}");
    }
}

#[test]
fn the_calls_of_the_api_trust_the_certificates_that_are_named() {
    let server = Server::start(&[("api.keys", "an-example-key-of-16")]);
    let front = Front::of(server.address(), CERTIFICATE);
    let url = format!("https://localhost:{}", front.port);
    let call = |ca: &str| {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        std::io::Write::write_all(&mut file, ca.as_bytes()).expect("written");
        let path = file.path().to_str().expect("a path in UTF-8");
        run(&["api", "info", "--url", &url, "--ca", path], &[("api_key", "an-example-key-of-16")])
    };
    let trusted = call(CERTIFICATE);
    assert_eq!(trusted.status.code(), Some(0), "{trusted:?}");
    assert!(trusted.stdout.starts_with(b"NODE"), "{trusted:?}");
    for (ca, code) in [(STRANGER, UNAVAILABLE), ("nothing", USAGE)] {
        let refused = call(ca);
        assert_eq!((refused.status.code(), &*refused.stdout), (Some(code), &b""[..]), "{refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("certificate"), "{refused:?}");
    }
}
