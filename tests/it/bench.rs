//! The load generator: every scenario runs against a server of its own, and its numbers must be right.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

use crate::support::server::{Server, run};

const USAGE: i32 = 64;

/// Runs `throng bench` with JSON on standard output; returns the exit code and the result.
#[track_caller]
pub(crate) fn bench(arguments: &[&str]) -> (i32, Value) {
    let output = run(&[&["bench"], arguments, &["--json", "-"]].concat(), &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    (output.status.code().expect("an exit code"), report)
}

/// Runs [`bench`], which must succeed and find nothing missing; returns the result.
#[track_caller]
pub(crate) fn bench_ok(arguments: &[&str]) -> Value {
    let (code, report) = bench(arguments);
    assert_eq!(code, 0, "{report:#}");
    let run = &report["whole_run"];
    for field in ["missing", "surplus", "unsent", "bad_marks", "closed", "malformed"] {
        assert_eq!(run[field], 0, "{field}: {report:#}");
    }
    assert_eq!(run["delivered"], run["expected"], "{report:#}");
    assert_eq!(report["handshakes"]["failed"], 0, "{report:#}");
    report
}

#[track_caller]
pub(crate) fn number(report: &Value, pointer: &str) -> f64 {
    report
        .pointer(pointer)
        .and_then(Value::as_f64)
        .unwrap_or_else(|| panic!("no number {pointer}: {report:#}"))
}

pub(crate) const SHORT: &[&str] =
    &["--seconds", "1", "--warm-up", "0.2", "--settle", "0.2", "--workers", "1"];
/// For scenarios that need enough bytes to fill buffers.
const LONGER: &[&str] = &["--seconds", "3", "--warm-up", "0.2", "--settle", "0.2", "--workers", "1"];

/// Checks the numbers of any traffic scenario in which each message reaches `members` clients.
#[track_caller]
pub(crate) fn check_traffic(report: &Value, members: f64) {
    let (sent, expected) = (number(report, "/whole_run/sent"), number(report, "/whole_run/expected"));
    assert!(sent > 0.0, "{report:#}");
    assert_eq!(expected, sent * members, "{report:#}");
    let latency =
        ["p50", "p90", "p99", "p999", "max"].map(|name| number(report, &format!("/latency_us/{name}")));
    assert!(latency[0] > 0.0 && latency.is_sorted(), "{latency:?}");
    assert!(number(report, "/deliveries_per_s") > 0.0 && number(report, "/megabytes_per_s") > 0.0);
    assert!((0.9..3.0).contains(&number(report, "/seconds")), "{report:#}");
    let windows = report["windows"].as_array().expect("windows");
    let counted: f64 = windows.iter().map(|window| number(window, "/count")).sum();
    assert!(counted > 0.0 && counted <= number(report, "/whole_run/delivered"), "{report:#}");
    assert!(number(report, "/server/resident_connected_kib") > 1_000.0, "{report:#}");
    let samples = report["samples"].as_array().expect("samples");
    assert!(samples.iter().any(|sample| sample["queue_bytes"].is_u64()), "{samples:?}");
}

#[test]
fn fanout_reaches_every_member() {
    let report =
        bench_ok(&[&["fanout", "-c", "40", "--publishers", "3", "--in-flight", "2"], SHORT].concat());
    check_traffic(&report, 40.0);
    assert_eq!((&report["in_flight"], &report["rate_per_s"]), (&2.into(), &Value::Null));
}

#[test]
fn rooms_reach_their_own_members_alone() {
    check_traffic(&bench_ok(&[&["rooms", "-c", "60", "--rooms", "12"], SHORT].concat()), 5.0);
}

#[test]
fn compressed_deliveries_are_counted_and_take_fewer_bytes() {
    let options = ["fanout", "-c", "30", "--size", "300", "--compression", "--publishers", "2"];
    let on = bench_ok(&[&options, SHORT].concat());
    check_traffic(&on, 30.0);
    assert_eq!(on["compressed_connections"], 30, "{on:#}");
    let off = bench_ok(&[&options, SHORT, &["--set", "compression.enabled=false"]].concat());
    assert_eq!(off["compressed_connections"], 0, "{off:#}");
    let ratio = number(&on, "/wire_bytes_each") / number(&off, "/wire_bytes_each");
    assert!((0.3..0.7).contains(&ratio), "{ratio}");
    let plain = bench_ok(&[&["fanout", "-c", "9"], SHORT].concat());
    assert_eq!(plain["compressed_connections"], Value::Null, "it was not offered");
}

#[test]
fn echo_comes_back_to_its_sender_in_text_and_binary() {
    for more in [&[][..], &["--binary"], &["--size", "21"], &["--size", "35", "--sample", "1000"]] {
        check_traffic(&bench_ok(&[&["echo", "-c", "10"], SHORT, more].concat()), 1.0);
    }
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let report = bench_ok(&[&["fanout", "-c", "10", "--rate", "300"], SHORT].concat());
    check_traffic(&report, 10.0);
    assert_eq!(number(&report, "/whole_run/sent"), 360.0, "0.2 s of warm-up and 1 s: {report:#}");
}

#[test]
fn handshakes_are_counted_and_timed() {
    let report = bench_ok(&["connect", "-c", "100", "--workers", "1"]);
    assert_eq!(
        (number(&report, "/handshakes/opened"), number(&report, "/handshakes/open_at_end")),
        (100.0, 100.0)
    );
    assert_eq!(number(&report, "/latency_us/count"), 100.0);
    assert!(number(&report, "/handshakes/per_s") > 10.0, "{report:#}");
}

#[test]
fn idle_connections_have_a_size() {
    let report = bench_ok(&["idle", "-c", "200", "--hold", "0.5", "--settle", "0.2", "--workers", "1"]);
    assert_eq!(number(&report, "/whole_run/delivered"), 200.0, "each received one message: {report:#}");
    assert!((0.0..200.0).contains(&number(&report, "/server/kib_per_connection")), "{report:#}");
}

#[test]
fn every_client_reconnects_in_a_storm() {
    let report = bench_ok(&["storm", "-c", "100", "--rounds", "2", "--settle", "0.2", "--workers", "1"]);
    assert_eq!(number(&report, "/handshakes/opened"), 300.0, "{report:#}");
    assert_eq!(
        (report["storms_s"].as_array().map(Vec::len), number(&report, "/handshakes/open_at_end")),
        (Some(2), 100.0)
    );
}

#[test]
fn slow_clients_are_dropped_and_the_others_get_everything() {
    // Long messages soon exceed the kernel's buffers, even if a busy machine sends few of them. The queue holds four
    // times the messages in flight, so that no other client is dropped.
    let bounds = ["--set", "queue.max_bytes=128KiB", "--set", "socket.send_buffer=16KiB"];
    let settings = [&bounds[..], &["--set", "chat.max_message_chars=4000", "--size", "3500"]].concat();
    let report = bench_ok(
        &[&["slow", "-c", "40", "--stall", "10", "--in-flight", "8"], &settings[..], LONGER].concat(),
    );
    assert_eq!(report["stalled"]["count"], 4);
    assert_eq!(report["stalled"]["dropped"], 4, "{report:#}");
    assert!(number(&report, "/stalled/p99_ratio") > 0.0);
    assert_eq!(number(&report, "/handshakes/open_at_end"), 36.0);
}

#[test]
fn failures_are_reported_with_exit_code_1() {
    let server = Server::start(&[]);
    let url = format!("ws://{}/ws/chat/same-for-all?room={{r}}", server.address());
    // The server first pings the connection that holds the name, and waits for up to two seconds.
    let (code, report) = bench(&["connect", "-c", "3", "--settle", "3", "--url", &url]);
    assert_eq!((code, &report["whole_run"]["close_codes"]["1008"]), (1, &2.into()), "{report:#}");
    let why = json!([{"code": 1008, "reason": "User ID already in use", "count": 2}]);
    assert_eq!(report["whole_run"]["close_reasons"], why, "{report:#}");
    let url = format!("ws://{}/nowhere", server.address());
    let (code, report) = bench(&["connect", "-c", "3", "--settle", "0", "--url", &url]);
    assert_eq!((code, &report["handshakes"]["failed"]), (1, &3.into()), "{report:#}");
    assert!(report["complaints"][0].as_str().is_some_and(|what| what.contains("404")), "{report:#}");
    let url = format!("ws://{}/ws?raw", server.address());
    let (code, report) = bench(&["fanout", "-c", "2", "--seconds", "0.2", "--drain", "0.2", "--url", &url]);
    assert!(code == 1 && number(&report, "/whole_run/missing") > 0.0, "an echo is no room: {report:#}");
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    let (code, report) = bench(&["connect", "-c", "2", "--url", &format!("ws://{closed}/")]);
    assert_eq!((code, &report["handshakes"]["failed"]), (1, &2.into()), "{report:#}");
}

/// A run in which no client connected has measured nothing: no zero may look like a result.
#[test]
fn a_run_that_failed_shows_no_zeros() {
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    let target = ["-c", "2", "--url", &format!("ws://{closed}/"), "--settle", "0", "--drain", "0"];
    let output = run(&[&["bench", "fanout"], &target[..]].concat(), &[]);
    let (table, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said.contains("2 handshakes failed") && said.contains("refused"), "{said}");
    for row in ["messages", "deliveries", "latency", "handshakes", "missing", "p99", "0/s"] {
        assert!(!table.contains(row), "{row}: {table}");
    }
    let (_, report) = bench(&[&["fanout"], &target[..]].concat());
    for field in ["latency_us", "messages_per_s", "deliveries_per_s", "megabytes_per_s"] {
        assert_eq!(report.get(field), None, "{report:#}");
    }
}

/// The answers that came instead of deliveries are shown in the report, in the table and in the error.
#[test]
fn answers_other_than_the_expected_ones_are_shown() {
    // A burst of ten, then one message in ten seconds: most are answered `rate_limited`, and after some strikes the
    // connection is closed with 4002.
    let limits = ["--set", "rate_limit.enabled=true", "--set", "rate_limit.burst=10"];
    let slow = ["--set", "rate_limit.messages_per_second=1", "-c", "2", "--rate", "200", "--drain", "0.5"];
    let arguments = [&["fanout"], &limits[..], &slow[..], SHORT].concat();
    let (code, report) = bench(&arguments);
    assert_eq!(code, 1, "{report:#}");
    let said = report["unmatched_texts"].as_array().expect("texts");
    assert!(
        said.iter().any(|it| it["text"].as_str().is_some_and(|text| text.contains("rate"))),
        "{report:#}"
    );
    let output = run(&[&["bench"], &arguments[..]].concat(), &[]);
    for words in [&output.stdout, &output.stderr] {
        let words = String::from_utf8_lossy(words);
        assert!(words.to_lowercase().contains("rate limit"), "{output:?}");
    }
}

#[test]
fn a_result_names_its_settings_and_machine() {
    let report = bench_ok(&["connect", "-c", "2", "--settle", "100ms", "--header", "X-Key: hidden"]);
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    let time = report["time"].as_str().expect("a time");
    assert!(time.len() == 20 && time.starts_with("20") && time.ends_with('Z'), "{time}");
    let line = report["command_line"].as_array().expect("words");
    assert!(line.contains(&"connect".into()) && line.contains(&"X-Key:…".into()), "{line:?}");
    let machine = &report["machine"];
    assert!(number(machine, "/cores") >= 1.0 && number(machine, "/memory_mib") > 1.0, "{machine}");
    assert!(machine["kernel"].is_string() && machine.get("cpu").is_none_or(Value::is_string), "{machine}");
}

#[test]
fn times_may_have_units_and_duration_is_another_name_of_seconds() {
    let short = ["--duration", "500ms", "--warm-up", "0.1s", "--settle", "200ms", "--drain", "5s"];
    let report = bench_ok(&[&["fanout", "-c", "4", "--workers", "1"], &short[..]].concat());
    assert!((0.4..2.0).contains(&number(&report, "/seconds")), "{report:#}");
}

/// Heartbeats in text, of Engine.IO and of throng.v1, are answered on every connection, sampled or not. At the end each
/// client closes with 1000.
#[test]
fn text_heartbeats_are_answered_and_clients_say_goodbye() {
    for (beat, answer) in [("2", "3"), (r#"{"type":"heartbeat"}"#, r#"{"type":"heartbeat_ack"}"#)] {
        let (address, heard) = heart(beat);
        let url = format!("ws://{address}/");
        bench_ok(&["connect", "-c", "3", "--settle", "500ms", "--url", &url]);
        for _ in 0..3 {
            let frames = heard.recv_timeout(Duration::from_secs(20)).expect("a client that left");
            let good = [(1, answer.as_bytes().to_vec()), (8, 1000u16.to_be_bytes().to_vec())];
            assert_eq!(frames, good, "{beat}");
        }
    }
}

/// A frame: opcode and payload.
pub(crate) type Frame = (u8, Vec<u8>);

/// Starts a server that sends one heartbeat to each client; returns its address, and the frames of each client up to
/// the end.
fn heart(beat: &'static str) -> (std::net::SocketAddr, Receiver<Vec<Frame>>) {
    let (send, heard) = std::sync::mpsc::sync_channel(8);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let send = send.clone();
            std::thread::spawn(move || {
                let mut pending = open(&mut stream)?;
                let frame = [&[0x81, beat.len() as u8], beat.as_bytes()].concat();
                stream.write_all(&frame).ok()?;
                let mut frames = Vec::new();
                while frames.last().is_none_or(|(opcode, _)| *opcode != 8) {
                    let Some(frame) = take_frame(&mut stream, &mut pending) else { break };
                    frames.push(frame);
                }
                stream.write_all(&[0x88, 2, 3, 232]).ok()?;
                send.send(frames).ok()
            });
        }
    });
    (address, heard)
}

#[test]
fn wrong_usage_is_64() {
    for wrong in
        [&["bench"][..], &["bench", "fanout", "--size", "5"], &["bench", "echo", "--url", "http://x/"]]
    {
        let output = run(wrong, &[]);
        assert_eq!(output.status.code(), Some(USAGE), "{wrong:?}: {output:?}");
        assert!(!output.stderr.is_empty());
    }
}

/// A server that stops for 300 ms delays all 30 messages that were due in that time. A closed loop would have sent no
/// more and seen a single late one.
#[test]
fn an_open_loop_sees_a_stall_that_a_closed_loop_hides() {
    let open = ["--rate", "100", "--seconds", "2", "--warm-up", "0.1", "--settle", "0"];
    let stalling = || format!("ws://{}/", toy(Duration::from_millis(300)));
    let report = bench_ok(&[&["echo", "-c", "1", "--url", &stalling()], &open[..]].concat());
    assert!(number(&report, "/latency_us/p999") >= 250_000.0, "{report:#}");
    assert!(number(&report, "/latency_us/max") <= 5_000_000.0, "{report:#}");
    assert!(number(&report, "/latency_us/p90") >= 50_000.0, "15 of 100 were due while it slept: {report:#}");
    let closed = ["--seconds", "2", "--warm-up", "0.1", "--settle", "0"];
    let report = bench_ok(&[&["echo", "-c", "1", "--url", &stalling()], &closed[..]].concat());
    assert!(number(&report, "/latency_us/max") >= 250_000.0, "{report:#}");
    assert!(number(&report, "/latency_us/p90") < 250_000.0, "{report:#}");
}

/// Starts an echo server that pauses once, a second after the first message. It is written here so that it shares no
/// code with the load generator.
fn toy(pause: Duration) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve(stream, pause));
        }
    });
    address
}

/// Answers the handshake; returns the bytes behind it.
pub(crate) fn open(stream: &mut TcpStream) -> Option<Vec<u8>> {
    stream.set_nodelay(true).ok()?;
    let mut pending = Vec::new();
    let end = loop {
        if let Some(end) = pending.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        fill(stream, &mut pending)?;
    };
    let head = String::from_utf8(pending.drain(..end).collect()).ok()?;
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))?;
    let digest =
        Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    let accept = base64::engine::general_purpose::STANDARD.encode(digest);
    let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade";
    write!(stream, "{answer}\r\nSec-WebSocket-Accept: {accept}\r\n\r\n").ok()?;
    Some(pending)
}

/// Takes the next frame, which must be short and masked; returns its opcode and payload.
pub(crate) fn take_frame(stream: &mut TcpStream, pending: &mut Vec<u8>) -> Option<Frame> {
    while pending.len() < 6 || pending.len() < 6 + usize::from(pending[1] & 0x7f) {
        fill(stream, pending)?;
    }
    let length = usize::from(pending[1] & 0x7f);
    assert!(length < 126 && pending[1] & 0x80 != 0, "short and masked");
    let frame: Vec<u8> = pending.drain(..6 + length).collect();
    let payload = frame[6..].iter().zip(frame[2..6].iter().cycle()).map(|(byte, key)| byte ^ key);
    Some((frame[0] & 0x0f, payload.collect()))
}

fn serve(mut stream: TcpStream, pause: Duration) -> Option<()> {
    let mut pending = open(&mut stream)?;
    let mut first = None;
    let mut paused = false;
    loop {
        let (opcode, payload) = take_frame(&mut stream, &mut pending)?;
        if !paused && first.get_or_insert_with(Instant::now).elapsed() > Duration::from_secs(1) {
            paused = true;
            // The stall that the load generator must notice.
            std::thread::sleep(pause);
        }
        let echo = [&[0x80 | opcode, payload.len() as u8], payload.as_slice()].concat();
        stream.write_all(&echo).ok()?;
    }
}

fn fill(stream: &mut TcpStream, pending: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0; 4096];
    let count = stream.read(&mut chunk).ok().filter(|count| *count > 0)?;
    pending.extend_from_slice(&chunk[..count]);
    Some(())
}
