//! The framing of RFC 6455 on raw bytes: tables of frames that are echoed, and of frames that end the connection, with
//! the close code.

use crate::support::frame::{BINARY, CONTINUATION, Frame, Length, PING, PONG, Received, TEXT};
use crate::support::frame::{close, first, last, middle, ping, text};
use crate::support::raw::Socket;
use crate::support::server::Server;

/// The expected end of a row.
enum End {
    /// The connection lives: a ping is answered.
    Alive,
    /// A close frame with one of these codes, then FIN.
    Close(&'static [u16]),
}

/// A row: its name, the bytes to send, the frames expected, the end.
type Row = (String, Vec<u8>, Vec<Received>, End);

fn row(name: impl Into<String>, bytes: &[Vec<u8>], expected: &[(u8, &[u8])], end: End) -> Row {
    let expected = expected.iter().map(|(opcode, payload)| Received::new(*opcode, payload));
    (name.into(), bytes.concat(), expected.collect(), end)
}

fn alive(name: impl Into<String>, bytes: &[Vec<u8>], expected: &[(u8, &[u8])]) -> Row {
    row(name, bytes, expected, End::Alive)
}

fn broken(name: impl Into<String>, bytes: &[Vec<u8>]) -> Row {
    row(name, bytes, &[], End::Close(&[1002]))
}

fn not_utf8(name: &str, bytes: &[Vec<u8>]) -> Row {
    row(name, bytes, &[], End::Close(&[1007]))
}

/// More bytes than one read takes: a server that closes without reading them resets the connection.
static JUNK: [u8; 40_000] = [0xff; 40_000];

#[track_caller]
fn check(rows: Vec<Row>) {
    let server = Server::start(&[]);
    for (name, bytes, expected, end) in rows {
        println!("row: {name}");
        let mut socket = Socket::open(server.address(), "/ws?raw");
        socket.send(bytes);
        if matches!(end, End::Close(_)) {
            // Sent before the close frame can be here: a server that closes without reading it sends a reset.
            socket.send(JUNK);
        }
        for frame in expected {
            assert_eq!(socket.read_frame(), frame, "{name}");
        }
        match end {
            End::Alive => {
                socket.send(ping("alive?"));
                assert_eq!(socket.read_frame(), Received::new(PONG, "alive?"), "{name}");
            }
            End::Close(codes) => {
                let (code, reason) = socket.read_close();
                assert!(codes.contains(&code), "{name}: {code} {reason:?}");
                // The server reads and ignores frames that cross its close frame.
                socket.try_send(text("late"));
                socket.expect_eof();
            }
        }
    }
}

#[test]
fn frames_that_break_a_rule_end_with_1002() {
    let mut rows = vec![
        broken("unmasked text", &[Frame::new(TEXT, "hi").unmasked().bytes()]),
        broken("unmasked empty text", &[Frame::new(TEXT, "").unmasked().bytes()]),
        broken("unmasked ping", &[Frame::new(PING, "hi").unmasked().bytes()]),
        broken("unmasked continuation", &[first("a"), Frame::new(CONTINUATION, "b").unmasked().bytes()]),
        broken("ping of 126", &[ping([b'x'; 126])]),
        broken("pong of 126", &[Frame::new(PONG, [b'x'; 126]).bytes()]),
        broken("close of 126", &[close(1000, [b'x'; 124])]),
        broken("ping of 70,000", &[ping([b'x'; 70_000])]),
        broken(
            "short ping in the form for 16 bits",
            &[Frame::new(PING, "").declaring(Length::Medium(0)).bytes()],
        ),
        broken("fragmented ping", &[Frame::new(PING, "a").unfinished().bytes()]),
        broken("fragmented pong", &[Frame::new(PONG, "a").unfinished().bytes()]),
        broken("fragmented close", &[Frame::new(8, [3, 232]).unfinished().bytes()]),
        broken("5 in 16 bits", &[Frame::new(TEXT, "hello").declaring(Length::Medium(5)).bytes()]),
        broken("125 in 16 bits", &[Frame::new(TEXT, [b'x'; 125]).declaring(Length::Medium(125)).bytes()]),
        broken("5 in 64 bits", &[Frame::new(TEXT, "hello").declaring(Length::Long(5)).bytes()]),
        broken("300 in 64 bits", &[Frame::new(TEXT, [b'x'; 300]).declaring(Length::Long(300)).bytes()]),
        broken(
            "65,535 in 64 bits",
            &[Frame::new(BINARY, [0; 65_535]).declaring(Length::Long(65_535)).bytes()],
        ),
        broken("stray continuation", &[last("b")]),
        broken("stray unfinished continuation", &[middle("b")]),
        broken("text within a message", &[first("a"), text("b")]),
        broken("binary within a message", &[first("a"), Frame::new(BINARY, "b").bytes()]),
        broken("a message begun within a message", &[first("a"), first("b")]),
    ];
    for bits in 1..8 {
        rows.push(broken(format!("RSV {bits:03b} on text"), &[Frame::new(TEXT, "hi").rsv(bits).bytes()]));
        rows.push(broken(format!("RSV {bits:03b} on ping"), &[Frame::new(PING, "").rsv(bits).bytes()]));
        rows.push(broken(
            format!("RSV {bits:03b} on a continuation"),
            &[first("a"), Frame::new(CONTINUATION, "b").rsv(bits).bytes()],
        ));
    }
    for opcode in (0x3..=0x7).chain(0xB..=0xF) {
        rows.push(broken(format!("opcode {opcode:#x}"), &[Frame::new(opcode, "hi").bytes()]));
        rows.push(broken(format!("opcode {opcode:#x}, empty"), &[Frame::new(opcode, "").bytes()]));
    }
    // The top bit of a 64-bit length must be 0 (section 5.2). As a number, such a length is also over every limit.
    let huge = Frame::new(BINARY, "").declaring(Length::Long(1 << 63)).bytes();
    rows.push(row("a length with its top bit set", &[huge], &[], End::Close(&[1002, 1009])));
    check(rows);
}

#[test]
fn a_rule_broken_after_good_frames_costs_none_of_them() {
    let good = [(TEXT, &b"one"[..]), (PONG, b"two"), (TEXT, b"three")];
    let bad = Frame::new(3, "").bytes();
    check(vec![row(
        "answers, then 1002",
        &[text("one"), ping("two"), text("three"), bad],
        &good,
        End::Close(&[1002]),
    )]);
}

#[test]
fn a_close_frame_is_echoed_or_refused() {
    let mut rows = vec![
        // The answer to a close without a code has none, or 1000.
        row("no payload", &[Frame::new(8, "").bytes()], &[], End::Close(&[1000, 1005])),
        broken("payload of one byte", &[Frame::new(8, [3]).bytes()]),
        row("reason not UTF-8", &[close(1000, [0xff, 0xfe])], &[], End::Close(&[1002, 1007])),
        row(
            "reason with a truncated end",
            &[close(1000, [b'a', 0xe2, 0x82])],
            &[],
            End::Close(&[1002, 1007]),
        ),
        row("reason of 123", &[close(1000, [b'x'; 123])], &[], End::Close(&[1000])),
        row("within a message", &[first("a"), close(1000, "")], &[], End::Close(&[1000])),
        row("after an echo", &[text("a"), close(1000, "")], &[(TEXT, b"a")], End::Close(&[1000])),
        row("only the first close counts", &[close(1000, ""), close(1001, "")], &[], End::Close(&[1000])),
        row(
            "nothing after a close is answered",
            &[close(1000, ""), text("a"), ping("b")],
            &[],
            End::Close(&[1000]),
        ),
    ];
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        rows.push(broken(format!("code {code}"), &[close(code, "")]));
    }
    for allowed in [
        &[1000],
        &[1001],
        &[1002],
        &[1003],
        &[1007],
        &[1008],
        &[1009],
        &[1010],
        &[1011],
        &[1012],
        &[1013],
        &[1014],
        &[3000],
        &[3999],
        &[4000],
        &[4999],
    ] {
        rows.push(row(format!("code {allowed:?}"), &[close(allowed[0], "bye")], &[], End::Close(allowed)));
    }
    check(rows);
}

#[test]
fn text_must_be_utf8() {
    let kappa = "κόσμε🦀".as_bytes();
    let mut rows = vec![
        alive("whole", &[text(kappa)], &[(TEXT, kappa)]),
        alive("the last code point of Unicode", &[text("\u{10ffff}")], &[(TEXT, "\u{10ffff}".as_bytes())]),
        alive(
            "binary payloads may be any bytes",
            &[Frame::new(BINARY, [0xff, 0xfe]).bytes()],
            &[(BINARY, &[0xff, 0xfe])],
        ),
        not_utf8("a stray continuation byte", &[text([b'a', 0x80])]),
        not_utf8("0xff", &[text([0xff])]),
        not_utf8("an overlong slash", &[text([0xc0, 0xaf])]),
        not_utf8("a surrogate", &[text([0xed, 0xa0, 0x80])]),
        not_utf8("beyond the last code point", &[text([0xf4, 0x90, 0x80, 0x80])]),
        not_utf8("a truncated end", &[text([b'a', 0xe2, 0x82])]),
        not_utf8("a truncated end in fragments", &[first("ab"), last([0xe2, 0x82])]),
        not_utf8("a truncated end before an empty last fragment", &[first([0xe2, 0x82]), last("")]),
        not_utf8("a code point broken between fragments", &[first([0xe2, 0x82]), last("a")]),
        not_utf8("invalid in the first fragment", &[first([0xff]), last("a")]),
        not_utf8("invalid in the middle", &[first("a"), middle([0xff]), last("b")]),
    ];
    for cut in 0..=kappa.len() {
        let parts = [first(&kappa[..cut]), last(&kappa[cut..])];
        rows.push(alive(format!("cut at {cut}"), &parts, &[(TEXT, kappa)]));
    }
    let bytes: Vec<Vec<u8>> =
        [first("")].into_iter().chain(kappa.iter().map(|byte| middle([*byte]))).collect();
    rows.push(alive("byte by byte", &[bytes.concat(), last("")], &[(TEXT, kappa)]));
    check(rows);
}

#[test]
fn control_frames_are_answered_wherever_they_stand() {
    let (long, longer) = ([b'x'; 125], [b'y'; 125]);
    check(vec![
        alive("ping of 0", &[ping("")], &[(PONG, b"")]),
        alive("ping of 125", &[ping(long)], &[(PONG, &long)]),
        alive("ping of bytes", &[ping([0, 255, 128])], &[(PONG, &[0, 255, 128])]),
        alive("pong unasked", &[Frame::new(PONG, "?").bytes()], &[]),
        alive("pong of 125 unasked", &[Frame::new(PONG, longer).bytes()], &[]),
        alive(
            "ping between fragments, answered before the message",
            &[first("a"), ping("now"), middle("b"), Frame::new(PONG, "").bytes(), last("c")],
            &[(PONG, b"now"), (TEXT, b"abc")],
        ),
    ]);
}

#[test]
fn a_ping_within_a_message_does_not_wait_for_its_end() {
    let server = Server::start(&[]);
    let mut socket = Socket::open(server.address(), "/ws?raw");
    socket.send([first("a"), ping("now")].concat());
    assert_eq!(socket.read_frame(), Received::new(PONG, "now"));
    socket.send(last("b"));
    assert_eq!(socket.read_text(), "ab");
}

#[test]
fn messages_of_every_length_form_come_back() {
    let mut rows = vec![alive("empty fragments", &[first(""), middle(""), last("")], &[(TEXT, b"")])];
    for length in [0, 1, 125, 126, 127, 128, 4095, 8192, 65_535, 65_536] {
        let payload = vec![b'z'; length];
        rows.push(alive(format!("text of {length}"), &[text(&payload)], &[(TEXT, &payload)]));
        let binary = Frame::new(BINARY, &payload).bytes();
        rows.push(alive(format!("binary of {length}"), &[binary], &[(BINARY, &payload)]));
    }
    check(rows);
}
