use std::fs;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::*;
use crate::broker::Position;
use crate::config::HistorySync;
use crate::names::Offset;

/// Longest wait for anything that is to happen.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, PartialEq, Eq)]
enum Said {
    Assigned(u64),
    Committed(u64),
    Failed(u64),
}

/// One room. A job is a word to wait for before it is assigned, and whether it repeats the message before it.
struct Room {
    epoch: Epoch,
    last: u64,
    say: SyncSender<Said>,
}

struct Job {
    wait: Option<Receiver<()>>,
    is_repeated: bool,
    len: usize,
}

impl Publisher for Room {
    type Job = Job;
    type Assigned = (u64, bool);

    fn assign(&mut self, job: Job) -> BatchStep<(u64, bool)> {
        if let Some(wait) = job.wait {
            // The sender is gone where the test wants a panic.
            wait.recv_timeout(PATIENCE).expect("a word");
        }
        if job.is_repeated {
            return BatchStep::Follow((self.last, false));
        }
        self.last += 1;
        self.say.send(Said::Assigned(self.last)).expect("the test listens");
        let record = Record {
            room: "room".parse().unwrap(),
            position: Position { epoch: self.epoch, offset: Offset(self.last) },
            first: Offset(1),
            at_unix_ms: 0,
            user: "alice".parse().unwrap(),
            key: None,
            frame: vec![b'x'; job.len].into(),
        };
        BatchStep::Append(record, (self.last, true))
    }

    fn committed(&mut self, (offset, _): (u64, bool)) {
        self.say.send(Said::Committed(offset)).expect("the test listens");
    }

    fn failed(&mut self, (offset, is_own): (u64, bool), error: &LogError) {
        assert!(matches!(error, LogError::Io { .. }), "{error}");
        if is_own {
            assert_eq!(offset, self.last, "the last one first");
            self.last -= 1;
        }
        self.say.send(Said::Failed(offset)).expect("the test listens");
    }
}

fn start(dir: &Path, segment_bytes: u64) -> (Writer<Job>, Receiver<Said>) {
    let (log, recovered) = Log::open_small(dir, segment_bytes, 0, |_, _| false).unwrap();
    let position = recovered.rooms.first().map(|room| room.position);
    let position = position.unwrap_or(Position { epoch: Epoch::random(), offset: Offset(0) });
    let (say, said) = sync_channel(3 * MAX_WAITING);
    let room = Room { epoch: position.epoch, last: position.offset.0, say };
    (Writer::start(log, room, || 0).unwrap(), said)
}

fn job() -> Job {
    Job { wait: None, is_repeated: false, len: 10 }
}

/// Returns a job at which the thread waits until it gets a word.
fn gate() -> (Job, SyncSender<()>) {
    let (word, wait) = sync_channel(1);
    (Job { wait: Some(wait), ..job() }, word)
}

#[track_caller]
fn expect(said: &Receiver<Said>, expected: &[Said]) {
    for expected in expected {
        assert_eq!(said.recv_timeout(PATIENCE).as_ref(), Ok(expected));
    }
}

#[test]
fn waiting_records_are_one_batch_and_are_seen_only_when_written() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, said) = start(dir.path(), 1 << 20);
    let (first, word) = gate();
    assert!(writer.submit(first, 10).is_ok());
    for _ in 0..2 {
        assert!(writer.submit(job(), 10).is_ok());
    }
    assert!(writer.submit(Job { is_repeated: true, ..job() }, 10).is_ok());
    word.send(()).unwrap();
    // The first is a batch by itself, unless the others came before the thread woke up.
    let mut order = Vec::new();
    while order.iter().filter(|said| matches!(said, Said::Committed(_))).count() < 4 {
        order.push(said.recv_timeout(PATIENCE).unwrap());
    }
    let committed: Vec<_> = order.iter().filter(|said| matches!(said, Said::Committed(_))).collect();
    assert_eq!(
        committed,
        [&Said::Committed(1), &Said::Committed(2), &Said::Committed(3), &Said::Committed(3)]
    );
    let at = |wanted: Said| order.iter().position(|said| *said == wanted).unwrap();
    assert!(at(Said::Assigned(3)) < at(Said::Committed(2)), "one batch: {order:?}");
    writer.stop().unwrap();
    let log = Log::open(dir.path(), HistorySync::Off, 0, |_, _| false).unwrap().1;
    assert_eq!(log.rooms[0].messages.len(), 3);
}

#[test]
fn a_batch_fails_as_a_whole_and_the_next_one_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    // Every batch begins a segment.
    let (writer, said) = start(dir.path(), 1);
    assert!(writer.submit(job(), 10).is_ok());
    expect(&said, &[Said::Assigned(1), Said::Committed(1)]);
    let (first, word) = gate();
    assert!(writer.submit(first, 10).is_ok());
    // The thread has taken the gate alone or takes it with the next job. Either way nothing is written before the word.
    let in_the_way = (2..6).map(|number| dir.path().join(format!("{number:010}.log")));
    let in_the_way: Vec<_> = in_the_way.filter(|path| fs::create_dir(path).is_ok()).collect();
    assert!(!in_the_way.is_empty());
    word.send(()).unwrap();
    expect(&said, &[Said::Assigned(2), Said::Failed(2)]);
    in_the_way.iter().for_each(|path| fs::remove_dir(path).unwrap());
    assert!(writer.submit(job(), 10).is_ok());
    expect(&said, &[Said::Assigned(2), Said::Committed(2)]);
    writer.stop().unwrap();
    let (writer, said) = start(dir.path(), 1);
    assert!(writer.submit(job(), 10).is_ok());
    expect(&said, &[Said::Assigned(3), Said::Committed(3)]);
    drop(writer);
}

#[test]
fn the_queue_is_bounded_and_stopping_writes_what_waits() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, said) = start(dir.path(), 1 << 20);
    let (first, word) = gate();
    assert!(writer.submit(first, MAX_WAITING_BYTES - 10).is_ok());
    assert!(writer.submit(job(), 10).is_ok());
    assert!(matches!(writer.submit(job(), 1), Err(Rejected::Full(_))), "bytes");
    let mut count = 2;
    while writer.submit(job(), 0).is_ok() {
        count += 1;
    }
    assert_eq!((count, writer.waiting()), (MAX_WAITING, MAX_WAITING));
    word.send(()).unwrap();
    writer.stop().unwrap();
    assert_eq!(writer.waiting(), 0);
    assert!(matches!(writer.submit(job(), 0), Err(Rejected::Stopped(_))));
    assert_eq!(said.iter().filter(|said| matches!(said, Said::Committed(_))).count(), MAX_WAITING);
    // A message beyond the bound is taken when it is alone.
    let (writer, said) = start(dir.path(), 1 << 20);
    assert!(writer.submit(job(), MAX_WAITING_BYTES + 1).is_ok());
    let next = MAX_WAITING as u64 + 1;
    expect(&said, &[Said::Assigned(next), Said::Committed(next)]);
}

#[test]
fn a_panic_stops_the_writer_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, said) = start(dir.path(), 1 << 20);
    let (first, word) = gate();
    assert!(writer.submit(first, 10).is_ok());
    drop(word);
    // The publisher is dropped with its thread.
    assert!(said.recv_timeout(PATIENCE).is_err());
    assert!(!writer.is_running());
    assert_eq!(writer.waiting(), 0, "nothing waits for a thread that is no more");
    assert!(matches!(writer.submit(job(), 10), Err(Rejected::Stopped(_))));
    assert!(matches!(writer.stop(), Err(LogError::Panicked)));
}

#[test]
fn a_trim_goes_through_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, said) = start(dir.path(), 1 << 20);
    for offset in 1..=3 {
        assert!(writer.submit(job(), 10).is_ok());
        expect(&said, &[Said::Assigned(offset), Said::Committed(offset)]);
    }
    writer.stop().unwrap();
    let (log, recovered) = Log::open(dir.path(), HistorySync::Off, 0, |_, _| false).unwrap();
    let room = &recovered.rooms[0];
    drop(log);
    let (writer, _said) = start(dir.path(), 1 << 20);
    writer.trim_sink()(&room.room, room.position.epoch, Trim::Before(Offset(3)));
    writer.trim_sink()(&room.room, room.position.epoch, Trim::Before(Offset(2)));
    writer.stop().unwrap();
    let (log, recovered) = Log::open(dir.path(), HistorySync::Off, 0, |_, _| false).unwrap();
    assert_eq!(recovered.rooms[0].messages.len(), 1);
    drop(log);
    let (writer, _said) = start(dir.path(), 1 << 20);
    writer.trim_sink()(&room.room, room.position.epoch, Trim::All);
    writer.trim_sink()(&room.room, room.position.epoch, Trim::Before(Offset(2)));
    writer.stop().unwrap();
    assert!(Log::open(dir.path(), HistorySync::Off, 0, |_, _| false).unwrap().1.rooms.is_empty());
}
