//! `webhooks.dir`: events wait on disk, and survive the end of the server, however it ends.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::http::post;
use crate::support::receiver::{Answer, Asked, Receiver, SECRET, secret_file};
use crate::support::server::{Server, Settings, run};
use crate::support::{PATIENCE, eventually};

const KEY: &str = "a-key-of-the-tests-1";
/// `EX_UNAVAILABLE` of `sysexits.h`: the folder cannot be used.
const UNAVAILABLE: i32 = 69;

/// The files of a test: the folder of the events, and the secrets.
struct Files {
    dir: TempDir,
    secrets: String,
    receivers: String,
}

impl Files {
    fn new(receiver: &Receiver) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let secrets = secret_file(dir.path(), &[SECRET]);
        let url = receiver.url("/hook");
        let receivers = format!("[{{url = {url:?}, secret_file = {secrets:?}, events = [\"message\"]}}]");
        Self { dir, secrets, receivers }
    }

    fn events(&self) -> PathBuf {
        self.dir.path().join("events")
    }

    fn with<'a>(&'a self, dir: &'a str, more: Settings<'a>) -> Vec<(&'a str, &'a str)> {
        let own = [
            ("engine", "memory"),
            ("workers", "2"),
            ("api.keys", KEY),
            ("chat.max_message_chars", "8000"),
            ("webhooks.receivers", &self.receivers),
            ("webhooks.linger", "1ms"),
            ("webhooks.max_events", "100"),
            ("webhooks.dir", dir),
        ];
        [&own, more].concat()
    }

    fn start(&self, more: Settings<'_>) -> Server {
        let dir = self.events();
        Server::start(&self.with(dir.to_str().expect("UTF-8"), more))
    }

    /// Returns the segments of all receivers, sorted by their paths.
    fn segments(&self) -> Vec<PathBuf> {
        let folders = fs::read_dir(self.events()).expect("a folder").flatten().map(|entry| entry.path());
        let files = folders.filter(|path| path.is_dir()).flat_map(|folder| {
            fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()).collect::<Vec<_>>()
        });
        let mut files: Vec<_> =
            files.filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect();
        files.sort();
        files
    }
}

fn not_ready(_: &Asked) -> Answer {
    Answer::Status(503, "Retry-After: 1\r\n", String::new())
}

#[track_caller]
fn publish(server: &Server, room: &str, text: &str) {
    let headers = format!("X-API-Key: {KEY}\r\nContent-Type: application/json\r\n");
    let body = json!({"room": room, "message": text}).to_string();
    let answer = post(server.address(), "/api/publish", &headers, &body);
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Publishes `count` messages in each room, in turn; their texts count from `first`.
fn publish_all(server: &Server, rooms: &[&str], first: usize, count: usize) {
    for number in first..first + count {
        rooms.iter().for_each(|room| publish(server, room, &number.to_string()));
    }
}

/// Returns the texts of a room's messages, in the order in which they were taken.
fn texts(events: &[Value], room: &str) -> Vec<String> {
    let messages = events.iter().filter(|event| event["type"] == "message" && event["room"] == room);
    messages.map(|event| event["message"].as_str().expect("a text").to_owned()).collect()
}

fn numbers(from: usize, count: usize) -> Vec<String> {
    (from..from + count).map(|number| number.to_string()).collect()
}

fn told_dropped(asked: &[Asked]) -> u64 {
    let taken = asked.iter().filter(|asked| asked.is_taken);
    taken.map(|asked| asked.body["dropped"].as_u64().expect("a number")).sum()
}

fn resyncs(events: &[Value], reason: &str) -> usize {
    events.iter().filter(|event| event["type"] == "resync" && event["reason"] == reason).count()
}

/// Returns how many events wait, as the server counts them.
fn queue(server: &Server) -> f64 {
    server.metric("throng_webhook_queue", "")
}

const ROOMS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// 1. The receiver is down. Several hundred messages are published, more than memory holds, and the server is killed
///    when the last one is answered.
/// 2. The next server counts all of them. More messages are published, and it is killed as well.
/// 3. The receiver is up: every message comes once, in the order of its room, and nothing counts as dropped. The news
///    of the start come behind them.
#[test]
fn a_killed_server_loses_no_event() {
    let receiver = Receiver::start(not_ready);
    let files = Files::new(&receiver);
    let server = files.start(&[]);
    publish_all(&server, &ROOMS, 0, 60);
    assert_eq!(queue(&server), 301.0, "with the resync of the start");
    drop(server);
    let server = files.start(&[]);
    assert_eq!(queue(&server), 301.0, "the resync of this start is not due yet");
    publish_all(&server, &ROOMS, 60, 10);
    assert_eq!(queue(&server), 351.0);
    drop(server);
    receiver.answer(|_| Answer::ok());
    let server = files.start(&[]);
    let events = receiver.wait_for("the last start", |asked| {
        resyncs(&crate::support::receiver::events(asked), "started") == 2
    });
    let events = crate::support::receiver::events(&events);
    for room in ROOMS {
        assert_eq!(texts(&events, room), numbers(0, 70), "{room}");
    }
    assert_eq!(events.last().expect("events")["reason"], "started", "behind everything from before");
    let ids: BTreeSet<&str> = events.iter().filter_map(|event| event["id"].as_str()).collect();
    assert_eq!((ids.len(), told_dropped(&receiver.asked())), (352, 0));
    eventually("nothing waits", || queue(&server) == 0.0);
    assert_eq!(server.metric("throng_webhook_dropped_total", ""), 0.0);
}

/// A server is killed again and again at once after the last of a hundred messages was answered, while the receiver
/// takes events. Each message comes at least once, and those that come again were under way.
#[test]
fn everything_that_was_answered_before_a_kill_comes() {
    let receiver = Receiver::start(|_| Answer::ok());
    let files = Files::new(&receiver);
    for round in 0..5 {
        publish_all(&files.start(&[]), &ROOMS, 20 * round, 20);
    }
    let _server = files.start(&[]);
    for room in ROOMS {
        let all = |asked: &[Asked]| {
            let texts = texts(&crate::support::receiver::events(asked), room);
            texts.iter().collect::<BTreeSet<_>>().len() == 100
        };
        let asked = receiver.wait_for(&format!("all of {room}"), all);
        let mut seen = BTreeSet::new();
        let mut texts = texts(&crate::support::receiver::events(&asked), room);
        texts.retain(|text| seen.insert(text.clone()));
        assert_eq!(texts, numbers(0, 100), "{room}: the first of each come in order");
    }
    assert_eq!(told_dropped(&receiver.asked()), 0);
}

#[test]
fn without_a_folder_a_killed_server_loses_events_and_the_next_one_says_so() {
    let receiver = Receiver::start(not_ready);
    let files = Files::new(&receiver);
    let server = Server::start(&files.with("", &[])[..7]);
    publish(&server, "a", "lost");
    drop(server);
    receiver.answer(|_| Answer::ok());
    let server = Server::start(&files.with("", &[])[..7]);
    publish(&server, "a", "next");
    let events = receiver.wait_for_events("message", 1);
    receiver.wait_for_events("resync", 1);
    assert_eq!((texts(&events, "a"), resyncs(&receiver.events(), "started")), (vec!["next".to_owned()], 1));
    assert!(!files.events().exists());
}

/// 1. The receiver takes everything: nothing is sent again by the next server, which is started after a clean stop, and
///    by the one behind, which is started after a kill.
/// 2. The disk holds nothing that was delivered before the last start.
#[test]
fn delivered_events_are_not_sent_again() {
    let receiver = Receiver::start(|_| Answer::ok());
    let files = Files::new(&receiver);
    let mut server = files.start(&[]);
    publish_all(&server, &ROOMS, 0, 10);
    receiver.wait_for_events("message", 50);
    server.terminate();
    assert!(server.wait_exit(PATIENCE).success());
    let server = files.start(&[]);
    publish_all(&server, &ROOMS, 10, 10);
    receiver.wait_for_events("message", 100);
    receiver.wait_for_events("resync", 2);
    eventually("all answers were read", || queue(&server) == 0.0);
    drop(server);
    let server = files.start(&[]);
    receiver.wait_for_events("resync", 3);
    eventually("all answers were read", || queue(&server) == 0.0);
    let events = receiver.events();
    let ids: BTreeSet<&str> = events.iter().filter_map(|event| event["id"].as_str()).collect();
    assert_eq!((events.len(), ids.len(), resyncs(&events, "started")), (103, 103, 3), "{events:?}");
    assert_eq!(files.segments().len(), 1, "that of the last resync");
}

/// 1. The receiver is down, and more is published than the disk may hold: the newest are dropped and counted.
/// 2. The server is killed. The next one tells the receiver the exact number, once, with a resync, and delivers the
///    others.
/// 3. There is space again.
#[test]
fn a_full_disk_bound_drops_the_newest_and_tells_exactly_how_many() {
    let receiver = Receiver::start(not_ready);
    let files = Files::new(&receiver);
    let settings = [("webhooks.max_disk_bytes", "1MiB")];
    let server = files.start(&settings);
    let long = "x".repeat(7900);
    for number in 0..40 {
        ROOMS.iter().for_each(|room| publish(&server, room, &format!("{number} {long}")));
    }
    let dropped = server.metric("throng_webhook_dropped_total", "");
    assert!((60.0..120.0).contains(&dropped), "{dropped} of 201");
    assert_eq!(queue(&server), 201.0 - dropped);
    let bytes: u64 = files.segments().iter().map(|path| fs::metadata(path).expect("a file").len()).sum();
    assert!((900 << 10..=1 << 20).contains(&bytes), "{bytes}");
    drop(server);
    receiver.answer(|_| Answer::ok());
    let server = files.start(&settings);
    receiver.wait_for_events("message", 200 - dropped as usize);
    let asked = receiver.wait_for("the number of dropped events", |asked| told_dropped(asked) > 0);
    assert_eq!(told_dropped(&asked), dropped as u64);
    eventually("everything is delivered", || queue(&server) == 0.0);
    publish_all(&server, &ROOMS, 40, 1);
    let events = receiver.wait_for_events("message", 205 - dropped as usize);
    for room in ROOMS {
        let texts = texts(&events, room);
        let mut expected = numbers(0, texts.len() - 1);
        expected.push("40".to_owned());
        let said: Vec<&str> = texts.iter().filter_map(|text| text.split(' ').next()).collect();
        assert_eq!(said, expected, "{room}: the oldest, and the one behind");
    }
    assert_eq!(
        (told_dropped(&receiver.asked()), resyncs(&receiver.events(), "dropped")),
        (dropped as u64, 1)
    );
}

/// 1. The receiver is down, and files cannot grow: events are dropped, which the log says, and messages are answered.
/// 2. Files can grow again, and the receiver is up: it hears of all others, and of how many it has missed.
#[test]
fn events_that_cannot_be_written_are_dropped_and_told() {
    let receiver = Receiver::start(not_ready);
    let files = Files::new(&receiver);
    let dir = files.events();
    let server = Server::start_with_short_files(16, &files.with(dir.to_str().expect("UTF-8"), &[]));
    let long = "x".repeat(1000);
    for number in 0..40 {
        publish(&server, "a", &format!("{number} {long}"));
    }
    let dropped = server.metric("throng_webhook_dropped_total", "");
    assert!((20.0..38.0).contains(&dropped), "{dropped}");
    server.log().wait_for("the reason", |line| {
        line["message"].as_str().is_some_and(|text| text.contains("cannot be written: they are dropped"))
    });
    server.lift_file_limit();
    publish(&server, "a", "40 ");
    receiver.answer(|_| Answer::ok());
    let kept = 40 - dropped as usize;
    let events = receiver.wait_for_events("message", kept + 1);
    let mut expected = numbers(0, kept);
    expected.push("40".to_owned());
    let texts = texts(&events, "a");
    let said: Vec<&str> = texts.iter().filter_map(|text| text.split(' ').next()).collect();
    assert_eq!(said, expected);
    let asked = receiver.wait_for("the number of dropped events", |asked| told_dropped(asked) > 0);
    assert_eq!(told_dropped(&asked), dropped as u64);
}

/// A write that the end of the process has cut short takes no other event with it.
#[test]
fn a_torn_end_is_cut_off() {
    let receiver = Receiver::start(not_ready);
    let files = Files::new(&receiver);
    let server = files.start(&[]);
    publish_all(&server, &ROOMS, 0, 5);
    drop(server);
    for path in files.segments() {
        let mut bytes = fs::read(&path).expect("a file");
        // The beginning of the first entry, which stands behind the eight bytes of the magic.
        bytes.extend_from_within(8..30);
        fs::write(&path, bytes).expect("written");
    }
    receiver.answer(|_| Answer::ok());
    let server = files.start(&[]);
    let events = receiver.wait_for_events("message", 25);
    for room in ROOMS {
        assert_eq!(texts(&events, room), numbers(0, 5), "{room}");
    }
    receiver.wait_for_events("resync", 2);
    assert_eq!(told_dropped(&receiver.asked()), 0);
    assert!(server.log().text().contains("cut off"), "{}", server.log().text());
}

fn find(bytes: &[u8], text: &str) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text.as_bytes())
}

/// Two events in the middle are damaged: the others come, and the receiver is told that two are missing.
#[test]
fn damaged_events_are_counted_and_told() {
    let receiver = Receiver::start(not_ready);
    let files = Files::new(&receiver);
    let server = files.start(&[]);
    for number in 0..10 {
        publish(&server, "a", &format!("number {number}."));
    }
    drop(server);
    let is_in = |path: &PathBuf| find(&fs::read(path).expect("a file"), "number 4.").is_some();
    let path = files.segments().into_iter().find(is_in).expect("the segment of the room");
    let mut bytes = fs::read(&path).expect("a file");
    for text in ["number 4.", "number 5."] {
        let at = find(&bytes, text).expect("the event");
        bytes[at] = b'N';
    }
    fs::write(&path, bytes).expect("written");
    receiver.answer(|_| Answer::ok());
    let server = files.start(&[]);
    let events = receiver.wait_for_events("message", 8);
    let expected: Vec<String> =
        [0, 1, 2, 3, 6, 7, 8, 9].iter().map(|number| format!("number {number}.")).collect();
    assert_eq!(texts(&events, "a"), expected);
    receiver.wait_for("the start", |asked| resyncs(&crate::support::receiver::events(asked), "started") == 2);
    assert_eq!((told_dropped(&receiver.asked()), resyncs(&receiver.events(), "dropped")), (2, 1));
    assert_eq!(server.metric("throng_webhook_dropped_total", ""), 2.0);
    let log = server.log().text();
    assert!(log.contains("is damaged") && log.contains(&*path.to_string_lossy()), "{log}");
}

/// A stop delivers what it can, and leaves the rest on disk for the next start.
#[test]
fn events_that_a_stop_leaves_are_delivered_by_the_next_start() {
    let receiver = Receiver::start(|_| Answer::Hang);
    let files = Files::new(&receiver);
    let settings = [("webhooks.timeout", "1m"), ("drain.window", "0ms")];
    let mut server = files.start(&settings);
    publish_all(&server, &ROOMS, 0, 30);
    server.terminate();
    assert!(server.wait_exit(Duration::from_secs(30)).success());
    let left = server.log().wait_for("the events that are left", |line| line["left"].is_u64());
    assert_eq!(left["left"], 151, "{left}");
    receiver.answer(|_| Answer::ok());
    let _server = files.start(&settings);
    let events = receiver.wait_for_events("message", 150);
    for room in ROOMS {
        assert_eq!(texts(&events, room), numbers(0, 30), "{room}");
    }
}

/// A receiver that is not in the configuration of the next start leaves nothing on disk, and the log says how many
/// events are dropped with it.
#[test]
fn a_receiver_that_is_gone_at_the_start_is_removed() {
    let receiver = Receiver::start(not_ready);
    let mut files = Files::new(&receiver);
    let server = files.start(&[]);
    publish_all(&server, &ROOMS, 0, 3);
    drop(server);
    assert!(!files.segments().is_empty());
    let other = Receiver::start(|_| Answer::ok());
    let (url, secrets) = (other.url("/hook"), &files.secrets);
    files.receivers = format!("[{{url = {url:?}, secret_file = {secrets:?}, events = [\"message\"]}}]");
    let server = files.start(&[]);
    let line = server.log().wait_for("the dropped events", |line| line["dropped"].is_u64());
    assert_eq!(line["dropped"], 16, "{line}");
    let events = other.wait_for_events("resync", 1);
    assert_eq!((events.len(), files.segments().len()), (1, 1), "the other receiver's");
}

#[test]
fn a_folder_that_cannot_be_used_ends_the_start_with_its_reason() {
    let receiver = Receiver::start(|_| Answer::ok());
    let files = Files::new(&receiver);
    let server = files.start(&[]);
    receiver.wait_for_events("resync", 1);
    let refused = |path: &Path, reason: &str| {
        let settings = files.with(path.to_str().expect("UTF-8"), &[]);
        let output = run(&["serve", "--listen", "127.0.0.1:0"], &settings);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(UNAVAILABLE), "{said}");
        assert!(said.contains("webhooks.dir") && said.contains(reason), "{said}");
        assert!(!said.contains("/hook"), "the URL may hold a password: {said}");
    };
    refused(&files.events(), "in use by another process");
    let file = files.dir.path().join("file");
    fs::write(&file, "not a folder").expect("written");
    refused(&file, "cannot make the folder");
    drop(server);
    let segment = files.segments().remove(0);
    let mut bytes = fs::read(&segment).expect("a file");
    bytes[7] = 99;
    fs::write(&segment, &bytes).expect("written");
    refused(&files.events(), "a format that this version does not know");
    fs::remove_file(&segment).expect("removed");
    fs::create_dir(&segment).expect("made");
    refused(&files.events(), "cannot read");
}
