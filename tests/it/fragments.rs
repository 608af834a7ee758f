//! Limits on a message (its bytes, its fragments, its time), and the memory that a declared length may take.

use std::time::Instant;

use crate::support::frame::{BINARY, Frame, Length, PONG, Received, TEXT, first, last, middle, ping, text};
use crate::support::raw::Socket;
use crate::support::server::Server;
use crate::support::{eventually, pause, sized};

const KIB: usize = 1024;

/// Asserts that `bytes` are answered with a close with `code` and FIN, and nothing before.
#[track_caller]
fn refused(server: &Server, name: &str, bytes: &[Vec<u8>], code: u16) {
    println!("refused: {name}");
    let mut socket = Socket::open(server.address(), "/ws?raw");
    socket.send(bytes.concat());
    assert_eq!(socket.read_close().0, code, "{name}");
    socket.expect_eof();
}

/// Builds a message in `count` fragments of `size` bytes.
fn fragmented(count: usize, size: usize) -> Vec<u8> {
    let part = vec![b'f'; size];
    let middles = (2..count).map(|_| middle(&part));
    [first(&part)].into_iter().chain(middles).chain([last(&part)]).collect::<Vec<_>>().concat()
}

#[test]
fn sixty_four_fragments_pass_and_one_more_does_not() {
    let server = Server::start(&[]);
    let mut socket = Socket::open(server.address(), "/ws?raw");
    socket.send([fragmented(64, 3), fragmented(64, 0)].concat());
    assert_eq!(socket.read_text(), "f".repeat(192));
    assert_eq!(socket.read_text(), "");
    refused(&server, "65 fragments", &[fragmented(65, 3)], 1009);
    refused(&server, "65 empty fragments", &[fragmented(65, 0)], 1009);
}

#[test]
fn the_fragment_limit_is_a_setting() {
    let server = Server::start(&[("limits.max_fragments", "3")]);
    let mut socket = Socket::open(server.address(), "/ws?raw");
    socket.send(fragmented(3, 1));
    assert_eq!(socket.read_text(), "fff");
    refused(&server, "4 fragments", &[fragmented(4, 1)], 1009);
}

#[test]
fn a_message_over_the_limit_is_refused_however_it_is_cut() {
    let server = Server::start(&[("limits.max_message_bytes", "1KiB")]);
    let mut socket = Socket::open(server.address(), "/ws?raw");
    for exact in [text([b'f'; KIB]), fragmented(2, KIB / 2), fragmented(64, KIB / 64)] {
        socket.send(exact);
        assert_eq!(socket.read_text(), "f".repeat(KIB));
    }
    refused(&server, "one frame", &[text([b'f'; KIB + 1])], 1009);
    refused(&server, "one byte too many, at the end", &[first([b'f'; KIB]), last("x")], 1009);
    refused(&server, "many small ones", &[fragmented(60, 18)], 1009);
    refused(&server, "a binary one", &[Frame::new(BINARY, [0; KIB + 1]).bytes()], 1009);
}

#[test]
fn a_declared_length_over_the_limit_is_refused_before_its_payload() {
    let server = Server::start(&[]);
    let declaring = |opcode, length| Frame::new(opcode, "").declaring(length).bytes();
    for opcode in [TEXT, BINARY] {
        refused(&server, "limit + 1", &[declaring(opcode, Length::Long(65_537))], 1009);
        refused(&server, "2^40", &[declaring(opcode, Length::Long(1 << 40))], 1009);
        refused(&server, "2^62", &[declaring(opcode, Length::Long(1 << 62))], 1009);
        refused(&server, "2^63 - 1", &[declaring(opcode, Length::Long(i64::MAX as u64))], 1009);
    }
    let continuation = declaring(0, Length::Medium(u16::MAX));
    refused(&server, "over with what is there already", &[first("ab"), continuation], 1009);
}

#[test]
fn a_thousand_declared_lengths_cost_no_memory() {
    let server = Server::start(&[]);
    let count = sized(1000, 4000);
    let promise = Frame::new(BINARY, "").declaring(Length::Long(1 << 62)).bytes();
    let storm = || {
        for _ in 0..count {
            let mut socket = Socket::open(server.address(), "/ws?raw");
            socket.send(&promise);
            assert_eq!(socket.read_close().0, 1009);
        }
        eventually("all of them are gone", || server.connections() == 0.0);
    };
    // The first storm grows the allocator, tables and buffers once.
    storm();
    let before = server.settled_rss();
    storm();
    let after = server.settled_rss();
    assert!(after < before + KIB * KIB, "{before} bytes before, {after} after");
}

#[test]
fn payloads_take_memory_only_as_they_arrive() {
    let server = Server::start(&[]);
    let open = |count: usize| -> Vec<Socket> {
        (0..count).map(|_| Socket::open(server.address(), "/ws?raw")).collect()
    };
    // The warm-up opens as many idle connections as the test will.
    drop(open(200));
    eventually("the warm-up is gone", || server.connections() == 0.0);
    let mut idle = open(200);
    let before = server.settled_rss();
    let promise = Frame::new(BINARY, "").declaring(Length::Long(64 * KIB as u64)).bytes();
    for socket in &mut idle {
        // When the pong to the ping is here, the server has also read the declared length behind it.
        socket.send([ping(""), promise.clone()].concat());
        assert_eq!(socket.read_frame(), Received::new(PONG, ""));
    }
    let after = server.settled_rss();
    // The server may reserve a length under the limit, in the allocator's next size (80 KiB), with the parser's own
    // buffer (8 KiB). It may not double that or touch more.
    assert!(after < before + 200 * 96 * KIB, "{before} bytes before, {after} after");
}

#[test]
fn a_message_that_is_not_finished_in_time_ends_with_3008() {
    let server = Server::start(&[("limits.message_timeout", "1s"), ("heartbeat.interval", "60s")]);
    let halves = [
        ("after a fragment", first("a")),
        ("after two fragments", [first("a"), middle("b")].concat()),
        ("within a payload", text("hello")[..8].to_vec()),
        ("within a head", text([b'x'; 300])[..3].to_vec()),
    ];
    for (name, half) in halves {
        println!("unfinished: {name}");
        let mut socket = Socket::open(server.address(), "/ws?raw");
        let started = Instant::now();
        socket.send(half);
        assert_eq!(socket.read_close().0, 3008, "{name}");
        assert!(started.elapsed().as_millis() >= 900, "{name}: too early");
        socket.expect_eof();
    }
}

#[test]
fn control_frames_do_not_extend_the_time_of_a_message() {
    let server = Server::start(&[("limits.message_timeout", "1s")]);
    let mut socket = Socket::open(server.address(), "/ws?raw");
    socket.send(first("a"));
    let started = Instant::now();
    let code = loop {
        socket.try_send(ping("still here"));
        let frame = socket.read_frame();
        if frame.opcode != PONG {
            break frame.closing().0;
        }
        assert!(started.elapsed().as_secs() < 15, "pings keep a message open");
        pause();
    };
    assert_eq!(code, 3008);
}

#[test]
fn a_finished_message_stops_the_clock() {
    let server = Server::start(&[("limits.message_timeout", "1s")]);
    let mut socket = Socket::open(server.address(), "/ws?raw");
    let started = Instant::now();
    while started.elapsed().as_millis() < 2500 {
        socket.send([first("a"), last("b")].concat());
        assert_eq!(socket.read_text(), "ab");
        pause();
    }
}
