//! Older copies that are put back, and random damage: no room ever continues an epoch in which clients would miss
//! something.

use std::collections::BTreeSet;

use super::damage::{last_of, said};
use super::*;

/// Restores files as a backup tool does: each is another file than before.
fn put_back(dir: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for (name, bytes) in files {
        // The old file is there until the new one is, so that the two never have the same inode number.
        let new = dir.join("new");
        fs::write(&new, bytes).unwrap();
        fs::rename(&new, dir.join(name)).unwrap();
    }
}

fn segments(files: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    files.keys().filter(|name| name.ends_with(".log")).cloned().collect()
}

#[test]
fn an_older_copy_of_the_folder_gives_every_room_a_new_epoch() {
    for in_place in [false, true] {
        for closed in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let epochs = [Epoch::random(), Epoch::random()];
            let (mut log, ..) = open(dir.path());
            let [a, b] = fill(&mut log, epochs, 6).pop().unwrap();
            if closed {
                log.close().unwrap();
            } else {
                drop(log);
            }
            let backup = save(dir.path());
            let (mut log, ..) = open(dir.path());
            log.append(&[record("a", epochs[0], a + 1, 1), record("b", epochs[1], b + 1, 1)]).unwrap();
            log.close().unwrap();
            if in_place {
                for (name, bytes) in &backup {
                    fs::write(dir.path().join(name), bytes).unwrap();
                }
            } else {
                restore(dir.path(), &backup);
                put_back(dir.path(), &backup);
            }
            let (_log, recovered) = Log::open_small(dir.path(), SEGMENT, 0, never).unwrap();
            if in_place {
                // Nothing was lost: the younger files, and the end mark, are still there.
                assert_eq!(recovered.renewed_rooms, []);
                assert!(
                    recovered.rooms.iter().all(|found| [a + 1, b + 1].contains(&found.position.offset.0))
                );
            } else {
                assert_eq!(recovered.renewed_rooms.len(), 2, "{:?}", recovered.findings);
                assert_eq!(recovered.rooms.iter().map(|found| said(found).len() as u64).sum::<u64>(), a + b);
            }
        }
    }
}

#[test]
fn without_its_note_or_with_that_of_another_a_log_proves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, ..) = open(dir.path());
    let epochs = [Epoch::random(), Epoch::random()];
    let [a, b] = fill(&mut log, epochs, 6).pop().unwrap();
    log.close().unwrap();
    let other = tempfile::tempdir().unwrap();
    drop(open(other.path()));
    let theirs = save(other.path());
    for note in [None, theirs.iter().find(|(name, _)| name.ends_with(".end"))] {
        let mut files = save(dir.path());
        files.retain(|name, _| !name.ends_with(".end"));
        files.extend(note.map(|(name, bytes)| (name.clone(), bytes.clone())));
        restore(dir.path(), &files);
        let (log, recovered) = Log::open_small(dir.path(), SEGMENT, 0, never).unwrap();
        assert_eq!(recovered.renewed_rooms.len(), 2, "{:?}", recovered.findings);
        assert_eq!(recovered.rooms.iter().map(|found| said(found).len() as u64).sum::<u64>(), a + b);
        log.close().unwrap();
    }
    // A segment of another log is set aside, and none of its messages are recovered here.
    let (mut log, ..) = open(other.path());
    log.append(&[record("theirs", epochs[0], 1, 1)]).unwrap();
    drop(log);
    let theirs = save(other.path());
    let last = last_of(&theirs);
    fs::write(dir.path().join("0000000001.log"), &theirs[&last]).unwrap();
    let (_log, rooms, _) = open(dir.path());
    assert!(!rooms.contains_key(&room("theirs")));
    assert_eq!(fs::read(dir.path().join("0000000001.log.aside")).unwrap(), theirs[&last]);
}

/// The last offset of each life of a room.
type Ends = BTreeMap<(RoomName, String), Offset>;

/// Writes a log with some rooms. Returns what was appended, and the states that its folder had on the way.
fn live(dir: &Path, random: &mut fastrand::Rng) -> (Truth, Ends, Vec<BTreeMap<String, Vec<u8>>>) {
    let (mut truth, mut ends, mut states) = (Truth::new(), Ends::new(), Vec::new());
    let mut log = open(dir).0;
    let mut now = 0;
    for step in 0..150 {
        let name = format!("room-{}", random.u8(..6));
        match random.u8(..24) {
            3 => now += 60_000,
            4 => {
                if random.bool() {
                    log.close().unwrap();
                } else {
                    drop(log);
                }
                log = open(dir).0;
            }
            what => {
                let said = change((&mut log, &mut truth), &name, what, random);
                ends.extend(said.map(|said| ((room(&name), said.epoch.to_string()), said.offset)));
            }
        }
        log.clean_up(now).unwrap();
        if step % 30 == 29 {
            states.push(save(dir));
        }
    }
    if random.bool() {
        log.close().unwrap();
    }
    (truth, ends, states)
}

/// Damages the files at random. Returns a description.
fn damage(dir: &Path, states: &[BTreeMap<String, Vec<u8>>], random: &mut fastrand::Rng) -> String {
    let now = save(dir);
    let names = segments(&now);
    let name = &names[random.usize(..names.len())];
    let path = dir.join(name);
    let mut bytes = now[name].clone();
    let at = random.usize(..bytes.len());
    let what = random.u8(..9);
    match what {
        0 => fs::write(&path, &bytes[..at]).unwrap(),
        1 => fs::remove_file(&path).unwrap(),
        2 => {
            bytes[at] ^= 1 << random.u8(..8);
            fs::write(&path, &bytes).unwrap();
        }
        3 => {
            let end = (at + random.usize(1..200)).min(bytes.len());
            bytes[at..end].fill_with(|| random.u8(..));
            fs::write(&path, &bytes).unwrap();
        }
        4 => {
            // A single older file, overwritten or put back.
            let old = &states[random.usize(..states.len())];
            let names = segments(old);
            let name = &names[random.usize(..names.len())];
            match random.bool() {
                true => fs::write(dir.join(name), &old[name]).unwrap(),
                false => put_back(dir, &BTreeMap::from([(name.clone(), old[name].clone())])),
            }
        }
        5 => {
            let old = &states[random.usize(..states.len())];
            restore(dir, old);
            put_back(dir, old);
        }
        6 => {
            // Written over the files that are there.
            let old = &states[random.usize(..states.len())];
            old.iter().for_each(|(name, bytes)| fs::write(dir.join(name), bytes).unwrap());
        }
        7 => {
            let note = now.keys().find(|name| name.ends_with(".end")).unwrap();
            let mut bytes = now[note].clone();
            let at = random.usize(..bytes.len());
            bytes[at] ^= 1 << random.u8(..8);
            fs::write(dir.join(note), &bytes).unwrap();
        }
        // Nothing: a kill.
        _ => {}
    }
    format!("{what}: {name} at {at}")
}

#[test]
fn a_room_with_lost_messages_never_keeps_its_epoch_after_any_damage() {
    let mut random = fastrand::Rng::with_seed(16);
    let (mut kept, mut renewed, mut whole) = (0, 0, 0);
    let rounds = if std::env::var_os("THRONG_LONG").is_some() { 2000 } else { 120 };
    for round in 0..rounds {
        let dir = tempfile::tempdir().unwrap();
        let (truth, ends, states) = live(dir.path(), &mut random);
        let what = damage(dir.path(), &states, &mut random);
        let case = format!("round {round}, {what}");
        let (mut log, recovered) = match Log::open_small(dir.path(), SEGMENT, 0, never) {
            Ok(opened) => opened,
            // The byte of the version.
            Err(LogError::Version { .. }) => continue,
            Err(error) => panic!("{case}: {error}"),
        };
        let epochs: BTreeSet<String> = truth.values().map(|(p, _)| p.epoch.to_string()).collect();
        for found in &recovered.rooms {
            let is_renewed = recovered.renewed_rooms.contains(&found.room);
            let said = said(found);
            if is_renewed {
                assert!(!epochs.contains(&found.position.epoch.to_string()), "{case}");
                renewed += 1;
                continue;
            }
            // If it is a life that was over, and the entry of its end was lost, clients that know it missed nothing in
            // it.
            let life = (found.room.clone(), found.position.epoch.to_string());
            assert_eq!(found.position.offset, ends[&life], "{case}, {}", found.room);
            let Some((position, _)) = truth.get(&found.room) else { continue };
            if found.position.epoch == position.epoch {
                assert_eq!(found.position.offset, position.offset, "{case}, {}", found.room);
                let first = position.offset.0 + 1 - said.len() as u64;
                let expected: Vec<String> = (first..=position.offset.0)
                    .map(|offset| format!("{} says {offset}", found.room))
                    .collect();
                assert_eq!(said, expected, "{case}, {}", found.room);
                kept += 1;
            }
        }
        if what.starts_with('8') {
            assert_eq!((recovered.findings.len(), recovered.renewed_rooms.len()), (0, 0), "{case}");
            assert_eq!(recovered.rooms.len(), truth.len(), "{case}");
            for found in &recovered.rooms {
                let (position, first) = truth[&found.room];
                assert_eq!(
                    (found.position, offsets(found)),
                    (position, (first..=position.offset.0).collect())
                );
            }
            whole += 1;
        }
        // The log continues, and the decision stays.
        let mut then: BTreeMap<_, _> =
            recovered.rooms.iter().map(|found| (found.room.clone(), found.position)).collect();
        for (name, position) in &mut then {
            position.offset = position.offset.next();
            log.append(&[record(name.as_str(), position.epoch, position.offset.0, 1)]).unwrap();
        }
        drop(log);
        let (_log, rooms, again) = open(dir.path());
        assert_eq!(again, 0, "{case}");
        let now: BTreeMap<_, _> = rooms.into_iter().map(|(name, found)| (name, found.position)).collect();
        assert_eq!(now, then, "{case}");
    }
    assert!(kept > 120 && renewed > 80 && whole > 4, "{kept} kept, {renewed} renewed, {whole} whole");
}
