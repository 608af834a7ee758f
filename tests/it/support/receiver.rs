//! A server that throng calls, for webhooks and hooks: it answers as a test says, and remembers what it was asked. It
//! shares no code with throng's own HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::{Condvar, Mutex};
use ring::hmac;
use serde_json::Value;

use super::PATIENCE;

/// A secret of the tests, and another one. Their base64 stands for the bytes 0 to 23 and 1 to 24.
pub(crate) const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
pub(crate) const OTHER_SECRET: &str = "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcY";

/// A request that the receiver got completely.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) raw: String,
    pub(crate) body: Value,
    /// True when the answer was 2xx, and complete.
    pub(crate) is_taken: bool,
}

impl Asked {
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map_or_else(|| panic!("no {name}: {self:?}"), |(_, value)| value)
    }
}

impl Asked {
    /// Checks the signatures of a request as Standard Webhooks say: one of each secret, in this order.
    #[track_caller]
    pub(crate) fn verify(&self, secrets: &[&str]) {
        let (id, at) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        let signed = format!("{id}.{at}.{}", self.raw);
        let signatures: Vec<&str> = self.header("webhook-signature").split(' ').collect();
        assert_eq!(signatures.len(), secrets.len());
        for (signature, secret) in signatures.iter().zip(secrets) {
            let key = STANDARD.decode(&secret["whsec_".len()..]).expect("base64");
            let given = STANDARD.decode(signature.strip_prefix("v1,").expect("version 1")).expect("base64");
            let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
            hmac::verify(&key, signed.as_bytes(), &given).expect("a good signature");
        }
    }
}

/// The way in which a request is answered.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// A status with further header lines, each with its end, and a body.
    Status(u16, &'static str, String),
    /// A part of an answer, and nothing more for as long as the other side waits.
    Hang,
    /// The connection is closed without an answer.
    Drop,
}

impl Answer {
    /// Takes everything.
    pub(crate) fn ok() -> Self {
        Self::Status(204, "", String::new())
    }

    /// Answers with JSON and status 200, for hooks.
    pub(crate) fn json(value: &Value) -> Self {
        Self::Status(200, "Content-Type: application/json\r\n", value.to_string())
    }
}

type Handler = Box<dyn FnMut(&Asked) -> Answer + Send>;

struct State {
    handler: Mutex<Handler>,
    asked: Mutex<Vec<Asked>>,
    changed: Condvar,
}

/// A receiver on a port of loopback, for as long as the test runs.
pub(crate) struct Receiver {
    address: SocketAddr,
    state: Arc<State>,
}

impl Receiver {
    /// Starts a receiver that answers as `handler` says.
    pub(crate) fn start(handler: impl FnMut(&Asked) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let state = Arc::new(State {
            handler: Mutex::new(Box::new(handler)),
            asked: Mutex::default(),
            changed: Condvar::new(),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // The other side may break a connection at any time.
                std::thread::spawn(move || serve(&socket, &shared));
            }
        });
        Self { address, state }
    }

    /// Answers as `handler` says from now on.
    pub(crate) fn answer(&self, handler: impl FnMut(&Asked) -> Answer + Send + 'static) {
        *self.state.handler.lock() = Box::new(handler);
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns all requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().clone()
    }

    /// Waits until the requests so far satisfy `check`, and returns them.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, mut check: impl FnMut(&[Asked]) -> bool) -> Vec<Asked> {
        let mut asked = self.state.asked.lock();
        while !check(&asked) {
            let timeout = self.state.changed.wait_for(&mut asked, PATIENCE);
            assert!(!timeout.timed_out() || check(&asked), "not within {PATIENCE:?}: {what}: {asked:?}");
        }
        asked.clone()
    }

    /// Returns the events that were taken, in the order in which they came.
    pub(crate) fn events(&self) -> Vec<Value> {
        events(&self.asked())
    }

    /// Waits for this many events of a type that were taken; returns all that were taken.
    #[track_caller]
    pub(crate) fn wait_for_events(&self, kind: &str, count: usize) -> Vec<Value> {
        let of_kind = |asked: &[Asked]| events(asked).iter().filter(|event| event["type"] == kind).count();
        events(&self.wait_for(&format!("{count} of {kind}"), |asked| of_kind(asked) >= count))
    }
}

/// Returns the events of the requests that were taken.
pub(crate) fn events(asked: &[Asked]) -> Vec<Value> {
    let taken = asked.iter().filter(|asked| asked.is_taken);
    taken.flat_map(|asked| asked.body["events"].as_array().expect("a list").clone()).collect()
}

/// Writes secrets to a file, and returns its path.
pub(crate) fn secret_file(dir: &Path, secrets: &[&str]) -> String {
    let path = dir.join("webhook-secrets");
    std::fs::write(&path, secrets.join("\n") + "\n").expect("a file");
    path.to_str().expect("UTF-8").to_owned()
}

/// Answers the requests of one connection. Returns `None` at its end.
fn serve(socket: &TcpStream, state: &State) -> Option<()> {
    let mut reader = BufReader::new(socket);
    loop {
        let mut asked = read(&mut reader)?;
        let answer = (state.handler.lock())(&asked);
        let mut writer = socket;
        let is_written = match &answer {
            Answer::Status(status, headers, body) => {
                asked.is_taken = (200..300).contains(status);
                let length = if *status == 204 {
                    String::new()
                } else {
                    format!("Content-Length: {}\r\n", body.len())
                };
                write!(writer, "HTTP/1.1 {status} Said\r\n{headers}{length}\r\n{body}").is_ok()
            }
            Answer::Hang => write!(writer, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").is_ok(),
            Answer::Drop => false,
        };
        asked.is_taken &= is_written;
        state.asked.lock().push(asked);
        state.changed.notify_all();
        match answer {
            Answer::Status(..) => {}
            Answer::Hang => {
                // Ends when the other side gives up.
                let _ = reader.read(&mut [0]);
                return None;
            }
            Answer::Drop => return None,
        }
    }
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length")?.1.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let raw = String::from_utf8(body).expect("a body in UTF-8");
    let body = serde_json::from_str(&raw).unwrap_or_else(|error| panic!("{error}: {raw}"));
    Some(Asked { path, headers, raw, body, is_taken: false })
}
