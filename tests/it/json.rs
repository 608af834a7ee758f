//! Hostile JSON: each input gets an error reply or a message. Where the rules leave it open, inputs of all lengths get
//! the same.

use serde_json::Value;

use crate::support::frame::{Frame, TEXT, text};
use crate::support::raw::{Socket, handshake};
use crate::support::server::Server;

/// The expected answer to an input.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Verdict {
    /// An error reply with one of the codes for malformed input.
    Error,
    /// The message, with this text.
    Message(&'static str),
    /// Either, but the same for short and long inputs.
    Open,
}

use Verdict::{Error, Message, Open};

/// Returns values that are hard to store or to decode.
fn values() -> Vec<(&'static str, String, Verdict)> {
    let nested = |open: &str, close: &str, depth: usize| open.repeat(depth) + close.repeat(depth).as_str();
    let ignored = |value: &str| format!(r#"{{"ignored":{value},"message":"hi"}}"#);
    let message = |value: &str| format!(r#"{{"message":{value}}}"#);
    vec![
        ("a bomb of arrays", "[".repeat(65_536), Error),
        ("a bomb of objects", r#"{"a":"#.repeat(13_000), Error),
        ("a bomb in message", message(&"[".repeat(60_000)), Error),
        ("closed arrays, deep, in an ignored field", ignored(&nested("[", "]", 30_000)), Error),
        (
            "closed objects, deep, in an ignored field",
            ignored(&format!("{}1{}", r#"{"a":"#.repeat(9000), "}".repeat(9000))),
            Error,
        ),
        (
            "deep behind the message",
            format!(r#"{{"message":"hi","ignored":{}}}"#, nested("[", "]", 1500)),
            Error,
        ),
        ("a little nesting", ignored(r#"{"a":[{"b":[1]}]}"#), Message("hi")),
        ("a duplicate key", r#"{"message":"a","message":"b"}"#.into(), Error),
        ("a duplicate key, ignored", r#"{"x":1,"x":2,"message":"hi"}"#.into(), Open),
        ("2^64", message("18446744073709551616"), Error),
        ("2^64 ignored", ignored("18446744073709551616"), Message("hi")),
        ("1e400", message("1e400"), Error),
        ("1e400 ignored", ignored("1e400"), Message("hi")),
        ("a number of 10,000 digits, ignored", ignored(&"9".repeat(10_000)), Message("hi")),
        ("NaN", ignored("NaN"), Error),
        ("a number with a leading zero", ignored("01"), Error),
        ("a lone high surrogate", message(r#""\ud800""#), Message("\u{fffd}")),
        ("a lone low surrogate", message(r#""\udc00""#), Message("\u{fffd}")),
        ("a lone surrogate ignored", ignored(r#""\udc00""#), Message("hi")),
        ("surrogates the wrong way round", message(r#""\udc00\ud800""#), Message("\u{fffd}\u{fffd}")),
        ("a high surrogate and a letter", message(r#""\ud800a""#), Message("\u{fffd}a")),
        ("a pair of surrogates", message(r#""\ud83e\udd80""#), Message("🦀")),
        (r"\u0000", message(r#""a\u0000b""#), Open),
        ("an unknown escape", message(r#""\x41""#), Error),
        ("an escape cut short", message(r#""\u00"#), Error),
        ("a raw newline in a string", message("\"a\nb\""), Error),
        ("a raw NUL in a string", message("\"a\0b\""), Error),
    ]
}

/// Returns whole texts that are not one object, or barely are.
fn shapes() -> Vec<(&'static str, String, Verdict)> {
    let message = |value: &str| format!(r#"{{"message":{value}}}"#);
    vec![
        ("trailing letters", r#"{"message":"hi"} x"#.into(), Error),
        ("a second object", r#"{"message":"a"}{"message":"b"}"#.into(), Error),
        ("a trailing comma", r#"{"message":"hi",}"#.into(), Error),
        ("a trailing brace", r#"{"message":"hi"}}"#.into(), Error),
        ("a byte order mark", "\u{feff}{\"message\":\"hi\"}".into(), Error),
        ("a no-break space before", "\u{a0}{\"message\":\"hi\"}".into(), Error),
        ("a vertical tab before", "\u{b}{\"message\":\"hi\"}".into(), Error),
        ("a NUL behind", "{\"message\":\"hi\"}\0".into(), Error),
        ("blanks around", "\t\r\n {\"message\":\"hi\"}\n\n".into(), Message("hi")),
        ("an array for an object", r#"["hi"]"#.into(), Error),
        ("an array of all fields", r#"[null,"hi",null,null,null,null,null,null]"#.into(), Error),
        ("an empty array", "[]".into(), Error),
        ("null", "null".into(), Error),
        ("a string", r#""hi""#.into(), Error),
        ("nothing", String::new(), Error),
        ("blanks", "   ".into(), Error),
        ("message is null", message("null"), Error),
        ("message is an array", message(r#"["hi"]"#), Error),
        ("message is an object", message(r#"{"message":"hi"}"#), Error),
        ("message is true", message("true"), Error),
        ("message is empty", message(r#""""#), Message("")),
        ("a key in escapes", r#"{"\u006dessage":"hi"}"#.into(), Message("hi")),
        ("single quotes", "{'message':'hi'}".into(), Error),
        ("a key without quotes", r#"{message:"hi"}"#.into(), Error),
        ("a comment", r#"{/**/"message":"hi"}"#.into(), Error),
        ("cut in a string", r#"{"message":"hi"#.into(), Error),
        ("cut behind a backslash", r#"{"message":"hi\"#.into(), Error),
        ("cut behind a key", r#"{"message""#.into(), Error),
        ("a key of 60,000 characters", format!(r#"{{"{}":1,"message":"hi"}}"#, "k".repeat(60_000)), Open),
        (
            "5,000 keys",
            format!(r#"{{{}"message":"hi"}}"#, (0..5000).map(|n| format!("\"k{n}\":1,")).collect::<String>()),
            Open,
        ),
    ]
}

/// Sends `input` and returns the answer: `Ok` with the text of a message, `Err` with the code of an error reply.
#[track_caller]
fn verdict(socket: &mut Socket, name: &str, input: &str) -> Result<String, String> {
    socket.send(text(input));
    let answer = socket.read_text();
    let event: Value = serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{name}: {e}: {answer}"));
    let field = |field: &str| event[field].as_str().unwrap_or_else(|| panic!("{name}: {answer}")).to_owned();
    match event["type"].as_str() {
        Some("message") => Ok(field("message")),
        Some("error") => Err(field("code")),
        _ => panic!("{name}: {answer}"),
    }
}

#[test]
fn every_input_gets_its_verdict_and_the_connection_lives() {
    let server = Server::start(&[("limits.malformed_per_minute", "1000000")]);
    let mut socket = Socket::open(server.address(), "/ws/chat/alice");
    assert!(socket.read_text().contains("has joined the chat"));
    for (name, input, expected) in values().into_iter().chain(shapes()) {
        println!("JSON: {name}");
        let got = verdict(&mut socket, name, &input);
        match expected {
            Message(text) => assert_eq!(got.as_deref(), Ok(text), "{name}"),
            Error => {
                let code = got.as_ref().expect_err(name);
                let codes = ["invalid_json", "invalid_message", "missing_field"];
                assert!(codes.contains(&code.as_str()), "{name}: {code}");
            }
            Open => {}
        }
        // A parser may change its method with the length: blanks in front and behind must not change the verdict.
        for blanks in [1, 31, 64, 1000, 5000] {
            let padded = format!("{0}{input}{0}", " ".repeat(blanks));
            if padded.len() <= 65_536 {
                let again = verdict(&mut socket, name, &padded);
                assert_eq!(
                    again.is_ok(),
                    got.is_ok(),
                    "{name}: {blanks} blanks change the verdict: {again:?}"
                );
            }
        }
        assert_eq!(verdict(&mut socket, name, r#"{"message":"alive"}"#).as_deref(), Ok("alive"), "{name}");
    }
    let mut other = Socket::open(server.address(), "/ws?raw");
    other.send(text("alive"));
    assert_eq!(other.read_text(), "alive");
}

#[test]
fn a_message_in_fragments_is_parsed_like_a_whole_one() {
    let server = Server::start(&[]);
    let mut socket = Socket::open(server.address(), "/ws/chat/alice");
    assert!(socket.read_text().contains("has joined the chat"));
    let input = r#"{"message":"grüße 🦀"}"#.as_bytes();
    for cut in 0..=input.len() {
        socket.send(Frame::new(TEXT, &input[..cut]).unfinished().bytes());
        socket.send(Frame::new(0, &input[cut..]).bytes());
        let event: Value = serde_json::from_str(&socket.read_text()).expect("JSON");
        assert_eq!(event["message"], "grüße 🦀", "cut at {cut}");
    }
}

#[test]
fn repeated_malformed_input_ends_with_4502() {
    let server = Server::start(&[("limits.malformed_per_minute", "3")]);
    for bad in ["not JSON", "[]", r#"{"message":"#] {
        let mut socket = Socket::open(server.address(), "/ws/chat/alice");
        assert!(socket.read_text().contains("has joined the chat"));
        for _ in 0..3 {
            socket.send(text(r#"{"message":"good ones do not count"}"#));
            assert!(socket.read_text().contains("\"message\""));
            socket.send(text(bad));
            assert!(socket.read_text().contains("\"error\""));
        }
        socket.send(text(bad));
        assert_eq!(socket.skip_to_close(), (4502, "Repeated malformed input".to_owned()), "{bad}");
        socket.expect_eof();
    }
}

/// Sends a command, and skips events up to one that has this value in this field; returns that.
#[track_caller]
fn answer(socket: &mut Socket, input: &str, field: &str, value: &str) -> Value {
    socket.send(text(input));
    loop {
        let event: Value = serde_json::from_str(&socket.read_text()).expect("JSON");
        if event[field] == value {
            return event;
        }
        // Presence events and messages may come between, but an error would be an answer.
        assert_ne!(event["type"], "error", "no {value} but {event}");
    }
}

#[test]
fn a_command_of_valid_json_gets_an_answer_with_its_id() {
    let server = Server::start(&[]);
    let mut socket = Socket::connect(server.address());
    socket.send(handshake("/ws/chat/alice", "Sec-WebSocket-Protocol: throng.v1\r\n"));
    socket.expect_upgrade();
    let cut = r#"{"type":"message","message":"\ud83d","id":"s"}"#;
    assert_eq!(answer(&mut socket, cut, "type", "message")["message"], "\u{fffd}");
    answer(&mut socket, &cut.replace("\"s\"", "\"t\""), "re", "t");
    for (field, value, range) in [
        ("limit", "1e400", "from 1 to 100"),
        ("before", "18446744073709551616", "from 0 to 18446744073709551615"),
        ("before", "-1e400", "from 0 to 18446744073709551615"),
    ] {
        let history = format!(r#"{{"type":"history","room":"lobby","{field}":{value},"id":"h"}}"#);
        let error = answer(&mut socket, &history, "re", "h");
        assert_eq!(error["code"], "invalid_message", "{error}");
        let text = error["message"].as_str().expect("a text");
        assert!(text.contains(&format!("'{field}' must be a whole number {range}")), "{text}");
    }
    let ping = r#"{"type":"ping","x":["\ud800",1e400],"id":"p"}"#;
    assert_eq!(answer(&mut socket, ping, "re", "p")["type"], "pong");
}

#[test]
fn half_a_surrogate_pair_is_no_mistake_on_the_other_endpoints() {
    let server = Server::start(&[]);
    let mut messages = Socket::open(server.address(), "/ws/messages");
    answer(&mut messages, r#"{"message":"a\ud83d","n":1e400}"#, "message", "Received: a\u{fffd}");
    let mut heartbeat = Socket::open(server.address(), "/ws/heartbeat");
    assert!(heartbeat.read_text().contains("heartbeat"));
    let content = r#"{"content":"\udc00b","n":18446744073709551616}"#;
    answer(&mut heartbeat, content, "content", "Received: \u{fffd}b");
}
