//! `throng chat` against the server: two people who talk, a server that dies, scripts, and a pseudo-terminal.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::server::{Server, Settings, run, throng};
use crate::support::terminal::Chat;
use crate::support::token::{SECRET, mint};
use crate::support::{PATIENCE, eventually};

/// Exit codes of `sysexits.h` that the documentation promises.
const USAGE: i32 = 64;
const REFUSED: i32 = 65;
const UNAVAILABLE: i32 = 69;
const UNANSWERED: i32 = 75;

/// The names are shown behind the user ids, which they cannot replace, and hold no control characters.
#[test]
fn a_name_is_claimed_and_shown_to_the_others() {
    let server = Server::start(&[]);
    let mut bob = Chat::enter(&server, "bob");
    let mut ann = Chat::start(&server, "ann", &["--name", "Ann (admin): \u{fc}"], &[]);
    ann.sees("-- connected as ann in lobby");
    ann.types("hi");
    bob.sees("lobby ann (Ann (admin): \u{fc}): hi");
    ann.types("/msg bob psst");
    bob.sees("@ann (Ann (admin): \u{fc}): psst");
    bob.types("hello");
    ann.sees("lobby bob: hello");
    let json = Chat::start(&server, "log", &["--json", "--name", "Log"], &[]);
    json.sees_like("{\"event\":\"connected\"");
    ann.types("again");
    let line = json.sees_like("{\"event\":\"message\"");
    assert!(line.contains("\"user\":\"ann\",\"name\":\"Ann (admin): \u{fc}\""), "{line}");
    for wrong in ["", "a\u{1b}[2J", "a\u{202e}b"] {
        let (code, _, errors) = Chat::start(&server, "eve", &["--name", wrong], &[]).ended();
        assert!(code == USAGE && errors.starts_with("throng: name: "), "{wrong:?}: {code}: {errors}");
    }
    // Where a token is demanded, its name counts.
    let server = Server::start(&[("auth.required", "true"), ("auth.secret", SECRET)]);
    let tokens = ["bob", "ann"].map(|user| mint(&["--sub", user]));
    let bob = Chat::start(&server, "bob", &[], &[("THRONG_TOKEN", &tokens[0])]);
    bob.sees("-- connected as bob in lobby");
    let mut ann = Chat::start(&server, "ann", &["--name", "Mallory"], &[("THRONG_TOKEN", &tokens[1])]);
    ann.types("hi");
    bob.sees("lobby ann: hi");
}

#[test]
fn two_terminals_talk() {
    let server = Server::start(&[]);
    let mut ann = Chat::enter(&server, "ann");
    let mut bob = Chat::enter(&server, "bob");
    ann.sees("-- lobby: bob came, 2 members now");
    ann.types("hi bob");
    bob.sees("lobby ann: hi bob");
    ann.sees("lobby ann: hi bob");
    bob.types("/msg ann psst");
    ann.sees("@bob: psst");
    bob.sees("-- to ann: psst");
    bob.types("//me waves");
    ann.sees("lobby bob: /me waves");
    ann.types("/who");
    ann.sees("-- who in lobby (2): ann, bob");
    // A line typed behind /join goes to the new room, however fast it is typed.
    for line in ["/join news", "extra", "/room lobby", "back", "/leave news", "/room news"] {
        ann.types(line);
    }
    for line in ["-- joined news (1 member)", "news ann: extra", "-- speaking in lobby", "-- left news"] {
        ann.sees(line);
    }
    ann.sees("! input: you are not in news: /join news");
    bob.sees("lobby ann: back");
    bob.types("/history 2");
    bob.sees("-- history of lobby: 2 messages");
    bob.types("/quit");
    let (code, lines, errors) = bob.ended();
    assert_eq!((code, &*errors), (0, ""));
    assert_eq!(lines.iter().filter(|line| line.contains("extra")).count(), 0, "{lines:?}");
    let history = lines.iter().position(|line| line.starts_with("-- history")).expect("a history");
    assert_eq!(lines[history + 1..], ["lobby bob: /me waves", "lobby ann: back"]);
    ann.sees("-- lobby: bob went, 1 member now");
    let (code, _, errors) = ann.finish();
    assert_eq!(code, REFUSED);
    assert_eq!(errors, "throng: 1 line refused, the first: input: you are not in news: /join news");
}

/// Runs two terminals through a kill and a restart of the server: one is stopped meanwhile, the other reconnects and
/// sends on. Returns the lines of both.
fn killed_and_started_again(address: &str, settings: Settings<'_>) -> (Vec<String>, Vec<String>) {
    // An address of its own: no other test can take the port while the server is away.
    let server = Server::launch(&[], &format!("{address}:0"), settings);
    let listen = server.address().to_string();
    let mut ann = Chat::enter(&server, "ann");
    let mut bob = Chat::enter(&server, "bob");
    bob.types("one");
    ann.sees("lobby bob: one");
    bob.sees("lobby bob: one");
    bob.signal("STOP");
    // Dropping the server sends SIGKILL.
    drop(server);
    ann.sees_like("-- reconnecting in ");
    ann.types("two");
    let _server = Server::launch(&[], &listen, settings);
    ann.sees("lobby ann: two");
    ann.types("three");
    ann.sees("lobby ann: three");
    bob.signal("CONT");
    bob.output.wait_for_line("the outcome of the message", |line| {
        line.starts_with("-- recovered") || line.starts_with("-- you missed")
    });
    ann.types("four");
    bob.sees("lobby ann: four");
    let (code, of_bob, errors) = bob.finish();
    assert_eq!((code, &*errors), (0, ""));
    let (code, of_ann, errors) = ann.finish();
    assert_eq!((code, &*errors), (0, ""));
    (of_ann, of_bob)
}

#[test]
fn with_a_history_on_disk_nothing_is_lost_when_the_server_is_killed() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path().join("history");
    let settings = [("history.dir", dir.to_str().expect("UTF-8"))];
    let (of_ann, of_bob) = killed_and_started_again("127.84.0.1", &settings);
    let said = |lines: &[String]| {
        lines.iter().filter(|line| line.starts_with("lobby ")).cloned().collect::<Vec<_>>()
    };
    let all = ["lobby bob: one", "lobby ann: two", "lobby ann: three", "lobby ann: four"];
    assert_eq!(
        (said(&of_ann), said(&of_bob)),
        (all.map(str::to_owned).into(), all.map(str::to_owned).into())
    );
    assert!(of_bob.iter().any(|line| line == "-- recovered 2 messages in lobby"), "{of_bob:?}");
    let missed = of_ann.iter().chain(&of_bob).find(|line| line.contains("missed"));
    assert_eq!(missed, None);
}

#[test]
fn without_a_history_on_disk_the_chat_reports_lost_messages() {
    let (_, of_bob) = killed_and_started_again("127.84.0.2", &[]);
    assert!(of_bob.iter().any(|line| line == "-- you missed some messages in lobby"), "{of_bob:?}");
    assert!(!of_bob.iter().any(|line| line == "lobby ann: two"), "{of_bob:?}");
}

#[test]
fn a_refusal_is_readable_and_sets_the_exit_code() {
    let server = Server::start(&[]);
    let long = "x".repeat(501);
    for (line, told) in [
        ("/msg nobody hi", "! user_not_found: User not found: nobody of this id is connected"),
        (&*long, "! message_too_long: "),
        ("/join a/b", "! input: a room's name may only contain"),
        ("/shrug", "! input: no such command: /shrug"),
    ] {
        let mut ann = Chat::start(&server, "ann", &[], &[]);
        ann.types(line);
        ann.types("good");
        let (code, lines, errors) = ann.finish();
        assert_eq!(code, REFUSED, "{line}: {lines:?}");
        assert!(lines.iter().any(|line| line.starts_with(told)), "{line}: {lines:?}");
        assert!(lines.iter().any(|line| line == "lobby ann: good"), "{line}: {lines:?}");
        let summary = format!("throng: 1 line refused, the first: {}", told.trim_start_matches("! "));
        assert!(errors.starts_with(&summary), "{line}: {errors}");
    }
}

#[test]
fn the_end_of_the_input_waits_for_the_acks() {
    let server = Server::start(&[]);
    let bob = Chat::enter(&server, "bob");
    let mut ann = Chat::start(&server, "ann", &["--timeout", "1m"], &[]);
    // More lines than may be unanswered at once.
    for number in 1..=600 {
        ann.types(&number.to_string());
    }
    let (code, lines, errors) = ann.finish();
    assert_eq!((code, &*errors), (0, ""));
    let expected: Vec<_> = (1..=600).map(|number| format!("lobby ann: {number}")).collect();
    let said = |lines: &[String]| -> Vec<_> {
        lines.iter().filter(|line| line.starts_with("lobby ann:")).cloned().collect()
    };
    assert!(said(&lines) == expected, "not all, or not in order: {:?}", said(&lines));
    bob.sees("lobby ann: 600");
    assert!(said(&bob.finish().1) == expected, "not all of what was acknowledged");
}

#[test]
fn a_message_without_an_ack_is_reported_as_uncertain() {
    let server = Server::start(&[]);
    let mut ann = Chat::start(&server, "ann", &["--timeout", "1s"], &[]);
    ann.sees("-- connected as ann in lobby");
    server.signal("STOP");
    ann.types("hello?");
    let (code, _, errors) = ann.finish();
    server.signal("CONT");
    assert_eq!(code, UNANSWERED, "{errors}");
    assert_eq!(errors, "throng: 1 line unanswered: the outcome is unknown");
}

#[test]
fn without_a_server_the_chat_reports_it_and_gives_up() {
    // A socket that is bound and does not listen: connections are refused, and no other process gets the port.
    let bound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
    bound.bind(&any.into()).expect("bound");
    let port = bound.local_addr().expect("an address").as_socket().expect("an IP address").port();
    let url = format!("ws://127.0.0.1:{port}");
    let output = run(&["chat", &url, "--user", "ann", "--timeout", "500ms"], &[]);
    let (lines, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(UNAVAILABLE), "{lines}{errors}");
    assert!(lines.starts_with("-- connecting\n-- reconnecting in "), "{lines}");
    assert!(errors.starts_with("throng: no connection within 500ms: "), "{errors}");
}

#[test]
fn invalid_arguments_are_wrong_usage() {
    for arguments in [
        &["chat", "--user", "x"][..],
        &["chat", "gopher://127.0.0.1", "--user", "ann"],
        &["chat", "--user", "ann", "--room", "a/b"],
        &["chat", "--user", "ann", "--token", "two words"],
        &["chat", "--user", "ann", "--token-file", "/no/such/file"],
    ] {
        let output = run(arguments, &[]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(USAGE), "{arguments:?}: {errors}");
        assert!(errors.starts_with("throng: ") && output.stdout.is_empty(), "{arguments:?}: {errors}");
    }
}

#[test]
fn a_token_comes_from_the_environment_or_a_file_and_a_bad_one_ends_the_chat() {
    let server = Server::start(&[("auth.secret", SECRET), ("auth.required", "true")]);
    let token = mint(&["--sub", "ann"]);
    let (code, lines, _) = Chat::start(&server, "ann", &[], &[("THRONG_TOKEN", &token)]).finish();
    assert_eq!(code, 0, "{lines:?}");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    writeln!(file, "{token}").expect("written");
    let path = file.path().to_str().expect("UTF-8");
    let (code, lines, _) = Chat::start(&server, "ann", &["--token-file", path], &[]).finish();
    assert_eq!(code, 0, "{lines:?}");
    let (code, lines, errors) = Chat::start(&server, "bob", &[], &[("THRONG_TOKEN", &token)]).finish();
    assert_eq!((code, &*errors), (UNAVAILABLE, "throng: the chat is over: Authentication failed (1008)"));
    assert_eq!(lines.last().map(String::as_str), Some("-- stopped: Authentication failed (1008)"));
    // The variable of the token is no setting of the server.
    let settings = run(&["check-config"], &[("token", "x")]);
    assert!(settings.status.success(), "{}", String::from_utf8_lossy(&settings.stderr));
}

#[tokio::test]
async fn messages_of_others_cannot_control_the_terminal() {
    let server = Server::start(&[]);
    let ann = Chat::enter(&server, "ann");
    let json = Chat::start(&server, "log", &["--json"], &[]);
    json.output.wait_for("connected", |line| line["event"] == "connected" && line["user"] == "log");
    let evil = "\x1b]0;owned\x07\x1b[2J\u{9b}31m\u{202e}\n-- connected as root";
    let mut mallory = Client::connect(&server, "/ws/chat/mallory").await;
    mallory.send_text(json!({"message": evil}).to_string()).await;
    let told = "lobby mallory: \\x1b]0;owned\\x07\\x1b[2J\\u{9b}31m\\u{202e}\\n-- connected as root";
    ann.sees(told);
    let line = json.output.wait_for("the message", |line| line["event"] == "message");
    assert_eq!((&line["text"], &line["user"], &line["offset"]), (&json!(evil), &json!("mallory"), &json!(1)));
    for (code, lines, _) in [ann.finish(), json.finish()] {
        assert_eq!(code, 0);
        let harmful = |char: char| char.is_control() || char == '\u{202e}';
        assert!(!lines.concat().contains(harmful), "{lines:?}");
    }
}

#[test]
fn json_lines_are_one_object_for_each_event() {
    let server = Server::start(&[]);
    let mut ann = Chat::start(&server, "ann", &["--json", "--room", "news"], &[]);
    ann.types("hi");
    // With an engine, a page that is asked for before the ack may lack the message.
    ann.output.wait_for("the ack", |line| line["event"] == "acked");
    for line in ["/msg ann psst", "/msg nobody hi", "/who", "/history", "/help"] {
        ann.types(line);
    }
    let (code, lines, _) = ann.finish();
    assert_eq!(code, REFUSED);
    let events: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let of = |name: &str| {
        events.iter().find(|event| event["event"] == name).unwrap_or_else(|| panic!("no {name}: {lines:#?}"))
    };
    assert_eq!((&of("connected")["room"], &of("connected")["user"]), (&json!("news"), &json!("ann")));
    assert_eq!(*of("acked"), json!({"event": "acked", "room": "news", "offset": 1, "duplicate": false}));
    assert_eq!((&of("direct")["user"], &of("direct")["text"]), (&json!("ann"), &json!("psst")));
    assert_eq!(of("delivered")["connections"], 1);
    assert_eq!(of("error")["code"], "user_not_found");
    assert_eq!(of("who")["users"], json!(["ann"]));
    assert_eq!(of("history")["messages"], 1);
    assert_eq!(of("help")["usage"], "/join ROOM");
}

#[test]
fn a_signal_ends_the_chat_cleanly() {
    let server = Server::start(&[]);
    let bob = Chat::enter(&server, "bob");
    for name in ["INT", "TERM", "HUP"] {
        let user = format!("ann-{name}");
        let ann = Chat::enter(&server, &user);
        bob.sees(&format!("-- lobby: {user} came, 2 members now"));
        ann.signal(name);
        let (code, _, errors) = ann.ended();
        assert_eq!((code, &*errors), (0, ""), "{name}");
        // The chat leaves with a close frame.
        bob.sees(&format!("-- lobby: {user} went, 1 member now"));
    }
    assert_eq!(server.metric("throng_closes_total", "code=\"1000\""), 3.0);
}

#[test]
fn a_closed_output_ends_the_chat_quietly() {
    let server = Server::start(&[]);
    let mut bob = Chat::enter(&server, "bob");
    let url = format!("ws://{}", server.address());
    let mut command = throng(&[], &[]);
    command.args(["chat", &url, "--user", "ann"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // From then on nothing is printed until Bob writes.
    let output = BufReader::new(child.stdout.take().expect("stdout is piped"));
    let came = |line: &String| line.starts_with("-- lobby: ann came");
    output.lines().map(|line| line.expect("UTF-8")).find(came).expect("she is in the room");
    bob.sees("-- lobby: ann came, 2 members now");
    bob.types("still there?");
    let mut status = None;
    eventually("it ends", || {
        status = child.try_wait().expect("a child of ours");
        status.is_some()
    });
    let mut errors = String::new();
    child.stderr.take().expect("stderr is piped").read_to_string(&mut errors).expect("UTF-8");
    assert_eq!((status.and_then(|status| status.code()), &*errors), (Some(0), ""));
}

/// A chat on a pseudo-terminal of its own, started by a shell that prints the terminal's state afterwards.
struct Screen {
    child: std::process::Child,
    input: std::process::ChildStdin,
    output: Arc<Mutex<Vec<u8>>>,
}

impl Screen {
    fn start(server: &Server, user: &str) -> Self {
        let binary = crate::support::binary();
        let chat = format!("exec {binary} chat ws://{} --user {user}", server.address());
        let script = format!("stty rows 24 cols 100; sh -c 'echo pid=$$; {chat}'; echo \"code $?\"; stty -a");
        let mut command = Command::new("script");
        // A fixed shell instead of the user's.
        command.args(["--quiet", "--flush", "--command", &script, "/dev/null"]).env("SHELL", "/bin/sh");
        command.env("TERM", "xterm-256color").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("script runs");
        let output = Arc::new(Mutex::new(Vec::new()));
        let (mut pipe, seen) = (child.stdout.take().expect("piped"), Arc::clone(&output));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = pipe.read(&mut bytes) {
                seen.lock().extend_from_slice(&bytes[..read]);
            }
        });
        let input = child.stdin.take().expect("piped");
        Self { child, input, output }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.output.lock()).into_owned()
    }

    /// Sends SIGTERM to the chat itself.
    #[track_caller]
    fn terminate(&self) {
        let text = self.text();
        let (_, rest) = text.split_once("pid=").expect("seen before the first picture");
        let pid = rest.split(|char: char| !char.is_ascii_digit()).next().expect("a number");
        let status = Command::new("kill").args(["-TERM", pid]).status().expect("kill runs");
        assert!(status.success(), "no process {pid} to signal");
    }

    #[track_caller]
    fn sees(&self, text: &str) {
        eventually(&format!("{text} on the screen"), || self.text().contains(text));
    }

    fn types(&mut self, keys: &str) {
        self.input.write_all(keys.as_bytes()).expect("the terminal takes it");
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the screen, within {PATIENCE:?} ---\n{:?}", self.text());
        }
    }
}

#[test]
fn the_screen_is_drawn_and_the_terminal_restored() {
    for (user, leave) in [("ann", "/quit\r"), ("anna", "\x03"), ("anne", "\x04"), ("annie", "")] {
        // A fresh room, because text that is drawn over other text comes in pieces.
        let server = Server::start(&[]);
        let mut bob = Chat::enter(&server, "bob");
        let mut screen = Screen::start(&server, user);
        screen.sees(&format!("connected as {user}"));
        bob.types(&format!("welcome-{user}"));
        screen.sees(&format!("welcome-{user}"));
        screen.types("hello\r");
        bob.sees(&format!("lobby {user}: hello"));
        match leave {
            "" => screen.terminate(),
            keys => screen.types(keys),
        }
        screen.sees("code 0");
        screen.sees("icanon");
        let text = screen.text();
        let (during, after) = text.split_once("code 0").expect("seen");
        // The alternate screen and bracketed paste are switched on once and off once; the cursor is shown.
        for (on, off) in [("\x1b[?1049h", "\x1b[?1049l"), ("\x1b[?2004h", "\x1b[?2004l")] {
            assert_eq!((during.matches(on).count(), during.matches(off).count()), (1, 1), "{during:?}");
        }
        assert!(during.rfind("\x1b[?25h") > during.rfind("\x1b[?25l"), "{during:?}");
        assert!(!after.contains("-icanon") && !after.contains("-echo "), "{after:?}");
        bob.sees(&format!("-- lobby: {user} went, 1 member now"));
        assert_eq!(bob.finish().0, 0);
    }
}
