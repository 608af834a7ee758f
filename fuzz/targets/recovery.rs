//! Fuzzes the recovery of a damaged log: it opens or returns an error, invents no message, and continues an epoch only
//! with all of its messages.
//!
//! The input is a list of acts of four bytes each: the kind of damage, the file, and the offset in it (two bytes).

#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use throng::testing::broker::Position;
use throng::testing::broker::log::{Log, Record, RecoveredRoom};
use throng::testing::broker::trim::Trim;
use throng::config::HistorySync;
use throng::names::{Epoch, Offset, RoomName, UserId};
use throng::testing::protocol::event;

/// Most acts of one input.
const MOST: usize = 12;
const ROOMS: [&str; 2] = ["a", "b"];
/// How often the log is opened, filled and closed; each time begins a segment.
const LIVES: u64 = 3;
/// Messages written to each room in one life.
const EACH: u64 = 8;

type Files = BTreeMap<String, Vec<u8>>;

/// The epochs of the rooms, and the files after each life of the process, any of which may be a backup.
struct Written {
    epochs: [Epoch; 2],
    states: Vec<Files>,
}

impl Written {
    fn into(dir: &Path) -> Self {
        let epochs = [Epoch::random(), Epoch::random()];
        let mut states = Vec::new();
        for life in 0..LIVES {
            let (mut log, _) = open(dir).expect("a log");
            for offset in life * EACH + 1..=(life + 1) * EACH {
                let both = [0, 1].map(|place| record(ROOMS[place], epochs[place], offset, offset));
                log.append(&both).expect("an append");
            }
            if life == 1 {
                let room: RoomName = ROOMS[1].parse().expect("a name");
                log.discard([(room, epochs[1], Trim::Before(Offset(3)))]).expect("a discard");
            }
            log.close().expect("a close");
            states.push(save(dir));
        }
        Self { epochs, states }
    }
}

fn open(dir: &Path) -> Result<(Log, throng::testing::broker::log::Recovered), throng::testing::broker::log::LogError> {
    Log::open(dir, HistorySync::Off, 0, |_, _| false)
}

fn folder() -> TempDir {
    // In memory if possible: the target writes thousands of files per second.
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
}

/// Returns message number `said` of a room, at `offset`.
fn record(room: &str, epoch: Epoch, said: u64, offset: u64) -> Record {
    let (room, user): (RoomName, UserId) = (room.parse().expect("a name"), "alice".parse().expect("a name"));
    let offset = Offset(offset);
    Record {
        position: Position { epoch, offset },
        first: Offset(1),
        at_unix_ms: said * 1_000,
        key: said.is_multiple_of(2).then(|| format!("key {said}").parse().expect("a key")),
        frame: event::message(&user, &format!("{room} says {said}"), &room, epoch, offset, said * 1_000),
        room,
        user,
    }
}

fn save(dir: &Path) -> Files {
    let entries = fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry"));
    entries
        .map(|it| (it.file_name().into_string().expect("UTF-8"), fs::read(it.path()).expect("a file")))
        .collect()
}

/// Applies one act to the files of a folder. Damage changes the files themselves. Restoring a backup replaces them, and
/// never restores only the note of how far the log was written, because a cut log would look complete beside it.
fn damage(dir: &Path, written: &Written, [what, which, high, low]: [u8; 4]) {
    let files = save(dir);
    let names: Vec<&String> = files.keys().collect();
    let Some(name) = names.get(usize::from(which) % names.len().max(1)) else { return };
    let (path, mut bytes) = (dir.join(name), files[*name].clone());
    let at = usize::from(u16::from_be_bytes([high, low])) % bytes.len().max(1);
    let backup = &written.states[usize::from(low) % written.states.len()];
    match what % 7 {
        0 if !bytes.is_empty() => bytes[at] ^= 1 << (what / 7 % 8),
        1 => bytes.truncate(at),
        2 => return fs::remove_file(path).expect("a file"),
        3 => bytes.splice(at..at, [what, high]).for_each(drop),
        4 => {
            let tail = bytes[at..].to_vec();
            bytes.extend(tail);
        }
        5 if !name.ends_with(".end") => {
            if let Some(old) = backup.get(*name) {
                put(path, old);
            }
            return;
        }
        6 => {
            for name in files.keys() {
                fs::remove_file(dir.join(name)).expect("a file");
            }
            for (name, old) in backup {
                put(dir.join(name), old);
            }
            return;
        }
        _ => return,
    }
    fs::write(path, bytes).expect("a file");
}

/// Replaces the file at `path` by a new one.
fn put(path: PathBuf, bytes: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, bytes).expect("a file");
    fs::rename(new, path).expect("a file");
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let dir = folder();
    let written = Written::into(dir.path());
    for act in input.as_chunks::<4>().0.iter().take(MOST) {
        damage(dir.path(), &written, *act);
    }
    let is_touched = input.len() >= 4;
    let Ok((mut log, recovered)) = open(dir.path()) else { return };
    assert!(is_touched || recovered.renewed_rooms.is_empty(), "all is there, and a room begins anew");
    let mut next = Vec::new();
    for found in &recovered.rooms {
        let place =
            ROOMS.iter().position(|room| *room == found.room.as_str()).expect("a room that was never there");
        if found.position.epoch == written.epochs[place] {
            goes_on(found, ROOMS[place]);
        } else {
            assert!(recovered.renewed_rooms.contains(&found.room), "a new epoch, and nobody is told");
            begins_anew(found, ROOMS[place]);
        }
        let Position { epoch, offset } = found.position;
        next.push(record(ROOMS[place], epoch, offset.0 + 1, offset.0 + 1));
    }
    log.append(&next).expect("the count goes on");
    drop(log);
    // A second recovery finds the same rooms and positions.
    let (_log, again) = open(dir.path()).expect("it was open before");
    for record in next {
        let found =
            again.rooms.iter().find(|found| found.room == record.room).expect("a room that was there");
        assert_eq!(found.position, record.position);
    }
});

/// Asserts that an epoch that continues has its last message and no hole before it.
fn goes_on(found: &RecoveredRoom, room: &str) {
    let (most, offsets) = (LIVES * EACH, offsets(found));
    assert_eq!(found.position.offset.0, most, "the epoch went on, and messages are missing at its end");
    assert!(offsets.windows(2).all(|pair| pair[1] == pair[0] + 1), "a hole: {offsets:?}");
    assert!(offsets.last().is_none_or(|last| *last == most), "not up to the position: {offsets:?}");
    for message in &found.messages {
        let offset = message.position.offset.0;
        let told = Record { first: Offset(1), ..message.clone() };
        assert_eq!(told, record(room, found.position.epoch, offset, offset), "not what was written");
    }
}

/// Asserts that a new epoch has the remaining messages in their old order, each once and at the offset in its frame.
fn begins_anew(found: &RecoveredRoom, room: &str) {
    let offsets = offsets(found);
    assert!(offsets.windows(2).all(|pair| pair[1] == pair[0] + 1), "a hole: {offsets:?}");
    let mut last = 0;
    for message in &found.messages {
        let said = message.at_unix_ms / 1_000;
        assert!(said > last && said <= LIVES * EACH, "{said} behind {last}");
        last = said;
        let told = Record { first: Offset(1), ..message.clone() };
        let Position { epoch, offset } = message.position;
        assert_eq!(told, record(room, epoch, said, offset.0), "not what was written");
        assert_eq!(epoch, found.position.epoch);
    }
}

fn offsets(found: &RecoveredRoom) -> Vec<u64> {
    found.messages.iter().map(|message| message.position.offset.0).collect()
}
