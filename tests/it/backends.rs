//! The backends in `examples/`, each as a process beside a server: they mint tokens that the server accepts, speak
//! through its API, and verify webhooks.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

use crate::support::http::{Response, get, post};
use crate::support::log::Log;
use crate::support::server::{Server, UNPINGED, throng};
use crate::support::speaker::Speaker;
use crate::support::token::SECRET;
use crate::support::{Running, binary, eventually};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const KEY: &str = "a-key-of-the-backend";
/// The key of the webhook's signatures, as bytes.
const WEBHOOK_KEY: &[u8] = b"0123456789abcdef01234567";

/// A running backend. It ends with the test.
struct Backend {
    child: Child,
    address: SocketAddr,
    log: Log,
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the backend has said ---\n{}", self.log.tail(40));
        }
    }
}

impl Backend {
    /// Starts a program that says where it runs.
    #[track_caller]
    fn start(command: &[&str], server: SocketAddr) -> Self {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "exec \"$@\" 2>&1", "sh"])
            .args(command)
            .env("THRONG_URL", format!("http://{server}"))
            .env("THRONG_API_KEY", KEY)
            .env("TOKEN_SECRET", SECRET)
            .env("WEBHOOK_SECRET", format!("whsec_{}", STANDARD.encode(WEBHOOK_KEY)))
            .env("PORT", "0")
            .env_remove("NODE_OPTIONS")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = shell.spawn().expect("the backend starts");
        let log = Log::follow(child.stdout.take().expect("stdout is piped"), &shell);
        let line = log.wait_for_line("running on", |line| line.contains("running on http://127.0.0.1:"));
        let rest = line.split("http://").nth(1).expect("an address");
        let address = rest.split([' ', '/']).next().and_then(|address| address.parse().ok());
        Self { child, address: address.expect("an address"), log }
    }

    #[track_caller]
    fn post(&self, path: &str, headers: &str, body: &Value) -> Response {
        let headers = format!("Content-Type: application/json\r\nConnection: close\r\n{headers}");
        post(self.address, path, &headers, &body.to_string())
    }

    /// Sends a webhook as throng does, with this age and so many signatures of other secrets before the right one.
    #[track_caller]
    fn tell(&self, events: &Value, age_s: u64, others: usize, key: &[u8]) -> u16 {
        let body = json!({"time_ms": 1, "node": "n", "events": events, "dropped": 0}).to_string();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let sent = now - age_s;
        let signed = format!("msg-1.{sent}.{body}");
        let key = EncodingKey::from_secret(key);
        let signature = crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).expect("it can be signed");
        let signature = STANDARD.encode(URL_SAFE_NO_PAD.decode(signature).expect("base64"));
        let headers = format!(
            "Content-Type: application/json\r\nConnection: close\r\nwebhook-id: msg-1\r\n\
             webhook-timestamp: {sent}\r\nwebhook-signature: {}v1,{signature}\r\n",
            "v1,AAAA ".repeat(others)
        );
        post(self.address, "/throng", &headers, &body).status
    }

    #[track_caller]
    fn online(&self) -> Vec<String> {
        let page: Value = serde_json::from_str(&get(self.address, "/online").body).expect("JSON");
        let mut users: Vec<_> = page["online"].as_object().expect("a table").keys().cloned().collect();
        users.sort();
        users
    }
}

/// Returns a list with one event of a webhook.
fn event(number: usize, kind: &str, user: &str) -> Value {
    json!([{"id": format!("n-{number}"), "type": kind, "at_ms": 1, "user": user}])
}

/// Lets a backend do everything that it can do.
fn work(command: &[&str]) {
    let server = Server::start(
        &[UNPINGED, &[("auth.required", "true"), ("auth.secret", SECRET), ("api.keys", KEY)]].concat(),
    );
    let backend = Backend::start(command, server.address());
    for wrong in [json!({"name": "alice", "password": "x"}), json!({"name": "eve", "password": ""})] {
        assert_eq!(backend.post("/login", "", &wrong).status, 401, "{wrong}");
    }
    let log_in = |name: &str, password: &str| {
        let response = backend.post("/login", "", &json!({"name": name, "password": password}));
        let body: Value = serde_json::from_str(&response.body).expect("JSON");
        body["token"].as_str().unwrap_or_else(|| panic!("no token: {response:?}")).to_owned()
    };
    let (alice, bob) = (log_in("alice", "wonderland"), log_in("bob", "builder"));
    let mut speaker = Speaker::alone(&server, &format!("alice?room=lobby&token={alice}"));

    // Only an admin with a token announces.
    let text = json!({"room": "lobby", "text": "hi \u{e9}"});
    let announce =
        |token: &str| backend.post("/announce", &format!("Authorization: Bearer {token}\r\n"), &text).status;
    let forged = format!("{}x", alice.trim_end_matches('x'));
    assert_eq!([announce(&alice), announce(&bob), announce(&forged), announce("")], [200, 403, 401, 401]);
    let message = speaker.expect("message");
    assert_eq!((&message["user"], &message["message"]), (&json!("server"), &text["text"]));

    // Webhooks: signed and fresh ones are believed, each event once.
    let (good, other) = (WEBHOOK_KEY, b"another-key-of-24-bytes!".as_slice());
    assert!(backend.tell(&event(1, "user_online", "carol"), 0, 0, good) < 300);
    assert!(backend.tell(&event(2, "user_online", "dave"), 100, 2, good) < 300);
    assert_eq!(backend.online(), ["carol", "dave"]);
    assert_eq!(backend.tell(&event(3, "user_offline", "carol"), 0, 0, other), 401);
    assert_eq!(backend.tell(&event(4, "user_offline", "carol"), 400, 0, good), 401);
    assert_eq!(backend.online(), ["carol", "dave"], "neither was believed");
    assert!(backend.tell(&event(5, "user_offline", "carol"), 0, 0, good) < 300);
    assert!(backend.tell(&event(1, "user_online", "carol"), 0, 0, good) < 300);
    assert_eq!(backend.online(), ["dave"], "an event that comes again changes nothing");
    assert!(backend.tell(&event(6, "resync", ""), 0, 0, good) < 300);
    eventually("the server was asked", || backend.online() == ["alice"]);
}

/// Lets a backend hear of a user from the server itself, which knows the backend's address from its start.
fn hear(command: &[&str]) {
    let address = Server::start(&[("engine", "memory")]).address();
    let backend = Backend::start(command, address);
    let secret = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(secret.path(), format!("whsec_{}\n", STANDARD.encode(WEBHOOK_KEY))).expect("written");
    let receivers = format!(
        "[{{url = 'http://{}/throng', secret_file = '{}'}}]",
        backend.address,
        secret.path().display()
    );
    let settings = [
        ("engine", "memory"),
        ("api.keys", KEY),
        ("webhooks.receivers", receivers.as_str()),
        ("webhooks.offline_after", "0ms"),
    ];
    let server = Server::launch(&[], &address.to_string(), &[UNPINGED, &settings].concat());
    let speaker = Speaker::alone(&server, "carol?room=lobby");
    eventually("the backend knows that carol is online", || backend.online() == ["carol"]);
    drop(speaker);
    eventually("the backend knows that carol is gone", || backend.online().is_empty());
}

/// The page that says how the backends are run.
const PAGE: &str = include_str!("../../examples/fastapi/README.md");

/// Returns the three blocks of shell lines on the page, rewritten: the ports are free ones, and a command that runs
/// until it is ended replaces its shell. The packages of Python are not fetched: `command`
/// runs with those that are there.
fn blocks_of_page(server: SocketAddr, backend: SocketAddr, command: &str) -> [String; 3] {
    let blocks: Vec<&str> =
        PAGE.split("```sh\n").skip(1).filter_map(|rest| Some(rest.split_once("```\n")?.0)).collect();
    let [serve, back, chat] = blocks[..] else { panic!("three blocks: {blocks:?}") };
    let replaced = |text: &str, from: &str, to: &str| {
        assert!(text.contains(from), "no {from:?} in {text}");
        text.replace(from, to)
    };
    let serve = replaced(serve, "127.0.0.1:8000", &backend.to_string());
    let serve = replaced(&serve, "\nthrong\n", &format!("\nexec throng --listen {server}\n"));
    let own = "python3 -m venv venv\nvenv/bin/pip install -r examples/fastapi/requirements.txt\n";
    let back = replaced(back, own, "");
    let (alternatives, _) = replaced(&back, "venv/bin/python examples/fastapi/app.py", command)
        .split_once(" # or: node examples/node-backend/server.mjs")
        .map(|(lines, rest)| (lines.to_owned(), rest.to_owned()))
        .expect("the other backend in a comment");
    let back = replaced(
        &alternatives,
        command,
        &format!("PORT={} THRONG_URL=http://{server} exec {command}", backend.port()),
    );
    let chat = replaced(chat, "127.0.0.1:8000", &backend.to_string());
    let chat = replaced(&chat, "throng chat ", &format!("throng chat ws://{server} "));
    [serve, back, format!("set -e\n{chat}")]
}

/// Runs the lines of the page, each block in a shell of its own, in a folder that has the examples.
fn follow_the_page(command: &str) {
    if let Some(program) = ["openssl", "curl", "jq"].into_iter().find(|program| {
        let asked = if *program == "openssl" { "version" } else { "--version" };
        Command::new(program).arg(asked).stdout(Stdio::null()).status().is_err()
    }) {
        println!("skipped: there is no {program} on this machine; tests/run installs it");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let link =
        |from: &str, to: &str| std::os::unix::fs::symlink(from, folder.path().join(to)).expect("a link");
    link(&format!("{ROOT}/examples"), "examples");
    link(&binary(), "throng");
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").expect("a PATH in UTF-8"));
    // throng must know the backend's port, and the backend that of throng.
    let free = || Server::start(&[("engine", "memory")]).address();
    let (server, backend) = (free(), free());
    let [serve, back, chat] = blocks_of_page(server, backend, command);
    let start = |lines: &str| {
        let mut shell = throng(&["bash", "-c", lines], &[]);
        shell.current_dir(folder.path()).env("PATH", &path).env_remove("NODE_OPTIONS");
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Running(shell.spawn().expect("bash runs"));
        let output = Log::follow(child.0.stdout.take().expect("stdout is piped"), &shell);
        let errors = Log::follow(child.0.stderr.take().expect("stderr is piped"), &shell);
        (child, output, errors)
    };
    let serving = start(&serve);
    serving.2.wait_for_line("listening", |line| line.contains("listening"));
    let backing = start(&back);
    eventually("the backend answers", || std::net::TcpStream::connect(backend).is_ok());
    let (mut chatting, said, errors) = start(&chat);
    said.wait_for_line("the message that the backend has published", |line| line.contains("\"offset\":1"));
    said.wait_for_line("alice is in", |line| line.contains("-- connected as alice in lobby"));
    eventually("the backend knows that alice is online", || {
        let page: Value = serde_json::from_str(&get(backend, "/online").body).expect("JSON");
        page["online"].get("alice").is_some()
    });
    let mut input = chatting.0.stdin.take().expect("stdin is piped");
    input.write_all(b"/history\n").expect("the chat reads");
    said.wait_for_line("the message from before", |line| line == "lobby server: hi");
    drop(input);
    eventually("the chat ends", || chatting.0.try_wait().expect("a child of ours").is_some());
    assert!(chatting.0.wait().expect("a child of ours").success(), "{}", errors.text());
    drop((backing, serving));
}

#[test]
fn the_backend_in_python_logs_in_speaks_and_believes_signed_webhooks() {
    let imports = "import fastapi, uvicorn, jwt, httpx";
    let has_them = |python: &&str| {
        let output = Command::new(python).args(["-c", imports]).output();
        output.is_ok_and(|output| output.status.success())
    };
    // Debian's packages belong to the second, if another Python stands in front of it.
    let Some(python) = ["python3", "/usr/bin/python3"].into_iter().find(has_them) else {
        println!("skipped: there is no Python with FastAPI on this machine; tests/run installs it");
        return;
    };
    let program = format!("{ROOT}/examples/fastapi/app.py");
    work(&[python, "-u", &program]);
    hear(&[python, "-u", &program]);
    follow_the_page(&format!("{python} examples/fastapi/app.py"));
}

#[test]
fn the_backend_in_javascript_logs_in_speaks_and_believes_signed_webhooks() {
    let version = Command::new("node").arg("--version").output();
    if !version.is_ok_and(|output| output.status.success()) {
        println!("skipped: there is no Node on this machine; tests/run installs it");
        return;
    }
    let program = format!("{ROOT}/examples/node-backend/server.mjs");
    let lines = std::fs::read_to_string(&program).expect("the program").lines().count();
    assert!(lines <= 60, "{lines} lines");
    work(&["node", &program]);
    hear(&["node", &program]);
    follow_the_page("node examples/node-backend/server.mjs");
}
