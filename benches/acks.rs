//! Measures how long an ack takes at a steady rate, with the history in memory and on disk (`history.dir`). On disk, an
//! ack waits until its message is written, and with `history.sync=batch` until it is synced. The server runs with one
//! worker in this process, and the client is connected over loopback.
//!
//! The time of each ack counts from when its message was due, so that a server that stalls cannot hide it. Rounds of
//! all configurations alternate, so that a load on a shared machine disturbs all of them.

use std::hint::spin_loop;
use std::time::{Duration, Instant};

use crate::end_to_end::serve;
use crate::support::raw::{Client, frame_of};
use crate::support::{is_asked_for, is_check};

const RATE_PER_SECOND: u32 = 1_000;
/// Messages of a round, which takes two seconds.
const MESSAGES: u32 = 2_000;
/// Rounds of each configuration.
const ROUNDS: usize = 10;
/// Beginning of an ack event.
const ACK: &[u8] = br#"{"type":"ack""#;

/// A server with one configuration, its only client, and the times of its acks.
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
        // The first message after a pause is slower and is not measured.
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
