//! Keys of tokens as a JSON Web Key Set, from a file and from a URL.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::frame::text;
use crate::support::raw::Socket;
use crate::support::server::{Server, run};
use crate::support::token::{KeyPair, PAIRS, SECRET, seconds_from_now, signed};

/// An issuer of tokens: a server that answers every request with its set, or with 503 while it has none.
struct Issuer {
    address: SocketAddr,
    set: Arc<Mutex<Option<Value>>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    fn start(set: Option<Value>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (set, asked) = (Arc::new(Mutex::new(set)), Arc::new(AtomicUsize::new(0)));
        let (body, count) = (Arc::clone(&set), Arc::clone(&asked));
        // The thread ends with the process of the tests.
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let Ok(mut socket) = socket else { continue };
                let mut head = [0; 4096];
                let _ = socket.read(&mut head);
                count.fetch_add(1, SeqCst);
                let (status, body) = match &*body.lock() {
                    Some(set) => ("200 OK", set.to_string()),
                    None => ("503 Service Unavailable", String::new()),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = socket.write_all((head + &body).as_bytes());
            }
        });
        Self { address, set, asked }
    }

    fn serve(&self, algorithm: &str, more: &[(&str, &str)]) -> Server {
        let url = format!("http://{}/keys", self.address);
        let own = [("auth.algorithm", algorithm), ("auth.jwks_url", url.as_str())];
        Server::start(&[&own, more].concat())
    }

    fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }
}

fn pair() -> &'static KeyPair {
    PAIRS.iter().find(|pair| pair.name == "EdDSA").expect("a pair")
}

/// Returns a set with the tests' key of Ed25519 under these names, and a symmetric key.
fn set(kids: &[&str]) -> Value {
    let body: String = pair().public.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(body).expect("PEM is base64");
    let x = URL_SAFE_NO_PAD.encode(&der[der.len() - 32..]);
    let keys = kids.iter().map(|kid| json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x}));
    let oct = json!({"kty": "oct", "kid": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET), "alg": "HS256"});
    json!({"keys": keys.chain([oct]).collect::<Vec<_>>()})
}

fn token(kid: Option<&str>) -> String {
    pair().sign_as(kid, &json!({"sub": "alice", "exp": seconds_from_now(600)}))
}

/// Returns how a newcomer with this token is answered: the close code, or 0 when it is let in.
#[track_caller]
fn enter(server: &Server, token: &str) -> u16 {
    let mut socket = Socket::open(server.address(), &format!("/ws/secure?token={token}"));
    socket.send(text("hi"));
    let frame = socket.read_frame();
    if frame.opcode == crate::support::frame::TEXT { 0 } else { frame.closing().0 }
}

#[test]
fn a_new_key_is_fetched_once_however_many_strangers_invent_one() {
    let issuer = Issuer::start(Some(set(&["a"])));
    let server = issuer.serve("EdDSA", &[]);
    eventually("ready", || server.get("/readyz").status == 200);
    assert_eq!([enter(&server, &token(Some("a"))), enter(&server, &token(None))], [0, 0]);
    // A symmetric key of the set verifies nothing, and another algorithm fetches nothing.
    let claims = json!({"sub": "alice", "exp": seconds_from_now(600)});
    assert_eq!(enter(&server, &signed(Algorithm::HS256, SECRET, &claims)), 1008);
    assert_eq!(issuer.asked(), 1);
    *issuer.set.lock() = Some(set(&["b", "c"]));
    assert_eq!([enter(&server, &token(Some("b"))), enter(&server, &token(Some("c")))], [0, 0]);
    assert_eq!(issuer.asked(), 2);
    // A token has to say which of two keys it means.
    assert_eq!(enter(&server, &token(None)), 1013);
    for stranger in 0..20 {
        assert_eq!(enter(&server, &token(Some(&format!("invented-{stranger}")))), 1013);
    }
    assert_eq!(enter(&server, &token(Some("a"))), 1013, "it was removed");
    assert_eq!(issuer.asked(), 2);
    assert!(server.metric("throng_jwks_age_seconds", "") < 60.0);
    assert_eq!(server.metric("throng_jwks_failures_total", ""), 0.0);
}

/// An unknown key that the set still lacks when it was fetched for it is a bad token.
#[test]
fn a_key_that_the_issuer_does_not_have_is_no_key() {
    let issuer = Issuer::start(Some(set(&["a"])));
    let server = issuer.serve("EdDSA", &[]);
    eventually("ready", || server.get("/readyz").status == 200);
    assert_eq!(enter(&server, &token(Some("invented"))), 1008);
    assert_eq!(issuer.asked(), 2);
}

#[test]
fn a_server_without_a_set_is_not_ready_and_sends_nobody_away_for_good() {
    let issuer = Issuer::start(None);
    let server = issuer.serve("EdDSA", &[]);
    eventually("a fetch has failed", || server.metric("throng_jwks_failures_total", "") > 0.0);
    let ready = server.get("/readyz");
    assert_eq!((ready.status, ready.body.as_str()), (503, "no keys for tokens\n"));
    assert_eq!(enter(&server, &token(Some("a"))), 1013);
    *issuer.set.lock() = Some(set(&["a"]));
    eventually("ready", || server.get("/readyz").status == 200);
    assert_eq!(enter(&server, &token(Some("a"))), 0);
    // While the issuer does not answer, the last set holds.
    *issuer.set.lock() = None;
    assert_eq!(enter(&server, &token(Some("a"))), 0);
}

#[test]
fn a_file_may_have_the_set() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("keys.json");
    let path = file.to_str().expect("a path");
    std::fs::write(&file, set(&["a", "b"]).to_string()).expect("a file");
    let server = Server::start(&[("auth.algorithm", "EdDSA"), ("auth.jwks_file", path)]);
    let codes = [Some("a"), Some("b"), Some("c"), None].map(|kid| enter(&server, &token(kid)));
    assert_eq!(codes, [0, 0, 1008, 1008]);
    std::fs::write(&file, "{}").expect("a file");
    for (settings, said) in [
        (vec![("auth.algorithm", "EdDSA"), ("auth.jwks_file", path)], "is not a JSON Web Key Set"),
        (vec![("auth.jwks_url", "https://issuer.example/keys")], "HS256 takes auth.secret"),
        (vec![("auth.algorithm", "EdDSA"), ("auth.jwks_url", "http://8.8.8.8/keys")], "an https URL"),
    ] {
        let output = run(&["check-config"], &settings);
        let answer = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && answer.contains(said), "{settings:?}: {answer}");
    }
}
