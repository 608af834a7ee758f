//! A server process that stands still for a while, as in a laptop whose lid is closed or while its machine is moved. No
//! client may be dropped for the time in which the server did not run.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::support::frame::{CLOSE, Frame, PING, PONG, Received, TEXT, text};
use crate::support::raw::{Socket, handshake};
use crate::support::server::{Server, Settings};
use crate::support::speaker::OFFER;
use crate::support::{PATIENCE, eventually, pause};

/// Delay of a client's answers: long enough that many answers are on their way at any time, and shorter than the
/// timeout by the time that a busy machine may add.
const ROUND_TRIP: Duration = Duration::from_millis(1200);
/// Length of the server's pause: longer than an interval and a timeout together.
const PAUSE: Duration = Duration::from_secs(4);
const FAST: Settings<'static> = &[
    ("heartbeat.interval", "1s"),
    ("heartbeat.timeout", "2s"),
    ("endpoints.heartbeat_interval", "2s"),
    ("endpoints.heartbeat_misses", "1"),
    ("limits.handshake_timeout", "2s"),
    ("limits.message_timeout", "2s"),
    ("presence.notice_limit", "0"),
    ("presence.interval", "1h"),
    ("workers", "2"),
];

/// Events of all clients that the test waits for or checks.
#[derive(Default)]
struct Seen {
    /// Texts that say which client ended, and how.
    ends: Mutex<Vec<String>>,
    /// Number of answers that the server has asked for so far, by client.
    asked: Mutex<BTreeMap<usize, usize>>,
}

impl Seen {
    fn asked(&self, client: usize) -> usize {
        self.asked.lock().get(&client).copied().unwrap_or(0)
    }
}

/// Runs a client that answers everything that needs an answer, [`ROUND_TRIP`] later.
async fn answer_late(
    server: SocketAddr,
    client: usize,
    path: String,
    headers: &'static str,
    seen: Arc<Seen>,
) {
    let stream = TcpStream::connect(server).await.expect("the server accepts");
    let (mut reader, mut writer) = stream.into_split();
    writer.write_all(handshake(&path, headers).as_bytes()).await.expect("the server takes a request");
    let (answers, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(64);
    let answering = tokio::spawn(async move {
        while let Some((at, answer)) = due.recv().await {
            sleep_until(at).await;
            if writer.write_all(&answer).await.is_err() {
                return;
            }
        }
    });
    let mut pending = Vec::new();
    let mut is_open = false;
    let end = 'open: loop {
        if !is_open && let Some(end) = pending.windows(4).position(|window| window == b"\r\n\r\n") {
            let head: Vec<u8> = pending.drain(..end + 4).collect();
            assert!(head.starts_with(b"HTTP/1.1 101 "), "{:?}", String::from_utf8_lossy(&head));
            is_open = true;
            if path.contains("with-timeout") {
                // Each echo makes the client send the next text, which extends its timeout.
                let _ = answers.try_send((Instant::now(), text("here")));
            }
        }
        while let Some(frame) = is_open.then(|| Received::take(&mut pending)).flatten() {
            let answer = match frame.opcode {
                PING => Frame::new(PONG, frame.payload).bytes(),
                TEXT if frame.payload == br#"{"type":"heartbeat"}"# => text(r#"{"type":"heartbeat_ack"}"#),
                TEXT if path.contains("with-timeout") => text("still here"),
                CLOSE => break 'open format!("{path}: {:?}", frame.closing()),
                _ => continue,
            };
            let _ = answers.try_send((Instant::now() + ROUND_TRIP, answer));
            *seen.asked.lock().entry(client).or_default() += 1;
        }
        if !matches!(reader.read_buf(&mut pending).await, Ok(1..)) {
            break format!("{path}: no close");
        }
    };
    seen.ends.lock().push(end);
    answering.abort();
}

/// 1. Many clients of each kind are connected, and half of them owe the server an answer.
/// 2. The server stands still for longer than they may take to answer.
/// 3. When it goes on, it drops none of them, not even a client whose answer comes only then. It drops a client that
///    has been dead all the time, after an interval and a timeout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_of_the_server_makes_no_client_miss_a_deadline() {
    let server = Server::start(FAST);
    let seen = Arc::new(Seen::default());
    let kinds = [
        ("/ws", ""),
        ("/ws/messages", ""),
        ("/ws/heartbeat", ""),
        ("/ws/with-timeout?timeout=2s", ""),
        ("/ws/chat/plain-", ""),
        ("/ws/chat/modern-", OFFER),
    ];
    let clients: Vec<_> = (0..120)
        .map(|n| {
            let (path, headers) = kinds[n % kinds.len()];
            let path = if path.ends_with('-') { format!("{path}{n}") } else { path.to_owned() };
            tokio::spawn(answer_late(server.address(), n, path, headers, Arc::clone(&seen)))
        })
        .collect();
    eventually("all are connected", || server.connections() == 120.0);
    eventually("every client was asked for an answer", || seen.asked.lock().len() == 120);
    let mut dead = Socket::open(server.address(), "/ws?raw");
    let mut late = Socket::connect(server.address());
    late.send("GET /healthz HTTP/1.1\r\n");
    let whole = text("in two halves");
    let mut half = Socket::open(server.address(), "/ws?raw");
    let mut pinged = Socket::open(server.address(), "/ws?raw");
    let ping = pinged.read_frame();
    assert_eq!(ping.opcode, PING);
    half.send(&whole[..5]);
    let asked_before = seen.asked(4);
    let mut thief = Socket::connect(server.address());
    thief.send(handshake("/ws/chat/plain-4", ""));
    eventually("the holder of the name owes an answer", || seen.asked(4) > asked_before);
    assert_eq!(*seen.ends.lock(), [""; 0], "before the pause");

    server.signal("STOP");
    sleep(PAUSE - Duration::from_secs(1)).await;
    late.send("Host: x\r\nConnection: close\r\n\r\n");
    sleep(Duration::from_secs(1)).await;
    server.signal("CONT");
    let resumed = Instant::now();

    // No event shows that the server has looked at all deadlines: this much time is enough for it.
    sleep(Duration::from_millis(300)).await;
    pinged.send([Frame::new(PONG, ping.payload).bytes(), text("I am")].concat());
    assert_eq!(pinged.read_text(), "I am");
    half.send(&whole[5..]);
    assert_eq!(half.read_text(), "in two halves");
    assert_eq!(dead.skip_to_close(), (3008, "Heartbeat timeout".to_owned()));
    assert!(resumed.elapsed() < Duration::from_secs(3) + PATIENCE / 4, "{:?}", resumed.elapsed());
    assert_eq!(*seen.ends.lock(), [""; 0], "behind the pause");
    thief.expect_upgrade();
    assert_eq!(thief.skip_to_close(), (1008, "User ID already in use".to_owned()));
    assert_eq!(late.read_response().status, 200, "it was asked in time");
    clients.iter().for_each(tokio::task::JoinHandle::abort);
}

/// 1. A client does not read, and messages wait in its queue.
/// 2. The server stands still for longer than the oldest of them may wait.
/// 3. The client still has as much time as before to read them.
#[test]
fn a_pause_of_the_server_does_not_age_a_queue() {
    let server = Server::start(&[
        ("queue.max_age", "5s"),
        ("queue.max_bytes", "64MiB"),
        ("queue.max_messages", "100000"),
        ("socket.send_buffer", "16KiB"),
        ("heartbeat.interval", "1h"),
    ]);
    let mut slow = Socket::connect_narrow(server.address()).upgraded("/ws/chat/slow?room=busy");
    let mut other = Socket::open(server.address(), "/ws/chat/other?room=busy");
    let said = "x".repeat(400);
    let mut count = 0;
    while server.metric("throng_queue_bytes", "") == 0.0 {
        other.send(text(format!(r#"{{"message":"{count} {said}"}}"#)));
        while !other.read_text().contains(&said) {}
        count += 1;
    }
    server.signal("STOP");
    std::thread::sleep(Duration::from_secs(7));
    server.signal("CONT");
    other.send(text(r#"{"message":"the end"}"#));
    let mut heard = 0;
    loop {
        let text = slow.read_text();
        heard += usize::from(text.contains(&said));
        if text.contains("the end") {
            break;
        }
        if heard.is_multiple_of(16) {
            pause();
        }
    }
    assert_eq!(heard, count, "every message once");
}
