//! Measures the server API: publishing through batches and the same over a WebSocket, a single publish and an echo, and
//! the members of a busy room while large batches are carried out. The server runs with one worker in this process.
//!
//! The rounds of both sides of a comparison alternate, so that a load on a shared machine disturbs both.

use std::hint::spin_loop;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::end_to_end::serve;
use crate::support::raw::{Client, command, frame_of};
use crate::support::{is_asked_for, is_check};

const KEY: &str = "a-key-of-the-benches";
/// Messages of a batch: the most that one may have.
const BATCH: usize = 1_000;
/// Characters of each message.
const TEXT: usize = 100;
/// Calls over one connection: fewer than the 1,000 for which the server keeps one.
const CALLS: usize = 900;
/// Members of the busy room, and messages per second there.
const MEMBERS: usize = 100;
const RATE_PER_SECOND: u32 = 200;
/// Beginning of an ack event.
const ACK: &[u8] = br#"{"type":"ack""#;

/// A connection that is kept for calls.
struct Caller {
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Caller {
    fn new(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).expect("a server that listens");
        socket.set_nodelay(true).expect("a TCP socket");
        Self { socket, buffer: vec![0; 1 << 20] }
    }

    /// Makes a call and waits for the whole answer, which must be a success.
    fn call(&mut self, request: &[u8]) {
        self.socket.write_all(request).expect("the server takes bytes");
        let mut filled = 0;
        loop {
            let read = self.socket.read(&mut self.buffer[filled..]).expect("an answer");
            assert!(read > 0, "the server has closed");
            filled += read;
            let answer = &self.buffer[..filled];
            let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..end]));
            let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
            let (_, rest) = head.split_once("content-length: ").expect("a length");
            let length: usize = rest.lines().next().unwrap_or_default().parse().expect("a number");
            if filled == end + 4 + length {
                return;
            }
        }
    }
}

fn request(method: &str, body: &str) -> Vec<u8> {
    let head = format!("POST /api/{method} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\n");
    let length = body.len();
    format!("{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").into()
}

fn batch(room: impl Fn(usize) -> String) -> Vec<u8> {
    let text = "m".repeat(TEXT);
    let publish = |n| format!(r#"{{"publish":{{"room":"{}","message":"{text}"}}}}"#, room(n));
    let commands: Vec<_> = (0..BATCH).map(publish).collect();
    request("batch", &format!(r#"{{"commands":[{}]}}"#, commands.join(",")))
}

fn percentiles(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

/// Compares a batch with as many messages of a client, which awaits their acks.
fn batches(address: SocketAddr, rounds: usize) {
    let mut caller = Caller::new(address);
    let call = batch(|_| "batches".to_owned());
    let offer = "Sec-WebSocket-Protocol: throng.v1\r\n";
    let mut client = Client::connect_with(address, "/ws/chat/alice?room=socket", offer);
    let text = "m".repeat(TEXT);
    let messages =
        frame_of(&format!(r#"{{"type":"message","message":"{text}","echo":false}}"#)).repeat(BATCH);
    let (mut calls, mut sent) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let began = Instant::now();
        caller.call(&call);
        calls.push(began.elapsed());
        let began = Instant::now();
        client.write(&messages);
        client.read_of(ACK, BATCH);
        sent.push(began.elapsed());
    }
    let ((batch, _), (socket, _)) = (percentiles(&mut calls), percentiles(&mut sent));
    let rate = |took: Duration| BATCH as f64 / took.as_secs_f64();
    println!("server API: {BATCH} messages, {rounds} rounds, medians");
    println!("  in one batch: {:.0} messages/s", rate(batch));
    let ratio = batch.as_secs_f64() / socket.as_secs_f64();
    println!(
        "  over a WebSocket, with acks: {:.0} messages/s; a batch takes {ratio:.2} of that time",
        rate(socket)
    );
}

/// Compares a single publish with an echo.
fn single(address: SocketAddr, rounds: usize) {
    let mut caller = Caller::new(address);
    let text = "m".repeat(TEXT);
    let call = request("publish", &format!(r#"{{"room":"single","message":"{text}"}}"#));
    let mut client = Client::connect(address, "/ws");
    let said = command(&text);
    let (mut calls, mut echoes) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        // The server keeps a connection for so many calls.
        if round % CALLS == 0 {
            caller = Caller::new(address);
        }
        let began = Instant::now();
        caller.call(&call);
        calls.push(began.elapsed());
        let began = Instant::now();
        client.write(&said);
        client.read_of(b"", 1);
        echoes.push(began.elapsed());
    }
    let ((call_50, call_99), (echo_50, echo_99)) = (percentiles(&mut calls), percentiles(&mut echoes));
    println!(
        "  a single publish: p50 {call_50:.1?}, p99 {call_99:.1?}; an echo: p50 {echo_50:.1?}, p99 {echo_99:.1?}"
    );
    let ratio = call_99.as_secs_f64() / echo_99.as_secs_f64();
    println!("  p99 of a publish by that of an echo: {ratio:.2}");
}

/// Compares the delay of messages in a busy room with and without batches beside it. The time of each message counts
/// from when it was due until the last member has it.
fn beside_a_busy_room(address: SocketAddr, rounds: usize, messages: u32) {
    let path = |n: usize| format!("/ws/chat/member-{n}?room=busy");
    let mut members: Vec<_> = (0..MEMBERS).map(|n| Client::connect(address, &path(n))).collect();
    let said = command(&"m".repeat(TEXT));
    let is_on = Arc::new(AtomicBool::new(false));
    let is_over = Arc::new(AtomicBool::new(false));
    let caller = thread::spawn({
        let (is_on, is_over) = (Arc::clone(&is_on), Arc::clone(&is_over));
        move || {
            let (mut caller, mut count) = (Caller::new(address), 0);
            let call = batch(|n| format!("beside-{}", n % 50));
            while !is_over.load(Relaxed) {
                if is_on.load(Relaxed) {
                    caller.call(&call);
                    count += 1;
                }
                // Ten batches a second: a backend that never stops would measure the number of its cores.
                thread::sleep(Duration::from_millis(if is_on.load(Relaxed) { 90 } else { 1 }));
            }
            count
        }
    });
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (is_beside, took) in took.iter_mut().enumerate() {
            is_on.store(is_beside == 1, Relaxed);
            let began = Instant::now();
            for number in 0..messages {
                let due = began + Duration::from_secs(1) * number / RATE_PER_SECOND;
                while Instant::now() < due {
                    spin_loop();
                }
                members[0].write(&said);
                members.iter_mut().for_each(|member| member.read(1));
                took.push(due.elapsed());
            }
        }
    }
    is_over.store(true, Relaxed);
    let batches = caller.join().expect("the calls succeed");
    let [(alone_50, alone_99), (beside_50, beside_99)] = took.each_mut().map(|took| percentiles(took));
    println!("  a room of {MEMBERS}, {RATE_PER_SECOND} messages/s: p50 {alone_50:.1?}, p99 {alone_99:.1?}");
    println!("  beside {batches} batches of {BATCH}: p50 {beside_50:.1?}, p99 {beside_99:.1?}");
    println!("  p99 with by without: {:.2}\n", beside_99.as_secs_f64() / alone_99.as_secs_f64());
}

pub(crate) fn all() {
    if !is_asked_for("server api") {
        return;
    }
    let keys = format!("api.keys={KEY}");
    let address = serve(&[&keys, "queue.max_messages=8192"]);
    let (rounds, calls, turns, messages) = if is_check() { (1, 10, 1, 10) } else { (50, 5_000, 6, 400) };
    batches(address, rounds);
    single(address, calls);
    beside_a_busy_room(address, turns, messages);
}
