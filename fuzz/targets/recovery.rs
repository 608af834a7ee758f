//! The log of a room's messages, damaged at random: it opens or says why not, invents nothing, and goes on.
//!
//! The input is a list of acts of four bytes each: what, in which file, and where.

#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use tempfile::TempDir;
use throng::broker::Position;
use throng::broker::log::{Log, Record, Waste};
use throng::names::{Epoch, Offset, RoomName};

/// Acts of one input.
const MOST: usize = 12;
const ROOMS: [&str; 2] = ["a", "b"];
/// Opened, filled and closed so often: each time begins a segment.
const LIVES: u64 = 3;
const EACH: u64 = 8;

type Files = BTreeMap<String, Vec<u8>>;

/// What was written, and its files after each life of the process: a backup is one of them.
struct Written {
    epochs: [Epoch; 2],
    states: Vec<Files>,
}

static WRITTEN: LazyLock<Written> = LazyLock::new(|| {
    let (dir, epochs) = (folder(), [Epoch::random(), Epoch::random()]);
    let mut states = Vec::new();
    for life in 0..LIVES {
        let (mut log, _) = Log::open(dir.path(), 0, |_, _| false).expect("a log");
        for offset in life * EACH + 1..=(life + 1) * EACH {
            let both = [0, 1].map(|place| record(ROOMS[place], epochs[place], offset));
            log.append(&both).expect("an append");
        }
        if life == 1 {
            let room: RoomName = ROOMS[1].parse().expect("a name");
            log.discard([(room, epochs[1], Waste::Before(Offset(3)))]).expect("a discard");
        }
        log.close().expect("a close");
        states.push(save(dir.path()));
    }
    Written { epochs, states }
});

fn folder() -> TempDir {
    // In memory where there is such a place: thousands of files a second.
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
}

fn record(room: &str, epoch: Epoch, offset: u64) -> Record {
    Record {
        room: room.parse().expect("a name"),
        position: Position { epoch, offset: Offset(offset) },
        first: Offset(1),
        at_unix_ms: offset * 1_000,
        user: "alice".parse().expect("a name"),
        key: offset.is_multiple_of(2).then(|| format!("key {offset}").parse().expect("a key")),
        frame: format!("{room} says {offset}").into_bytes().into(),
    }
}

fn save(dir: &Path) -> Files {
    let entries = fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry"));
    entries
        .map(|it| (it.file_name().into_string().expect("UTF-8"), fs::read(it.path()).expect("a file")))
        .collect()
}

/// One act upon the files.
fn damage(files: &mut Files, [what, which, high, low]: [u8; 4]) {
    let names: Vec<String> = files.keys().cloned().collect();
    let Some(name) = names.get(usize::from(which) % names.len().max(1)) else { return };
    let Some(bytes) = files.get_mut(name) else { return };
    let at = usize::from(u16::from_be_bytes([high, low])) % bytes.len().max(1);
    match what % 7 {
        0 if !bytes.is_empty() => bytes[at] ^= 1 << (what / 7 % 8),
        1 => bytes.truncate(at),
        2 => drop(files.remove(name)),
        3 => bytes.splice(at..at, [what, high]).for_each(drop),
        4 => {
            let tail = bytes[at..].to_vec();
            bytes.extend(tail);
        }
        // One file, or all of them, out of a backup.
        5 => {
            let backup = &WRITTEN.states[usize::from(low) % WRITTEN.states.len()];
            backup.get(name).into_iter().for_each(|old| *bytes = old.clone());
        }
        6 => files.clone_from(&WRITTEN.states[usize::from(low) % WRITTEN.states.len()]),
        _ => {}
    }
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let written = &*WRITTEN;
    let mut files = written.states.last().expect("a state").clone();
    for act in input.as_chunks::<4>().0.iter().take(MOST) {
        damage(&mut files, *act);
    }
    let dir = folder();
    for (name, bytes) in &files {
        fs::write(dir.path().join(name), bytes).expect("a file");
    }
    let Ok((mut log, recovered)) = Log::open(dir.path(), 0, |_, _| false) else { return };
    let is_whole = files == written.states[written.states.len() - 1];
    assert!(!is_whole || recovered.rooms.len() == ROOMS.len(), "all is there, and a room is lost");
    let mut next = Vec::new();
    for found in &recovered.rooms {
        let place =
            ROOMS.iter().position(|room| *room == found.room.as_str()).expect("a room that was never there");
        let (epoch, most) = (written.epochs[place], LIVES * EACH);
        assert!(found.position.epoch == epoch && found.position.offset.0 <= most, "{found:?}");
        if cfg!(feature = "strict") {
            assert_eq!(
                found.position.offset.0, most,
                "the epoch went on, and messages are missing at its end"
            );
        }
        let offsets: Vec<u64> = found.messages.iter().map(|message| message.position.offset.0).collect();
        assert!(offsets.windows(2).all(|pair| pair[1] == pair[0] + 1), "a hole: {offsets:?}");
        assert!(offsets.last().is_none_or(|last| *last == found.position.offset.0), "not up to the position");
        for message in &found.messages {
            let told = Record { first: Offset(1), ..message.clone() };
            assert_eq!(told, record(ROOMS[place], epoch, message.position.offset.0), "not what was written");
        }
        next.push(record(ROOMS[place], epoch, found.position.offset.0 + 1));
    }
    log.append(&next).expect("the count goes on");
    drop(log);
    // What was recovered once is recovered again.
    let (_log, again) = Log::open(dir.path(), 0, |_, _| false).expect("it was open before");
    for record in next {
        let found =
            again.rooms.iter().find(|found| found.room == record.room).expect("a room that was there");
        assert_eq!(found.position, record.position);
    }
});
