//! Recovery from the disk, after anything that may happen to it.

mod crash;
mod damage;
mod older;
mod trim;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::recovery::Scan;
use super::*;
use crate::names::UserId;
use crate::protocol::event;

/// Small, so that a few messages fill several segments.
const SEGMENT: u64 = 2000;

impl Log {
    pub(super) fn open_small(
        dir: &Path,
        segment_bytes: u64,
        now_unix_ms: u64,
        is_expired: impl Fn(&RoomName, u64) -> bool,
    ) -> Result<(Self, Recovered), LogError> {
        Self::open_with(Opening { dir, segment_bytes, sync: Sync::Off, now_unix_ms }, is_expired, |_| false)
    }
}

fn room(name: &str) -> RoomName {
    name.parse().unwrap()
}

fn never(_: &RoomName, _: u64) -> bool {
    false
}

fn open(dir: &Path) -> (Log, BTreeMap<RoomName, RecoveredRoom>, usize) {
    let (log, recovered) = Log::open_small(dir, SEGMENT, 0, never).unwrap();
    let rooms = recovered.rooms.into_iter().map(|found| (found.room.clone(), found)).collect();
    (log, rooms, recovered.renewed_rooms.len())
}

/// Returns message `offset` of a room; everything about it follows from that.
fn record(name: &str, epoch: Epoch, offset: u64, first: u64) -> Record {
    let (at, user): (_, UserId) = (Offset(offset), "alice".parse().unwrap());
    let text = format!("{name} says {offset}");
    Record {
        frame: event::message(&user, &text, &room(name), epoch, at, offset * 1000),
        room: room(name),
        position: Position { epoch, offset: at },
        first: Offset(first),
        at_unix_ms: offset * 1000,
        user,
        key: (offset.is_multiple_of(2)).then(|| format!("key {offset} ü").parse().unwrap()),
    }
}

/// The position of each room, and the first of its messages that is kept.
type Truth = BTreeMap<RoomName, (Position, u64)>;

/// Forgets a room (0) or the first of its messages (1, 2) if it is there; otherwise appends a message. Returns the
/// position of an appended message.
fn change(
    (log, truth): (&mut Log, &mut Truth),
    name: &str,
    what: u8,
    random: &mut fastrand::Rng,
) -> Option<Position> {
    let known = truth.get(&room(name)).copied();
    match (what, known) {
        (0, Some((position, _))) => {
            log.discard([(room(name), position.epoch, Trim::All)]).unwrap();
            truth.remove(&room(name));
            None
        }
        (1 | 2, Some((position, first))) => {
            let first = random.u64(first..=position.offset.0 + 1);
            log.discard([(room(name), position.epoch, Trim::Before(Offset(first)))]).unwrap();
            truth.insert(room(name), (position, first));
            None
        }
        _ => {
            let fresh = Position { epoch: Epoch::random(), offset: Offset(0) };
            let (Position { epoch, offset }, first) = known.unwrap_or((fresh, 1));
            let said = Position { epoch, offset: offset.next() };
            log.append(&[record(name, epoch, said.offset.0, first)]).unwrap();
            truth.insert(room(name), (said, first));
            Some(said)
        }
    }
}

/// Returns the offsets of a room's messages, and checks that each is as it was written.
#[track_caller]
fn offsets(found: &RecoveredRoom) -> Vec<u64> {
    for message in &found.messages {
        let Position { epoch, offset } = message.position;
        assert_eq!(epoch, found.position.epoch);
        assert_eq!(*message, record(found.room.as_str(), epoch, offset.0, message.first.0));
    }
    let offsets: Vec<u64> = found.messages.iter().map(|message| message.position.offset.0).collect();
    assert!(offsets.windows(2).all(|pair| pair[1] == pair[0] + 1), "a hole: {offsets:?}");
    assert!(offsets.last().is_none_or(|last| *last == found.position.offset.0), "not up to the position");
    offsets
}

/// Returns the contents of the whole folder, to be restored later.
fn save(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect()
}

/// Restores the contents of a folder. Files that are there are overwritten, and so stay the same files.
fn restore(dir: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if !files.contains_key(entry.file_name().to_str().unwrap()) {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    for (name, bytes) in files {
        fs::write(dir.join(name), bytes).unwrap();
    }
}

/// Appends `batches` of three messages to two rooms in turn. Returns the position of each room after each batch.
fn fill(log: &mut Log, epochs: [Epoch; 2], batches: u64) -> Vec<[u64; 2]> {
    let mut ends = vec![[0, 0]];
    for batch in 0..batches {
        let [mut a, mut b] = ends[ends.len() - 1];
        let mut records = Vec::new();
        for message in 0..3 {
            let (name, end) = if (batch + message) % 3 == 0 { ("b", &mut b) } else { ("a", &mut a) };
            *end += 1;
            records.push(record(name, epochs[usize::from(name == "b")], *end, 1));
        }
        log.append(&records).unwrap();
        ends.push([a, b]);
    }
    ends
}

#[test]
fn appended_messages_are_recovered_and_offsets_continue() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, rooms, _) = open(dir.path());
    assert!(rooms.is_empty());
    let epochs = [Epoch::random(), Epoch::random()];
    let ends = fill(&mut log, epochs, 12);
    drop(log);
    for _ in 0..3 {
        let (log, rooms, lost) = open(dir.path());
        assert_eq!(lost, 0);
        for (index, name) in ["a", "b"].into_iter().enumerate() {
            let found = &rooms[&room(name)];
            assert_eq!(found.position, Position { epoch: epochs[index], offset: Offset(ends[12][index]) });
            assert_eq!(offsets(found), (1..=ends[12][index]).collect::<Vec<_>>());
        }
        drop(log);
    }
    let (mut log, ..) = open(dir.path());
    let [a, _] = ends[12];
    for wrong in
        [record("a", epochs[0], a + 2, 1), record("a", epochs[0], a, 1), record("a", Epoch::random(), 2, 1)]
    {
        assert!(matches!(log.append(&[wrong]), Err(LogError::Unconnected { .. })));
    }
    log.append(&[record("a", epochs[0], a + 1, 1)]).unwrap();
    // A new life of the room ends the old one.
    let again = Epoch::random();
    log.append(&[record("a", again, 1, 1), record("a", again, 2, 1)]).unwrap();
    drop(log);
    let (_log, rooms, _) = open(dir.path());
    assert_eq!((rooms[&room("a")].position.epoch, offsets(&rooms[&room("a")])), (again, vec![1, 2]));
}

#[test]
fn another_boot_goes_on_only_where_the_log_was_closed() {
    let dir = tempfile::tempdir().unwrap();
    let boot = folder::boot();
    assert!(!boot.is_empty());
    let (mut log, ..) = open(dir.path());
    log.append(&[record("a", Epoch::random(), 1, 1)]).unwrap();
    log.close().unwrap();
    let elsewhere = |found: Scan| {
        let recovered = found.rooms.into_recovered(never, |_| false).1;
        assert_eq!(recovered.rooms.len(), 1, "the message is there in any case");
        1 - recovered.renewed_rooms.len()
    };
    let scan = |boot: &str| recovery::scan(&Folder::lock(dir.path()).unwrap(), boot, 0).unwrap();
    assert_eq!(elsewhere(scan("another")), 1, "closed");
    drop(open(dir.path()));
    assert_eq!(elsewhere(scan(&boot)), 1, "not closed, the same boot");
    assert_eq!(elsewhere(scan("another")), 0, "not closed, another boot");
    assert_eq!(elsewhere(scan("")), 0, "not closed, and nobody knows");
    // A later run in another boot does not prove it again.
    let (chain, folder) = (scan(&boot).chain, Folder::lock(dir.path()).unwrap());
    let mut files = Files::continue_in(folder, SEGMENT, Sync::Off, "another".into(), chain).unwrap();
    files.start_marking().unwrap();
    drop(files);
    assert_eq!(elsewhere(scan("another")), 0);
}

#[test]
fn where_each_batch_reached_the_disk_another_boot_goes_on() {
    for (sync, renewed) in [(Sync::Off, 1), (Sync::Second, 1), (Sync::Batch, 0)] {
        let dir = tempfile::tempdir().unwrap();
        let opening = Opening { dir: dir.path(), segment_bytes: SEGMENT, sync, now_unix_ms: 0 };
        let (mut log, _) = Log::open_with(opening, never, |_| false).unwrap();
        let epoch = Epoch::random();
        for offset in 1..=30 {
            log.append(&[record("a", epoch, offset, 1)]).unwrap();
        }
        assert_eq!(log.wants_sync(), sync == Sync::Second);
        log.sync_data().unwrap();
        assert!(!log.wants_sync());
        drop(log);
        let found = recovery::scan(&Folder::lock(dir.path()).unwrap(), "another", 0).unwrap();
        let recovered = found.rooms.into_recovered(never, |_| false).1;
        assert_eq!((recovered.rooms[0].messages.len(), recovered.renewed_rooms.len()), (30, renewed));
    }
}

/// Returns a segment as the first version wrote it.
fn as_old(new: &[u8]) -> Vec<u8> {
    let entry = |body: &[u8]| {
        let mut bytes = (body.len() as u32 | 1 << 31).to_le_bytes().to_vec();
        bytes.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        [&bytes, body].concat()
    };
    let mut reader = format::reader(new);
    let mut at = format::MAGIC.len();
    while let format::Step::Entry(format::LogEntry::Segment(_), len, _) = reader.step() {
        at += len;
    }
    [&format::OLD_MAGIC[..], &entry(&[0; 45]), &new[at..]].concat()
}

#[test]
fn a_folder_of_the_first_version_is_taken_up_with_new_epochs_once() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, ..) = open(dir.path());
    let epoch = Epoch::random();
    for offset in 1..=3 {
        log.append(&[record("a", epoch, offset, 1)]).unwrap();
    }
    drop(log);
    let old = as_old(&save(dir.path())["0000000001.log"]);
    restore(dir.path(), &BTreeMap::from([("0000000001.log".into(), old), ("lock".into(), vec![])]));
    let (log, recovered) = Log::open_small(dir.path(), SEGMENT, 0, never).unwrap();
    assert_eq!((recovered.rooms[0].messages.len(), recovered.renewed_rooms.len()), (3, 1));
    assert_eq!(recovered.findings.len(), 1, "{:?}", recovered.findings);
    let position = recovered.rooms[0].position;
    assert_ne!(position.epoch, epoch);
    drop(log);
    let (_log, again) = Log::open_small(dir.path(), SEGMENT, 0, never).unwrap();
    assert_eq!((again.findings, again.rooms[0].position), (vec![], position));
}

#[test]
fn one_folder_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made/for/it");
    let (log, ..) = open(&path);
    let error = Log::open(&path, Sync::Off, 0, never).unwrap_err();
    assert!(matches!(error, LogError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("made/for/it\" is in use by another process"), "{error}");
    drop(log);
    open(&path);
}

#[test]
fn a_folder_that_cannot_be_used_is_named_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "not a folder").unwrap();
    // Nobody, not even root, can create files there.
    let read_only = Path::new("/proc/self/task");
    for (path, expected) in [(&*file, "make the folder"), (read_only, "make")] {
        let error = Log::open(path, Sync::Off, 0, never).unwrap_err().to_string();
        assert!(error.starts_with("history.dir: cannot ") && error.contains(expected), "{error}");
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
    fs::write(dir.path().join("0000000001.log"), b"throng\x00\x03 of the future").unwrap();
    assert!(matches!(Log::open(dir.path(), Sync::Off, 0, never), Err(LogError::Version { .. })));
}
