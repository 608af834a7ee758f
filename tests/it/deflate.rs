//! permessage-deflate (RFC 7692): what is negotiated, compressed messages of clients, right and wrong, and rooms whose
//! members get events in either form.

use serde_json::json;

use crate::support::deflate::{ANSWER, OFFER, deflate, fragments, frame as compressed, text};
use crate::support::frame::{
    BINARY, CONTINUATION, Frame, PING, PONG, Received, TEXT, first, last, ping, text as plain,
};
use crate::support::raw::{Socket, handshake};
use crate::support::server::{SMALL_QUEUES, Server, Settings};
use crate::support::speaker::Speaker;

const KIB: usize = 1024;

/// Lets clients compress.
const ENABLED: Settings<'static> = &[("compression.enabled", "true")];

/// Lets clients compress, in rooms without notices.
const QUIET: Settings<'static> =
    &[("compression.enabled", "true"), ("presence.notice_limit", "0"), ("presence.interval", "1h")];

/// Opens a WebSocket that has negotiated compression.
#[track_caller]
fn open(server: &Server, path: &str) -> Socket {
    let mut socket = Socket::connect(server.address());
    socket.send(handshake(path, OFFER));
    let response = socket.expect_upgrade();
    assert_eq!(response.header("sec-websocket-extensions"), Some(ANSWER), "{response:?}");
    socket
}

/// Enters the chat in `throng.v1`, with compression.
#[track_caller]
fn enter(server: &Server, path: &str) -> Speaker {
    let speaker = Speaker::on(Socket::connect(server.address()), path, OFFER);
    assert!(speaker.socket.deflated.is_some(), "compression is negotiated");
    speaker
}

#[track_caller]
fn refused(server: &Server, name: &str, bytes: &[Vec<u8>], code: u16) {
    println!("refused: {name}");
    let mut socket = open(server, "/ws?raw");
    socket.send(bytes.concat());
    assert_eq!(socket.read_close().0, code, "{name}");
    socket.expect_eof();
}

#[test]
fn offers_are_answered_as_the_rfc_wants() {
    let server = Server::start(ENABLED);
    let nine = format!("{ANSWER}; server_max_window_bits=9");
    let fifteen = format!("{ANSWER}; server_max_window_bits=15");
    for (offer, answer) in [
        ("permessage-deflate", Some(ANSWER)),
        ("permessage-deflate; client_max_window_bits", Some(ANSWER)),
        ("permessage-deflate; client_max_window_bits=9; server_no_context_takeover", Some(ANSWER)),
        ("permessage-deflate; server_max_window_bits=15", Some(&fifteen)),
        ("permessage-deflate; server_max_window_bits=9", Some(&nine)),
        ("permessage-deflate; server_max_window_bits=9, permessage-deflate", Some(ANSWER)),
        ("permessage-deflate; x, permessage-deflate", Some(ANSWER)),
        ("x-other; a=b, permessage-deflate", Some(ANSWER)),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=7", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; client_max_window_bits=99", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("permessage-deflate; client_no_context_takeover; client_no_context_takeover", None),
        ("permessage-deflate; unknown", None),
        ("x-webkit-deflate-frame", None),
        ("", None),
    ] {
        let mut socket = Socket::connect(server.address());
        socket.send(handshake("/ws?raw", &format!("Sec-WebSocket-Extensions: {offer}\r\n")));
        let response = socket.expect_upgrade();
        assert_eq!(response.header("sec-websocket-extensions"), answer, "{offer}");
        socket.send(plain("plain"));
        assert_eq!(socket.read_text(), "plain", "{offer}");
        socket.send(text("compressed"));
        match answer {
            Some(_) => assert_eq!(socket.read_text(), "compressed", "{offer}"),
            None => assert_eq!(socket.read_close().0, 1002, "{offer}"),
        }
    }
    let mut socket = Socket::connect(server.address());
    let headers = "Sec-WebSocket-Extensions: x\r\nSec-WebSocket-Protocol: a, echo\r\n";
    socket.send(handshake("/ws", &format!("{headers}{OFFER}")));
    let response = socket.expect_upgrade();
    let selected = ["sec-websocket-extensions", "sec-websocket-protocol"].map(|name| response.header(name));
    assert_eq!(selected, [Some(ANSWER), Some("echo")], "each header has its own choice");
}

#[test]
fn nothing_is_compressed_unless_the_operator_wants_it() {
    let server = Server::start(&[]);
    let mut socket = Socket::connect(server.address());
    socket.send(handshake("/ws?raw", OFFER));
    assert_eq!(socket.expect_upgrade().header("sec-websocket-extensions"), None);
    socket.send(text("hello"));
    assert_eq!(socket.read_close(), (1002, "reserved bits are set".to_owned()));
}

#[test]
fn compressed_messages_are_read_however_they_are_cut() {
    let server = Server::start(ENABLED);
    let mut socket = open(&server, "/ws?raw");
    let long = "größer als ein Stück ".repeat(200);
    for message in ["", "x", "Hello", &long] {
        socket.send(text(message));
        assert_eq!(socket.read_text(), message);
        for size in [1, 2, 7, 100] {
            let form = deflate(message);
            if form.len().div_ceil(size) <= 64 {
                socket.send(fragments(&form, size, b""));
                assert_eq!(socket.read_text(), message, "in fragments of {size}");
            }
        }
    }
    socket.send(fragments(&deflate(&long), 50, &ping("between")));
    let mut pongs = 0;
    let text = loop {
        match socket.read_frame() {
            Received { opcode: PONG, .. } => pongs += 1,
            other => break other,
        }
    };
    assert!(pongs > 0 && text == Received::new(TEXT, &long), "{pongs} pongs");
    socket.drip(self::text("drop by drop"));
    assert_eq!(socket.read_text(), "drop by drop");
    socket.send(
        [plain("a"), self::text("b"), first("c"), last("d"), compressed(BINARY, deflate([0xff; 300]))]
            .concat(),
    );
    assert_eq!([socket.read_text(), socket.read_text(), socket.read_text()], ["a", "b", "cd"]);
    assert_eq!(socket.read_frame(), Received::new(BINARY, [0xff; 300]));
    // A final block, one without compression, and nothing at all.
    for (form, message) in [
        (&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00][..], "Hello"),
        (&[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00], "Hello"),
        (&[0x00], ""),
        (&[], ""),
    ] {
        socket.send(compressed(TEXT, form));
        assert_eq!(socket.read_text(), message, "{form:x?}");
    }
}

#[test]
fn rsv1_in_the_wrong_frame_ends_with_1002() {
    let server = Server::start(ENABLED);
    let form = deflate("Hello");
    let cut = |opcode| Frame::new(opcode, &form[..2]).rsv(4).unfinished().bytes();
    for (name, bytes) in [
        ("a ping", vec![Frame::new(PING, "hi").rsv(4).bytes()]),
        ("a pong", vec![Frame::new(PONG, "hi").rsv(4).bytes()]),
        ("a close", vec![Frame::new(0x8, [3, 0xe8]).rsv(4).bytes()]),
        ("a continuation", vec![cut(TEXT), Frame::new(CONTINUATION, &form[2..]).rsv(4).bytes()]),
        ("a continuation of a plain message", vec![first("a"), Frame::new(CONTINUATION, "b").rsv(4).bytes()]),
        ("a ping inside a message", vec![cut(TEXT), Frame::new(PING, "").rsv(4).bytes()]),
        ("a message inside a message", vec![cut(TEXT), text("x")]),
        ("rsv2 too", vec![Frame::new(TEXT, &form).rsv(6).bytes()]),
        ("rsv3 too", vec![Frame::new(TEXT, &form).rsv(5).bytes()]),
        ("rsv2 alone", vec![Frame::new(TEXT, &form).rsv(2).bytes()]),
        ("an opcode that does not exist", vec![Frame::new(0x3, &form).rsv(4).bytes()]),
        ("not masked", vec![Frame::new(TEXT, &form).rsv(4).unmasked().bytes()]),
    ] {
        refused(&server, name, &bytes, 1002);
    }
}

#[test]
fn damaged_streams_and_text_that_is_not_utf8_end_with_1007() {
    let server = Server::start(ENABLED);
    let message = "a text that is long enough to be cut at every byte, again and again and again";
    let form = deflate(message);
    for len in 1..form.len() {
        refused(&server, &format!("cut at {len}"), &[compressed(TEXT, &form[..len])], 1007);
    }
    let early = fragments(&form[..form.len() - 3], 9, b"");
    for (name, bytes) in [
        ("a reserved kind of block", compressed(TEXT, [0x06])),
        ("noise", compressed(BINARY, [0xff; 40])),
        ("plain text", compressed(TEXT, "Hello")),
        ("a reference to the message before", compressed(TEXT, [0xf2, 0x00, 0x11, 0x00, 0x00])),
        ("a false length", compressed(TEXT, [0x00, 0x05, 0x00, 0xfa, 0xfe, 0, 0, 0, 0, 0, 0])),
        ("fragments without an end", early),
        ("no UTF-8", text([b'a', 0xff])),
        ("half a character", text(&"ä".as_bytes()[..1])),
        ("a surrogate, in fragments", fragments(&deflate([0xed, 0xa0, 0x80]), 2, b"")),
    ] {
        refused(&server, name, &[bytes], 1007);
    }
    let mut socket = open(&server, "/ws?raw");
    socket.send(compressed(TEXT, [0x06]));
    assert_eq!(socket.read_close(), (1007, "Invalid compressed data".to_owned()));
    let mut socket = open(&server, "/ws?raw");
    socket.send([text("one"), compressed(TEXT, [0xff; 9])].concat());
    assert_eq!(socket.read_text(), "one");
    assert_eq!(socket.read_close().0, 1007);
}

#[test]
fn a_bomb_ends_with_1009_and_takes_no_memory() {
    let server = Server::start(&[ENABLED, &[("workers", "1")]].concat());
    let at_limit = vec![b'x'; 64 * KIB];
    let mut socket = open(&server, "/ws?raw");
    socket.send(text(&at_limit));
    assert_eq!(socket.read_text().len(), 64 * KIB);
    refused(&server, "one byte more", &[text(vec![b'x'; 64 * KIB + 1])], 1009);
    let bomb = deflate(vec![b'x'; 60 * KIB * KIB]);
    assert!(bomb.len() < 64 * KIB && bomb.len() * 1000 < 60 * KIB * KIB, "{}", bomb.len());
    refused(&server, "warm", &[compressed(TEXT, &bomb)], 1009);
    let before = server.settled_rss();
    for _ in 0..50 {
        refused(&server, "a bomb", &[compressed(TEXT, &bomb)], 1009);
        refused(&server, "a bomb in fragments", &[fragments(&bomb, bomb.len() / 20, b"")], 1009);
    }
    let grown = server.settled_rss().saturating_sub(before);
    assert!(grown < 4 * KIB * KIB, "{grown} bytes more after 100 bombs of 60 MiB");
    // A message that cannot be made shorter may come compressed up to the limit, too.
    let mut random = fastrand::Rng::with_seed(1);
    let noise: Vec<u8> = (0..64 * KIB).map(|_| random.u8(..)).collect();
    let mut socket = open(&server, "/ws?raw");
    let form = deflate(&noise);
    assert!(form.len() > noise.len());
    socket.send(compressed(BINARY, &form));
    assert_eq!(socket.read_frame(), Received::new(BINARY, &noise));
    refused(&server, "too long before it is read", &[compressed(BINARY, vec![0; 66 * KIB])], 1009);
}

#[test]
fn the_rate_counts_compressed_messages_like_others() {
    let settings =
        [("rate_limit.enabled", "true"), ("rate_limit.messages_per_second", "1"), ("rate_limit.burst", "3")];
    let server = Server::start(&[QUIET, &settings].concat());
    let mut speaker = enter(&server, "alice?room=r");
    for id in 0..9 {
        let said = "compressed ".repeat(40);
        let command =
            json!({"type": "message", "room": "r", "message": said, "echo": false, "id": id.to_string()});
        speaker.socket.send(text(command.to_string()));
    }
    let answers: Vec<_> = (0..9).map(|_| speaker.event()).collect();
    let refused = answers.iter().filter(|answer| answer["code"] == "rate_limited").count();
    // One more may pass on a machine that takes a second for this.
    assert!((4..=6).contains(&refused), "{refused}: {answers:?}");
}

/// Texts of several lengths, one of which cannot be compressed.
fn texts() -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(3);
    let noise: String = (0..100).map(|_| random.alphanumeric()).collect();
    let long = "people said this about the room ".repeat(14);
    vec!["short".to_owned(), long, noise, "grüße an alle ".repeat(30), "x".repeat(500)]
}

#[test]
fn members_of_all_kinds_see_the_same_messages() {
    let server = Server::start(QUIET);
    let room = "?room=mixed";
    let mut plain_v1 = Speaker::enter(&server, &format!("plain-v1{room}"));
    let mut small = Speaker::on(
        Socket::connect(server.address()),
        &format!("small{room}"),
        "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10\r\n",
    );
    let mut deflated_v1 = enter(&server, &format!("deflated-v1{room}"));
    let mut plain = Socket::open(server.address(), &format!("/ws/chat/plain{room}"));
    let mut deflated = open(&server, &format!("/ws/chat/deflated{room}"));
    for (index, said) in texts().iter().enumerate() {
        match index {
            // Each kind of client speaks, compressed or not.
            0 => drop(plain_v1.say("mixed", said)),
            1 => drop(deflated_v1.say("mixed", said)),
            2 => plain.send(crate::support::frame::text(json!({"message": said}).to_string())),
            _ => deflated.send(text(json!({"message": said}).to_string())),
        }
        let author = ["plain-v1", "deflated-v1", "plain", "deflated", "deflated"][index];
        for (speaker, name) in
            [(&mut plain_v1, "plain-v1"), (&mut deflated_v1, "deflated-v1"), (&mut small, "small")]
        {
            // The answer to `say` had the message in it for its author.
            if author != name {
                assert_eq!(speaker.expect_message(author, said), index as u64 + 1, "{name}");
            }
        }
        let event = plain.skip_to_text(r#"{"type":"message""#);
        assert_eq!(deflated.skip_to_text(r#"{"type":"message""#), event);
        assert!(event.contains(said.as_str()), "{event}");
    }
    let counts = [&plain_v1.socket, &small.socket, &plain].map(|socket| socket.deflated);
    assert_eq!(counts, [None, Some(0), None], "a window of 10 bits gets nothing compressed");
    // The short text and the noise are not worth it, and a client's own message is in its ack.
    assert_eq!(deflated.deflated, Some(3));
    assert!(deflated_v1.socket.deflated >= Some(2), "{:?}", deflated_v1.socket.deflated);
    let metrics =
        ["from", "to"].map(|word| server.metric(&format!("throng_compressed_{word}_bytes_total"), ""));
    assert!(metrics[0] > 2.0 * metrics[1] && metrics[1] > 100.0, "{metrics:?}");
}

#[test]
fn only_events_from_a_length_on_are_compressed_and_take_fewer_bytes() {
    let server = Server::start(&[QUIET, &[("workers", "1"), ("chat.max_message_chars", "2000")]].concat());
    let mut author = Speaker::enter(&server, "author?room=sizes");
    let mut plain = Speaker::enter(&server, "plain?room=sizes");
    let mut deflated = enter(&server, "deflated?room=sizes");
    let words = "people in this room talk about the weather, about the news of today and about each other; ";
    for (chars, most) in [(20, 1.0), (60, 1.0), (300, 0.65), (1000, 0.5)] {
        let said: String = words.chars().cycle().take(chars).collect();
        let before = [&plain, &deflated].map(|speaker| speaker.socket.received);
        author.say("sizes", &said);
        for speaker in [&mut plain, &mut deflated] {
            while speaker.find("message")["message"] != said.as_str() {}
        }
        let after = [&plain, &deflated].map(|speaker| speaker.socket.received);
        let [full, small] = [0, 1].map(|index| (after[index] - before[index]) as f64);
        assert!(small <= full * most, "{chars} characters: {small} of {full} bytes");
        assert!(most < 1.0 || small >= full, "{chars} characters: {small} of {full} bytes");
    }
}

#[test]
fn a_client_that_leaves_and_comes_back_misses_nothing() {
    let server = Server::start(QUIET);
    let mut author = Speaker::enter(&server, "author?room=door");
    let mut reader = enter(&server, "reader?room=other");
    let long = |n: usize| format!("number {n}: {}", "words and words and words ".repeat(15));
    let mut last = 0;
    for round in 0..20 {
        author.say_quietly("door", &long(last));
        reader.command(json!({"type": "join", "room": "door"}));
        reader.find("joined");
        for _ in 0..3 {
            last += 1;
            author.say_quietly("door", &long(last));
        }
        reader.command(json!({"type": "leave", "room": "door"}));
        // The three, in order, before the answer.
        let mut next = last - 2;
        loop {
            let event = reader.event();
            match event["type"].as_str() {
                Some("message") => {
                    assert_eq!(event["message"], long(next).as_str(), "round {round}");
                    next += 1;
                }
                Some("left") => {
                    assert_eq!(next, last + 1, "round {round}: all of the three");
                    break;
                }
                _ => {}
            }
        }
        last += 1;
    }
    assert!(reader.socket.deflated > Some(0));
}

#[test]
fn laggards_lose_messages_or_their_connection_as_the_policy_says() {
    let rules =
        r#"[{pattern="old-*", queue_policy="drop_oldest"}, {pattern="new-*", queue_policy="drop_newest"}]"#;
    let server = Server::start(&[ENABLED, SMALL_QUEUES, &[("rooms", rules), ("workers", "1")]].concat());
    let mut random = fastrand::Rng::with_seed(5);
    for room in ["old-1", "new-1"] {
        let mut author = enter(&server, &format!("author?room={room}"));
        let narrow = Socket::connect_narrow(server.address());
        let mut laggard = Speaker::on(narrow, &format!("laggard?room={room}"), OFFER);
        // Compressed they have some 3 KiB.
        let texts: Vec<String> =
            (0..200).map(|_| (0..4000).map(|_| random.alphanumeric()).collect()).collect();
        for said in &texts {
            author.say_quietly(room, said);
        }
        let (mut at, mut gaps) = (0, 0);
        while at < 200 {
            let event = laggard.event();
            match event["type"].as_str() {
                Some("gap") => {
                    assert_eq!(event["from"].as_u64(), Some(at + 1), "{room}: {event}");
                    at = event["to"].as_u64().unwrap_or_default();
                    gaps += 1;
                }
                Some("message") => {
                    assert_eq!(event["offset"].as_u64(), Some(at + 1), "{room}: a silent hole");
                    assert_eq!(event["message"], texts[at as usize].as_str(), "{room}");
                    at += 1;
                }
                _ => {}
            }
        }
        assert!(gaps > 0 && laggard.socket.deflated > Some(0), "{room}: {gaps} gaps");
        author.say_quietly(room, "caught up");
        assert_eq!(laggard.expect_message("author", "caught up"), 201);
    }
    let mut author = enter(&server, "author?room=strict");
    let narrow = Socket::connect_narrow(server.address());
    let mut laggard = Speaker::on(narrow, "laggard?room=strict", OFFER);
    while server.metric("throng_slow_consumers_dropped_total", "") == 0.0 {
        author.say_quietly("strict", &"slow ".repeat(800));
    }
    assert_eq!(laggard.skip_to_end().map(|(_, code)| code), Some(4001));
}

#[test]
fn typing_and_the_echo_work_as_without_compression() {
    let server = Server::start(ENABLED);
    let mut alice = enter(&server, "alice?room=typing");
    let mut bob = enter(&server, "bob?room=typing");
    bob.find("presence_diff");
    alice.find("presence_diff");
    alice.socket.send(text(json!({"type": "typing", "room": "typing"}).to_string()));
    assert_eq!(bob.find("typing")["user"], "alice");
    let mut echo = open(&server, "/ws?raw");
    echo.send(text("x".repeat(1000)));
    assert_eq!(echo.read_text(), "x".repeat(1000));
    assert_eq!(echo.deflated, Some(0), "answers to one client are plain");
}
