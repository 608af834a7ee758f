//! How long an acknowledgement takes at a steady rate, with the history in memory and in a folder (`history.dir`):
//! there it waits until its message is written, and with `history.sync=batch` until it has reached the disk. Over real
//! sockets on loopback, with a server of one worker in this process.
//!
//! Each message has a time at which it is due, and what is counted is from then on: a server that stands still does not
//! hide it. Rounds of all kinds alternate, so that a neighbour on the machine disturbs all.

use std::hint::spin_loop;
use std::time::{Duration, Instant};

use crate::end_to_end::serve;
use crate::support::raw::{Client, frame_of};
use crate::support::{is_asked_for, is_check};

const RATE_PER_SECOND: u32 = 1_000;
/// Messages of a round, two seconds of them, and rounds of each kind.
const MESSAGES: u32 = 2_000;
const ROUNDS: usize = 10;
/// How the answer to a message begins.
const ACK: &[u8] = br#"{"type":"ack""#;

/// A server, its only client, and what its acks took.
struct Side {
    name: &'static str,
    client: Client,
    took: Vec<Duration>,
}

impl Side {
    fn new(name: &'static str, settings: &[&str]) -> Self {
        let offer = "Sec-WebSocket-Protocol: throng.v1\r\n";
        Self {
            name,
            client: Client::connect_with(serve(settings), "/ws/chat/alice", offer),
            took: Vec::new(),
        }
    }

    fn round(&mut self, messages: u32) {
        let text = "m".repeat(100);
        let command = frame_of(&format!(r#"{{"type":"message","message":"{text}","echo":false}}"#));
        // Whoever was idle is slow once.
        self.client.write(&command);
        self.client.read_of(ACK, 1);
        let began = Instant::now();
        for number in 0..messages {
            let due = began + Duration::from_secs(1) * number / RATE_PER_SECOND;
            while Instant::now() < due {
                spin_loop();
            }
            self.client.write(&command);
            self.client.read_of(ACK, 1);
            self.took.push(due.elapsed());
        }
    }
}

pub(crate) fn all() {
    if !is_asked_for("acks") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut sides = vec![Side::new("in memory", &[])];
    for (name, sync) in [("history.dir", "off"), ("history.sync=1s", "1s"), ("history.sync=batch", "batch")] {
        let dir = format!("history.dir={}", folder.path().join(sync).display());
        sides.push(Side::new(name, &[&dir, &format!("history.sync={sync}")]));
    }
    let (messages, rounds) = if is_check() { (20, 1) } else { (MESSAGES, ROUNDS) };
    for _ in 0..rounds {
        sides.iter_mut().for_each(|side| side.round(messages));
    }
    println!(
        "acks: {RATE_PER_SECOND} messages per second, from when each was due, {rounds} rounds of {messages}"
    );
    for Side { name, took, .. } in &mut sides {
        took.sort_unstable();
        let [p50, p99] = [50, 99].map(|percent| took[took.len() * percent / 100]);
        println!("  {name}: p50 {p50:.1?}, p99 {p99:.1?}");
    }
    println!();
}
