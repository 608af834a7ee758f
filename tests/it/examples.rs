//! The programs in `examples/`, each as a process of its own: the clients of `docs/clients.md` against the real server,
//! and a server that is part of another program.

use std::io::{Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::log::Log;
use crate::support::raw::Socket;
use crate::support::server::{Server, Settings, UNPINGED, signal};
use crate::support::speaker::Speaker;
use crate::support::{Running, eventually};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// The folder in which `tests/run` installs the package `ws`. Node looks for it from the program's folder upwards.
const NODE_FOLDER: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/examples");

/// How to run one of the clients: its name, and the command without the URL.
struct Language {
    name: &'static str,
    command: Vec<String>,
    _folder: Option<TempDir>,
}

fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Returns the languages that this machine can run, and prints those that it cannot.
fn languages() -> Vec<Language> {
    let found = [python(), javascript(), Some(rust())];
    for (name, found) in ["Python with websockets", "Node with ws"].iter().zip(&found) {
        if found.is_none() {
            println!("skipped: there is no {name} on this machine; tests/run installs it");
        }
    }
    found.into_iter().flatten().collect()
}

fn python() -> Option<Language> {
    // Debian's package belongs to the second, if another Python stands in front of it.
    let mut interpreters = ["python3", "/usr/bin/python3"].into_iter();
    let python = interpreters.find(|it| succeeds(Command::new(it).args(["-c", "import websockets"])))?;
    // Unbuffered, as it would be on a terminal.
    let command = vec![python.to_owned(), "-u".to_owned(), format!("{ROOT}/examples/client.py")];
    Some(Language { name: "python", command, _folder: None })
}

/// Returns whether there is a Node with a WebSocket built in or with the package `ws`.
fn has_node() -> bool {
    std::fs::create_dir_all(NODE_FOLDER).expect("a folder of cargo's");
    let imports = ["--input-type=module", "-e", "globalThis.WebSocket ?? await import('ws')"];
    succeeds(Command::new("node").args(imports).current_dir(NODE_FOLDER))
}

/// Runs a program that expects a built-in WebSocket, and returns its output. Without Node, returns `None`.
pub(crate) fn run_in_node(program: &str) -> Option<String> {
    if !has_node() {
        println!("skipped: there is no Node with ws on this machine; tests/run installs it");
        return None;
    }
    let folder = TempDir::new_in(NODE_FOLDER).expect("a folder");
    let file = folder.path().join("program.mjs");
    let built_in = "globalThis.WebSocket ??= (await import(\"ws\")).default;\n";
    std::fs::write(&file, built_in.to_owned() + program).expect("written");
    let output = Command::new("node").arg(&file).stdin(Stdio::null()).output().expect("node runs");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    Some(said)
}

fn javascript() -> Option<Language> {
    if !has_node() {
        return None;
    }
    let folder = TempDir::new_in(NODE_FOLDER).expect("a folder");
    let program = folder.path().join("client.mjs");
    std::fs::copy(format!("{ROOT}/examples/client.mjs"), &program).expect("a copy");
    let command = vec!["node".to_owned(), program.to_str().expect("UTF-8").to_owned()];
    Some(Language { name: "javascript", command, _folder: Some(folder) })
}

fn rust() -> Language {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| build("client"));
    let command = vec![program.to_str().expect("UTF-8").to_owned()];
    Language { name: "rust", command, _folder: None }
}

/// Builds an example, because cargo builds examples only when it is asked for all targets. It builds the whole
/// workspace, as for the tests, so that the dependencies are there.
pub(crate) fn build(example: &str) -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "build",
        "--quiet",
        "--locked",
        "--workspace",
        "--message-format=json",
        "--example",
        example,
    ]);
    if cfg!(feature = "fault-injection") {
        cargo.args(["--features", "fault-injection"]);
    }
    let output = cargo.current_dir(ROOT).stderr(Stdio::inherit()).output().expect("cargo runs");
    let report = String::from_utf8(output.stdout).expect("UTF-8");
    let mut lines = report.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let built = lines.find_map(|line| line["executable"].as_str().map(PathBuf::from));
    built.unwrap_or_else(|| panic!("the example is not built: {report}"))
}

/// A running client. It ends with the test.
struct Talker {
    language: Language,
    child: Child,
    output: Log,
    errors: Log,
}

impl Talker {
    /// Starts a client under the name of its language, and waits until `watcher` sees it come.
    #[track_caller]
    fn enter(language: Language, address: SocketAddr, watcher: &mut Speaker) -> Self {
        let mut command = Command::new(&language.command[0]);
        command.args(&language.command[1..]);
        command.arg(format!("ws://{address}/ws/chat/{}?room=lobby", language.name));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.env_remove("NODE_OPTIONS").spawn().expect("the client starts");
        let output = Log::follow(child.stdout.take().expect("stdout is piped"), &command);
        let errors = Log::follow(child.stderr.take().expect("stderr is piped"), &command);
        let talker = Self { language, child, output, errors };
        let news = watcher.find("presence_diff");
        assert_eq!(news["joined"], json!([talker.language.name]), "{news}");
        talker
    }

    fn say(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().expect("stdin is piped");
        writeln!(stdin, "{text}").expect("it reads what is typed");
    }

    /// Waits until the client prints a line that begins so.
    #[track_caller]
    fn expect(&self, start: &str) -> String {
        self.output.wait_for_start(start)
    }

    /// Returns the messages of a user that the client has printed.
    fn heard(&self, user: &str) -> Vec<String> {
        let text = self.output.text();
        text.lines().filter_map(|line| line.strip_prefix(&format!("{user}: "))).map(str::to_owned).collect()
    }

    /// Waits until the client ends, and returns its exit code.
    #[track_caller]
    fn status(&mut self) -> Option<i32> {
        eventually("the client ends", || self.child.try_wait().expect("a child of ours").is_some());
        self.child.wait().expect("a child of ours").code()
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let (said, errors) = (self.output.tail(40), self.errors.tail(40));
            eprintln!("--- {} has said ---\n{said}\n{errors}", self.language.name);
        }
    }
}

fn enter_all(address: SocketAddr, watcher: &mut Speaker) -> Vec<Talker> {
    languages().into_iter().map(|language| Talker::enter(language, address, watcher)).collect()
}

/// An address that stays while servers come and go. It passes connections on to the present server, and closes them if
/// there is none.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    server: Arc<Mutex<Target>>,
}

#[derive(Clone, Copy)]
pub(crate) enum Target {
    Server(SocketAddr),
    Nobody,
    /// The relay has ended.
    Over,
}

impl Relay {
    pub(crate) fn to(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let target = Arc::new(Mutex::new(Target::Server(server.address())));
        let current = Arc::clone(&target);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let target = *current.lock();
                match target {
                    Target::Over => return,
                    Target::Nobody => {}
                    Target::Server(server) => {
                        // A server that was killed refuses, which closes the client's connection too.
                        let Ok(server) = TcpStream::connect(server) else { continue };
                        pass_on(&client, &server);
                        pass_on(&server, &client);
                    }
                }
            }
        });
        Self { address, server: target }
    }

    pub(crate) fn lead(&self, target: Target) {
        *self.server.lock() = target;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.lead(Target::Over);
        let _ = TcpStream::connect(self.address); // wakes it
    }
}

/// Passes bytes on until either end is gone, and then ends both.
fn pass_on(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (from.try_clone().expect("a handle"), to.try_clone().expect("a handle"));
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        // An end that is already closed is as good.
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
}

#[test]
fn clients_of_all_languages_hear_each_other() {
    let server = Server::start(UNPINGED);
    let mut watcher = Speaker::alone(&server, "watcher");
    let mut talkers = enter_all(server.address(), &mut watcher);
    for index in 0..talkers.len() {
        let name = talkers[index].language.name;
        talkers[index].say(&format!("hi, I am {name} \"in quotes\" \u{e9}"));
        for talker in &talkers {
            talker.expect(&format!("{name}: hi, I am {name} \"in quotes\" \u{e9}"));
        }
        watcher.find("message");
    }
    // A private message, and the reason why a message was refused.
    watcher.ask(json!({"type": "direct", "to": "rust", "message": "psst"}), "ack");
    for talker in &mut talkers {
        talker.say(&"x".repeat(501));
        talker.expect("--: Message too long (max 500 chars)");
        assert_eq!(talker.heard("watcher").is_empty(), talker.language.name != "rust");
    }
}

/// Runs all clients while the server is killed and another one replaces it. The caller checks what they printed.
fn over_a_crash(settings: Settings<'_>) -> Vec<Talker> {
    let settings = [UNPINGED, settings].concat();
    let server = Server::start(&settings);
    let relay = Relay::to(&server);
    let mut carol = Speaker::alone(&server, "carol");
    let mut talkers = enter_all(relay.address, &mut carol);
    carol.send(&json!({"type": "message", "message": "before"}));
    for talker in &talkers {
        talker.expect("carol: before");
    }
    relay.lead(Target::Nobody);
    drop(server); // SIGKILL
    for talker in &mut talkers {
        talker.expect("-- reconnecting in ");
        talker.say("typed while away");
    }
    let server = Server::start(&settings);
    let mut carol = Speaker::alone(&server, "carol");
    carol.say("lobby", "while you were away");
    relay.lead(Target::Server(server.address()));
    for _ in &talkers {
        assert_eq!(carol.find("message")["message"], "typed while away");
    }
    carol.send(&json!({"type": "message", "message": "after"}));
    for talker in &talkers {
        talker.expect("carol: after");
        assert_eq!(talker.heard(talker.language.name), ["typed while away"], "said once");
    }
    talkers
}

#[test]
fn messages_sent_while_a_client_is_away_come_once() {
    let dir = tempfile::tempdir().expect("a folder");
    for talker in over_a_crash(&[("history.dir", dir.path().to_str().expect("UTF-8"))]) {
        assert_eq!(talker.heard("carol"), ["before", "while you were away", "after"]);
        assert!(!talker.output.text().contains("-- missed some"), "nothing was missed");
    }
}

#[test]
fn a_client_says_that_it_has_missed_something() {
    for talker in over_a_crash(&[]) {
        assert_eq!(talker.heard("carol"), ["before", "after"]);
        let text = talker.output.text();
        assert_eq!(text.matches("-- missed some").count(), 1, "{text}");
    }
}

#[test]
fn a_replaced_client_stops() {
    let server = Server::start(&[UNPINGED, &[("chat.duplicate", "replace")]].concat());
    let mut watcher = Speaker::alone(&server, "watcher");
    for mut talker in enter_all(server.address(), &mut watcher) {
        let _newer = Speaker::enter(&server, talker.language.name);
        assert_eq!(talker.status(), Some(1));
        // Python says the last word on standard error.
        let last = if talker.language.name == "python" { &talker.errors } else { &talker.output };
        last.wait_for_start("-- closed for good");
        let said = talker.output.text();
        assert!(!said.contains("-- reconnecting"), "{said}");
    }
}

#[test]
fn clients_wait_as_long_as_the_server_asks() {
    let mut server = Server::start(&[UNPINGED, &[("drain.window", "0ms")]].concat());
    let mut watcher = Speaker::alone(&server, "watcher");
    let talkers = enter_all(server.address(), &mut watcher);
    server.terminate();
    server.wait_exit(crate::support::PATIENCE);
    for talker in &talkers {
        let line = talker.expect("-- reconnecting in ");
        let delay_ms: u64 = line.split(' ').nth(3).and_then(|word| word.parse().ok()).expect("a number");
        // Of its own accord it would be back within 500 ms.
        assert!((1_000..=5_000).contains(&delay_ms), "{line}");
    }
}

#[test]
fn clients_answer_heartbeats() {
    for language in languages() {
        let server = Server::start(&[("heartbeat.interval", "100ms"), ("heartbeat.timeout", "10s")]);
        let mut watcher = Speaker::alone(&server, "watcher");
        let talker = Talker::enter(language, server.address(), &mut watcher);
        // Nobody types, and the watcher answers nothing: the server receives nothing but acknowledgements.
        eventually("answers", || server.metric("throng_messages_received_total", "") >= 5.0);
        assert_eq!(talker.output.text(), "");
    }
}

#[test]
fn a_program_that_embeds_a_server_serves_and_drains() {
    let mut command = Command::new(build("embedded"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut program = Running(command.spawn().expect("the example starts"));
    let output = Log::follow(program.0.stdout.take().expect("stdout is piped"), &command);
    let line = output.wait_for_start("listening on ");
    let address: SocketAddr = line.trim_start_matches("listening on ").parse().expect("an address");
    let mut alice = Speaker::on(Socket::connect(address), "alice", "");
    let mut carol = Speaker::on(Socket::connect(address), "carol", "");
    alice.send(&json!({"type": "message", "message": "hello"}));
    assert_eq!(carol.find("message")["message"], "hello");
    // Ctrl-C, as a terminal sends it.
    signal(&program.0, "INT");
    for mut client in [alice, carol] {
        let (advice, code) = client.skip_to_end().expect("a close, and no reset");
        assert_eq!((advice["type"].as_str(), code), (Some("disconnect"), 1001), "{advice}");
    }
    output.wait_for_start("stopped");
    eventually("the program ends", || program.0.try_wait().expect("a child of ours").is_some());
    assert!(program.0.wait().expect("a child of ours").success());
}
