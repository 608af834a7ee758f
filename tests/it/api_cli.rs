//! `throng api`: the calls of the server API from the command line.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::raw::Socket;
use crate::support::server::{Server, Settings, throng};
use crate::support::speaker::Speaker;
use crate::support::token::{SECRET, mint};

const KEY: &str = "a-key-of-the-tests-1";

/// Exit codes of `sysexits.h`, as the help explains them.
const USAGE: i32 = 64;
const REFUSED: i32 = 65;
const UNAVAILABLE: i32 = 69;
const UNANSWERED: i32 = 75;

/// The end of a run of the binary.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    errors: String,
}

fn start(more: Settings<'_>) -> Server {
    Server::start(&[&[("api.keys", KEY), ("workers", "2")], more].concat())
}

/// Runs `throng api` with these variables and this input, to its end.
#[track_caller]
fn ran(variables: Settings<'_>, arguments: &[&str], input: &str) -> Ran {
    let mut command = throng(&[], variables);
    command.arg("api").args(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.as_mut().map_err(|error| error.to_string()).expect("throng runs");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let input = input.to_owned();
    // A process that does not read its input has closed it.
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let errors = child.stderr.take().expect("stderr is piped");
    let errors = std::thread::spawn(move || std::io::read_to_string(errors).expect("UTF-8"));
    let out = std::io::read_to_string(child.stdout.take().expect("stdout is piped")).expect("UTF-8");
    writer.join().expect("the input is written");
    let code = child.wait().expect("a child of ours").code();
    Ran { code, out, errors: errors.join().expect("the errors are read") }
}

/// Calls a server, at any of its nodes, with the right key.
#[track_caller]
fn api(server: &Server, arguments: &[&str], input: &str) -> Ran {
    let url = format!("http://{}", server.address());
    let ran = ran(&[("api_url", &url), ("api_key", KEY)], arguments, input);
    assert!(!format!("{ran:?}").contains(KEY), "{ran:?}");
    ran
}

/// Calls a server, which must do what it is asked.
#[track_caller]
fn done(server: &Server, arguments: &[&str], input: &str) -> String {
    let ran = api(server, arguments, input);
    assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
    ran.out
}

/// Returns the words of each line.
fn words(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split_whitespace().collect()).collect()
}

/// Returns the JSON objects in a text, one on each line.
#[track_caller]
fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

#[test]
fn messages_are_published_from_arguments_and_from_standard_input() {
    let server = start(&[]);
    let mut alice = Speaker::alone(&server, "alice?room=a");
    for (arguments, input, user, text) in [
        (&["hi there"][..], "", "server", "hi there"),
        (&["--user", "carol", "--", "-x"], "", "carol", "-x"),
        (&[], "two\nlines\n", "server", "two\nlines"),
        (&["-"], "no break", "server", "no break"),
        (&[], "", "server", ""),
    ] {
        let out = done(&server, &[&["publish", "--room", "a"], arguments].concat(), input);
        let event = alice.expect("message");
        assert_eq!((&event["user"], &event["message"]), (&json!(user), &json!(text)));
        let (offset, id) = (event["offset"].to_string(), event["id"].as_str().expect("an id"));
        assert_eq!(words(&out), [vec!["ROOM", "OFFSET", "ID", "DUPLICATE"], vec!["a", &offset, id, "no"]]);
    }
    let keyed = ["publish", "--room", "a", "--idempotency-key", "k", "--json", "once"];
    let [first, again] = [0; 2].map(|_| objects(&done(&server, &keyed, "")).remove(0));
    assert_eq!((&first["duplicate"], &again["duplicate"]), (&json!(false), &json!(true)));
    assert_eq!(first["id"], again["id"]);
    assert_eq!(alice.expect("message")["message"], "once");
    assert_eq!(words(&done(&server, &["direct", "--to", "alice", "psst"], "")), [["DELIVERED"], ["1"]]);
    assert_eq!(alice.expect("direct")["message"], "psst");
    let all = done(&server, &["broadcast", "--room", "a", "--room", "b", "all"], "");
    assert_eq!(words(&all)[2][..3], ["2", "b", "1"], "{all}");
    assert_eq!(alice.expect("message")["message"], "all");
    alice.expect_nothing();
}

#[test]
fn messages_carry_data_and_names_from_the_command_line() {
    let server = start(&[]);
    let mut alice = Speaker::alone(&server, "alice?room=a");
    let more = ["--data", r#"{"a":[1,null]}"#, "--name", "Anna Müller", "--user", "anna"];
    done(&server, &[&["publish", "--room", "a", "hi"], &more[..]].concat(), "");
    let message = alice.expect("message");
    assert_eq!((&message["data"], &message["name"]), (&json!({"a": [1, null]}), &json!("Anna Müller")));
    assert_eq!(api(&server, &["publish", "--room", "a", "hi", "--data", "{"], "").code, Some(USAGE));
    alice.expect_nothing();
}

#[test]
fn tokens_are_revoked_and_settings_read_again_from_the_command_line() {
    let secret = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&secret, format!("{SECRET}\n")).expect("it can be written");
    let path = secret.path().to_str().expect("UTF-8").to_owned();
    let server = start(&[("auth.required", "true"), ("auth.secret_file", &path)]);
    let token = mint(&["--sub", "bob"]);
    let mut bob = Socket::open(server.address(), &format!("/ws/chat/bob?room=a&token={token}"));
    bob.read_text();
    let revoked = done(&server, &["revoke", "--user", "bob"], "");
    assert_eq!(words(&revoked), [["CLOSED", "DURABLE"], ["1", "no"]]);
    assert_eq!(bob.skip_to_close().0, 3003);
    done(&server, &["revoke", "--token", "7", "--until", "4000000000"], "");
    for wrong in [&["revoke"][..], &["revoke", "--token", "7"], &["revoke", "--until", "4000000000"]] {
        assert_eq!(api(&server, wrong, "").code, Some(USAGE), "{wrong:?}");
    }
    std::fs::write(&secret, "another-secret-of-at-least-32-bytes\n").expect("it can be written");
    let reloaded = objects(&done(&server, &["reload", "--json"], "")).remove(0);
    assert_eq!(reloaded, json!({"changed": ["auth.secret"], "restart": []}));
    secret.close().expect("it is gone");
    let refused = api(&server, &["reload"], "");
    assert!(refused.code == Some(REFUSED) && refused.errors.contains(&path), "{refused:?}");
}

#[test]
fn connections_are_ended_from_the_command_line() {
    let server = start(&[]);
    for (call, close) in [
        (&["disconnect", "bob"][..], (4501, "Kicked")),
        (&["kick", "bob", "--code", "4100", "--reason", "bye"], (4100, "bye")),
    ] {
        let mut bob = Socket::open(server.address(), "/ws/chat/bob?room=a");
        bob.read_text();
        assert_eq!(words(&done(&server, call, "")), [["CLOSED"], ["1"]], "{call:?}");
        assert_eq!(bob.skip_to_close(), (close.0, close.1.to_owned()));
    }
    let mut bob = Speaker::alone(&server, "bob?room=b");
    let named = objects(&done(&server, &["user", "bob", "--json"], "")).remove(0);
    let name = named["connections"][0]["connection"].as_str().expect("a name");
    assert_eq!(words(&done(&server, &["kick", "bob", "--except", name], "")), [["CLOSED"], ["0"]]);
    assert_eq!(words(&done(&server, &["leave", "bob", "b"], "")), [["LEFT"], ["1"]]);
    bob.expect("left");
    done(&server, &["publish", "--room", "b", "gone"], "");
    done(&server, &["forget", "b"], "");
    let forgotten = api(&server, &["history", "b"], "");
    assert!(forgotten.code == Some(REFUSED) || words(&forgotten.out).len() == 1, "{forgotten:?}");
}

#[test]
fn lists_are_tables_with_all_pages_if_asked() {
    let server = start(&[]);
    let rooms = ["a1", "a2", "a3", "b1"];
    let mut _speakers = Vec::new();
    for room in rooms {
        done(&server, &["publish", "--room", room, "hi"], "");
        _speakers.push(Speaker::alone(&server, &format!("user-{room}?room={room}")));
    }
    _speakers.push(Speaker::enter(&server, "user-x?room=b1"));
    let first = |text: &str| words(text).iter().skip(1).map(|row| row[0].to_owned()).collect::<Vec<_>>();
    assert_eq!(first(&done(&server, &["rooms", "--pattern", "a*", "--limit", "2", "--all"], "")), rooms[..3]);
    let page = api(&server, &["rooms", "--limit", "2"], "");
    assert_eq!(first(&page.out), rooms[..2]);
    assert!(page.errors.contains("--after a2"), "{page:?}");
    assert_eq!(first(&done(&server, &["rooms", "--limit", "2", "--after", "a2"], "")), rooms[2..]);
    let pages = objects(&done(&server, &["rooms", "--limit", "3", "--all", "--json"], ""));
    let lens: Vec<_> = pages.iter().map(|page| page["rooms"].as_array().map(Vec::len)).collect();
    assert_eq!(lens, [Some(3), Some(1)]);
    assert_eq!(first(&done(&server, &["room", "a1"], "")), ["a1"]);
    let users = ["user-a1", "user-a2", "user-a3", "user-b1", "user-x"];
    assert_eq!(first(&done(&server, &["users", "--limit", "2", "--all"], "")), users);
    eventually("both users are in the room", || {
        first(&done(&server, &["presence", "b1", "--limit", "1", "--all"], "")) == users[3..]
    });
    let rows = done(&server, &["user", "user-a1"], "");
    let row = words(&rows)[1].join(" ");
    assert!(row.ends_with("throng.v1 a1") && row.contains('/'), "{rows}");
    assert_eq!(words(&done(&server, &["slow"], "")).len(), 1);
    let info = done(&server, &["info"], "");
    assert_eq!(words(&info)[0][..2], ["NODE", "VERSION"]);
    assert_eq!(words(&info).len(), 1 + server.addresses().len(), "{info}");
}

/// A message is text of a stranger: it does not reach the terminal as anything else.
#[test]
fn a_history_shows_texts_on_one_line_without_control_characters() {
    let server = start(&[]);
    let texts = ["one", "\u{1b}[2Jtwo\nlines\u{202e}", "three"];
    for text in texts {
        done(&server, &["publish", "--room", "a"], text);
    }
    let shown = done(&server, &["history", "a"], "");
    assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown:?}");
    assert_eq!(shown.lines().count(), 4, "{shown}");
    assert!(shown.contains("\\u{1b}[2Jtwo\\nlines\\u{202e}"), "{shown}");
    let json = done(&server, &["history", "a", "--json"], "");
    assert!(!json.contains(['\u{1b}', '\u{202e}']), "{json:?}");
    assert_eq!(objects(&json)[0]["messages"][1]["message"], texts[1]);
    let last = api(&server, &["history", "a", "--limit", "1"], "");
    assert!(last.out.ends_with("three\n") && last.errors.contains("--before 3"), "{last:?}");
    let before = done(&server, &["history", "a", "--before", "2"], "");
    assert_eq!(words(&before)[1].last(), Some(&"one"), "{before}");
}

/// 1. More commands come than fit into a call, one of them wrong.
/// 2. All of them have an outcome, in order, and the exit code says that one has failed.
#[test]
fn a_batch_of_any_length_is_sent_in_calls_that_fit() {
    let server = start(&[]);
    let line = |n: u32| match n {
        1_500 => json!({"publish": {"room": "no room", "message": "x"}}).to_string() + "\n",
        _ => json!({"publish": {"room": "a", "message": n.to_string()}}).to_string() + "\n\n",
    };
    let input: String = (1..=2_001).map(line).collect();
    let ran = api(&server, &["batch", "--json"], &input);
    assert_eq!(ran.code, Some(REFUSED), "{ran:?}");
    assert!(ran.errors.contains("number 1500: invalid_room"), "{}", ran.errors);
    let results: Vec<Value> =
        objects(&ran.out).iter().flat_map(|page| page["results"].as_array().cloned()).flatten().collect();
    assert_eq!((objects(&ran.out).len(), results.len()), (3, 2_001));
    let offsets = results.iter().filter_map(|outcome| outcome["result"]["offset"].as_u64());
    assert!(offsets.eq(1..=2_000), "in the order of the lines");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let document =
        json!({"commands": [{"disconnect": {"user": "bob"}}, {"direct": {"to": "bob", "message": "x"}}]});
    write!(file, "{document:#}").expect("written");
    let path = file.path().to_str().expect("a path in UTF-8");
    let ran = api(&server, &["batch", path], "");
    assert_eq!((ran.code, words(&ran.out)[2][1]), (Some(REFUSED), "user_not_found"), "{ran:?}");
    for input in ["", "[]", "nothing\n", "{\"publish\":{}} {\"publish\":{}}\n"] {
        assert_eq!(api(&server, &["batch"], input).code, Some(USAGE), "{input:?}");
    }
    // A line that ends the list of commands by itself is no way around the check of the others.
    let input = "{\"publish\":{\"room\":\"a\",\"message\":\"x\"}}\n{}],\"commands\":[{}\n";
    assert_eq!(api(&server, &["batch"], input).code, Some(USAGE));
    assert_eq!(words(&done(&server, &["room", "a"], ""))[1][2], "2000", "nothing of it was published");
}

#[test]
fn a_key_comes_from_a_file_or_the_environment_and_never_from_an_argument() {
    let server = start(&[]);
    let url = format!("http://{}", server.address());
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    writeln!(file, "backend={KEY}\nother=key").expect("written");
    let path = file.path().to_str().expect("a path in UTF-8");
    assert_eq!(ran(&[], &["info", "--url", &url, "--key-file", path], "").code, Some(0));
    assert_eq!(ran(&[("api_key", "wrong")], &["info", "--url", &url, "--key-file", path], "").code, Some(0));
    let wrong = ran(&[("api_key", "a-wrong-key")], &["info", "--url", &url], "");
    assert_eq!(wrong.code, Some(REFUSED), "{wrong:?}");
    assert!(wrong.errors.contains("api_key: ") && !wrong.errors.contains("a-wrong-key"), "{wrong:?}");
    for (variables, arguments) in [
        (&[][..], &["info", "--url", &url][..]),
        (&[("api_key", "")], &["info", "--url", &url]),
        (&[("api_key", "a key with blanks")], &["info", "--url", &url]),
        (&[], &["info", "--url", &url, "--key", KEY]),
        (&[], &["info", "--url", &url, "--key-file", "/no/such/file"]),
        (&[("api_key", KEY)], &["info", "--url", "http://8.8.8.8"]),
        (&[("api_key", KEY)], &["info", "--url", "ws://127.0.0.1"]),
        (&[("api_key", KEY), ("api_url", "nothing")], &["info"]),
    ] {
        let ran = ran(variables, arguments, "");
        assert_eq!(ran.code, Some(USAGE), "{arguments:?}: {ran:?}");
        assert!(!ran.errors.contains("blanks"), "{ran:?}");
    }
}

/// Answers one request with these bytes, and ends the connection.
fn answering(bytes: String) -> (SocketAddr, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let asked = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a connection");
        let mut head = Vec::new();
        while !head.ends_with(b"{}") {
            let mut byte = [0];
            socket.read_exact(&mut byte).expect("a request");
            head.push(byte[0]);
        }
        socket.write_all(bytes.as_bytes()).expect("written");
        String::from_utf8(head).expect("UTF-8")
    });
    (address, asked)
}

#[test]
fn the_exit_code_tells_whether_something_was_done() {
    let server = start(&[("api.requests_per_second", "1")]);
    let address = server.addresses()[0];
    let url = format!("http://{address}");
    let call = |arguments: &[&str]| ran(&[("api_url", &url), ("api_key", KEY)], arguments, "");
    let mut limited = call(&["info"]);
    eventually("a call too many", || {
        limited = call(&["info"]);
        limited.errors.contains("rate_limited: ")
    });
    assert_eq!(limited.code, Some(UNAVAILABLE), "{limited:?}");
    assert!(limited.errors.contains("Retry-After: 1 s"), "{limited:?}");
    let refused = Server::start(&[("api.keys", KEY)]);
    for (arguments, code) in [
        (&["publish", "--room", "no room", "x"][..], "invalid_room"),
        (&["direct", "--to", "nobody", "x"], "user_not_found"),
        (&["rooms", "--limit", "0"], "invalid_field"),
        (&["room", "nowhere"], "room_not_found"),
    ] {
        let ran = api(&refused, arguments, "");
        assert_eq!((ran.code, &*ran.out), (Some(REFUSED), ""), "{ran:?}");
        assert!(ran.errors.contains(&format!("{code}: ")), "{ran:?}");
    }
    let error = |status: u16, code: &str| {
        let body = json!({"error": {"code": code, "message": "a text"}}).to_string();
        format!("HTTP/1.1 {status} A\r\nRetry-After: 3\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    for (answer, code) in [
        (String::new(), UNANSWERED),
        (error(504, "unknown_outcome"), UNANSWERED),
        (error(503, "draining"), UNAVAILABLE),
        (error(400, "a_code_of_later"), REFUSED),
        ("HTTP/1.1 502 A\r\nContent-Length: 5\r\n\r\n<html".into(), UNANSWERED),
        (
            "HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".into(),
            UNAVAILABLE,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<html".into(), UNAVAILABLE),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n".into(), UNANSWERED),
    ] {
        let (address, asked) = answering(answer.clone());
        let url = format!("http://{address}/behind/a/proxy/");
        let ran = ran(&[("api_url", &url), ("api_key", KEY)], &["info"], "");
        assert_eq!(ran.code, Some(code), "{answer:?}: {ran:?}");
        let asked = asked.join().expect("a request").to_lowercase();
        assert!(asked.starts_with("post /behind/a/proxy/api/info http/1.1\r\n"), "{asked}");
        assert!(asked.contains(&format!("\r\nx-api-key: {KEY}\r\n")), "{asked}");
    }
    let nobody = ran(&[("api_url", "http://127.0.0.1:1"), ("api_key", KEY)], &["info"], "");
    assert_eq!(nobody.code, Some(UNAVAILABLE), "{nobody:?}");
}
