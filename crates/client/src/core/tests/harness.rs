//! A core with a clock of its own and the frames of a made-up server.

use std::time::SystemTime;

use tokio::sync::oneshot;

use super::super::*;
use crate::command::{Command, Reply};
use crate::event::{Ack, Joined};

pub(super) const EPOCH: &str = "000000000000a";
pub(super) const SESSION: &str = "0123456789abcdef0123456789abcdef";

pub(super) struct Harness {
    pub(super) core: Core,
    pub(super) now: Instant,
    pub(super) system: SystemTime,
}

pub(super) type Answer<T> = oneshot::Receiver<Result<T, SendError>>;

impl Harness {
    pub(super) fn new(room: Option<&str>, queue: usize) -> Self {
        let (now, user) = (Instant::now(), "ann".parse().unwrap());
        let settings = Settings {
            user,
            name: None,
            queue,
            has_token: false,
            can_renew: false,
            answer_timeout: Duration::from_secs(30),
        };
        let room = room.map(|room| room.parse().unwrap());
        let core = Core::new(settings, room, Backoff::default(), fastrand::Rng::with_seed(1), now);
        Self { core, now, system: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000) }
    }

    pub(super) fn timestamp(&self) -> Timestamp {
        Timestamp { monotonic: self.now, system: self.system }
    }

    pub(super) fn online() -> Self {
        let mut harness = Self::new(Some("lobby"), 4);
        harness.welcome(EPOCH, 7, false);
        harness.events();
        harness
    }

    pub(super) fn receive(&mut self, text: &str) {
        self.core.receive(text, self.timestamp());
    }

    pub(super) fn welcome(&mut self, epoch: &str, offset: u64, recovered: bool) {
        self.receive(&format!(
            r#"{{"type":"welcome","session":"{SESSION}","node":"n","user":"ann","room":"lobby","epoch":"{epoch}",
            "offset":{offset},"recovered":{recovered},"heartbeat_ms":25000,
            "limits":{{"max_message_chars":5,"messages_per_second":10}}}}"#
        ));
    }

    pub(super) fn message(&mut self, offset: u64) {
        self.receive(&format!(
            r#"{{"type":"message","user":"bob","message":"m","room":"lobby","offset":{offset},"id":"i","ts":1}}"#
        ));
    }

    pub(super) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.core.pop_event()).collect()
    }

    /// Takes the frames that the core has queued.
    pub(super) fn sent(&mut self) -> Vec<serde_json::Value> {
        std::iter::from_fn(|| self.core.pop_frame())
            .map(|frame| serde_json::from_str(&frame).unwrap())
            .collect()
    }

    pub(super) fn ask<T>(&mut self, command: impl FnOnce(Reply<T>) -> Command) -> Answer<T> {
        let (reply, answer) = oneshot::channel();
        self.core.execute(command(reply), self.timestamp());
        answer
    }

    pub(super) fn say(&mut self, text: &str) -> Answer<Ack> {
        self.say_in("lobby", text)
    }

    pub(super) fn say_in(&mut self, room: &str, text: &str) -> Answer<Ack> {
        let (room, text) = (room.parse().unwrap(), text.to_owned());
        self.ask(|reply| Command::Say { room, text, data: None, reply })
    }

    pub(super) fn leave(&mut self, room: &str) -> Answer<()> {
        let room = room.parse().unwrap();
        self.ask(|reply| Command::Leave { room, reply })
    }

    /// Answers the join in `frame`.
    pub(super) fn joined(&mut self, frame: &serde_json::Value, room: &str) {
        let re = &frame["id"];
        self.receive(&format!(
            r#"{{"type":"joined","re":{re},"room":"{room}","epoch":"{EPOCH}","offset":3,
            "recovered":false,"members":2}}"#
        ));
    }

    pub(super) fn refuse(&mut self, frame: &serde_json::Value, code: &str) {
        let re = &frame["id"];
        self.receive(&format!(r#"{{"type":"error","re":{re},"code":"{code}","retry_after_ms":100}}"#));
    }

    pub(super) fn join(&mut self, room: &str) -> Answer<Joined> {
        let room = room.parse().unwrap();
        self.ask(|reply| Command::Join { room, reply })
    }

    pub(super) fn ack(&mut self, frame: &serde_json::Value, offset: u64) {
        let re = &frame["id"];
        self.receive(&format!(
            r#"{{"type":"ack","re":{re},"room":"lobby","epoch":"{EPOCH}","offset":{offset},"duplicate":false}}"#
        ));
    }

    pub(super) fn lose(&mut self, end: ConnectionEnd) {
        self.core.end_connection(end, self.now);
    }

    /// Lets time pass until the next deadline and returns how long that was.
    pub(super) fn wait(&mut self) -> Duration {
        let deadline = self.core.deadline().unwrap();
        let waited = deadline - self.now;
        self.now = deadline;
        self.core.tick(self.timestamp());
        waited
    }

    pub(super) fn url(&self) -> String {
        "ws://h".parse::<crate::address::Address>().unwrap().url(&self.core.target())
    }
}

pub(super) fn no_reason() -> ConnectionEnd {
    ConnectionEnd::with_reason("")
}
