//! TLS, with the certificates that tests share.

use std::path::{Path, PathBuf};

use super::*;

fn key(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys").join(format!("TEST-ONLY-{name}.pem"))
}

fn start(auth_clients: &str) -> TestServer {
    let (certificate, private) = (key("localhost.certificate"), key("localhost.private"));
    let (certificate, private) = (certificate.to_str().unwrap(), private.to_str().unwrap());
    TestServer::start_with(&[
        ("tls-cert-file", certificate),
        ("tls-key-file", private),
        ("tls-ca-cert-file", certificate),
        ("tls-auth-clients", auth_clients),
    ])
}

fn settings(server: &TestServer, ca: Option<&str>) -> ServerSettings {
    let mut settings = server.settings();
    settings.host = "localhost".into();
    settings.tls = Some(TlsSettings { ca_file: ca.map(key), identity: None });
    // A machine that does much else takes its time for the handshake.
    settings.timings.connect = Duration::from_secs(10);
    settings
}

#[tokio::test]
async fn a_server_with_a_trusted_certificate_is_used() {
    let server = start("no");
    let mut tried = Tried::start(settings(&server, Some("localhost.certificate")));
    tried.wait_for_up().await;
    assert_eq!(tried.ask(command("PING")).await, Ok(text("PONG")));
    tried.link.subscribe("room".into());
    assert_eq!(tried.next().await, Event::Subscribed { channel: "room".into() });
}

#[tokio::test]
async fn a_stranger_is_not_trusted() {
    let server = start("no");
    for ca in [Some("stranger.certificate"), None] {
        let reason = Tried::start(settings(&server, ca)).wait_for_down().await;
        assert!(reason.to_string().contains("certificate"), "{reason:?}");
    }
    let mut by_address = settings(&server, Some("localhost.certificate"));
    by_address.host = "127.0.0.1".into();
    let reason = Tried::start(by_address).wait_for_down().await;
    assert!(reason.to_string().contains("certificate"), "{reason:?}");
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_one() {
    let server = start("yes");
    let mut settings = settings(&server, Some("localhost.certificate"));
    let refused = Tried::start(settings.clone()).wait_for_down().await;
    assert!(matches!(refused, DownReason::Closed | DownReason::Unreachable(_)), "{refused:?}");
    let identity = (key("localhost.certificate"), key("localhost.private"));
    settings.tls.as_mut().unwrap().identity = Some(identity);
    Tried::start(settings).wait_for_up().await;
}

#[tokio::test]
async fn unusable_files_are_named() {
    let server = start("no");
    let reason = Tried::start(settings(&server, Some("no-such-file"))).wait_for_down().await;
    assert!(matches!(&reason, DownReason::Tls(text) if text.contains("no-such-file")), "{reason:?}");
    let mut settings = settings(&server, None);
    settings.tls.as_mut().unwrap().identity = Some((key("localhost.private"), key("localhost.certificate")));
    let reason = Tried::start(settings).wait_for_down().await;
    assert!(matches!(&reason, DownReason::Tls(_)), "{reason:?}");
}
