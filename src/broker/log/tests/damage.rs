//! Bytes that are missing, or that are not what was written.

use std::collections::BTreeSet;

use super::*;
use crate::protocol::frame;

/// Returns the last segment of a folder.
pub(super) fn last_of(files: &BTreeMap<String, Vec<u8>>) -> String {
    files.keys().rfind(|name| name.ends_with(".log")).unwrap().clone()
}

/// Returns the texts of a room's messages, which contain the offsets that they had when they were written.
#[track_caller]
pub(super) fn said(found: &RecoveredRoom) -> Vec<String> {
    let mut last = None;
    let text = |message: &Record| {
        let payload: serde_json::Value = serde_json::from_slice(frame::payload(&message.frame)).unwrap();
        let Position { epoch, offset } = message.position;
        assert_eq!((epoch, payload["offset"].as_u64()), (found.position.epoch, Some(offset.0)));
        assert_eq!(payload["id"], format!("{epoch}-{offset}"));
        assert!(last.is_none_or(|last: Offset| last.next() == offset), "a hole before {offset}");
        last = Some(offset);
        payload["message"].as_str().unwrap().to_owned()
    };
    let said = found.messages.iter().map(text).collect();
    assert!(last.is_none_or(|last| last == found.position.offset), "not up to the position");
    said
}

#[test]
fn a_write_cut_at_any_byte_leaves_every_batch_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, ..) = open(dir.path());
    let epochs = [Epoch::random(), Epoch::random()];
    let mut states = vec![(save(dir.path()), [0, 0])];
    let mut ends = [0, 0];
    for batch in 0..12 {
        let names = if batch % 3 == 0 { ["a", "b", "a"] } else { ["a", "a", "a"] };
        let records: Vec<Record> = names
            .into_iter()
            .map(|name| {
                let index = usize::from(name == "b");
                ends[index] += 1;
                record(name, epochs[index], ends[index], 1)
            })
            .collect();
        if log.files.is_full() {
            log.roll().unwrap();
            let before = states[states.len() - 1].1;
            states.push((save(dir.path()), before));
        }
        log.append(&records).unwrap();
        states.push((save(dir.path()), ends));
    }
    drop(log);
    assert!(states.len() > 14, "{} states", states.len());
    let mut seen = BTreeSet::new();
    // The last file first, so that every other file is the one that was written. A segment in which nothing is kept is
    // deleted.
    for (before, after) in states[1..].iter().zip(&states[2..]).rev() {
        let name = last_of(&after.0);
        let from = before.0.get(&name).map_or(0, Vec::len);
        for cut in from..=after.0[&name].len() {
            let mut files = before.0.clone();
            files.insert(name.clone(), after.0[&name][..cut].to_vec());
            restore(dir.path(), &files);
            let (_log, recovered) = Log::open_small(dir.path(), SEGMENT, 0, never).unwrap();
            assert_eq!(recovered.renewed_rooms, [], "{name} cut at {cut}: {:?}", recovered.findings);
            let at = |index: usize| {
                let name = ["a", "b"][index];
                recovered.rooms.iter().find(|found| found.room.as_str() == name).map_or(0, |found| {
                    assert_eq!(found.position.epoch, epochs[index]);
                    assert_eq!(offsets(found), (1..=found.position.offset.0).collect::<Vec<_>>());
                    found.position.offset.0
                })
            };
            let end = [at(0), at(1)];
            let whole = if end == before.1 { before.1 } else { after.1 };
            assert_eq!(end, whole, "{name} cut at {cut}");
            seen.insert(end);
        }
    }
    assert_eq!(seen.len(), 12, "every batch was the last one once");
}

#[test]
fn a_log_shorter_than_its_end_mark_gives_every_room_a_new_epoch_and_keeps_its_messages() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, ..) = open(dir.path());
    let epochs = [Epoch::random(), Epoch::random()];
    fill(&mut log, epochs, 20);
    log.close().unwrap();
    let whole = save(dir.path());
    let last = last_of(&whole);
    let len = whole[&last].len();
    for cut in [len - 1, len / 2, 30, 8, 0] {
        let mut files = whole.clone();
        files.get_mut(&last).unwrap().truncate(cut);
        restore(dir.path(), &files);
        let (log, recovered) = Log::open_small(dir.path(), SEGMENT, 0, never).unwrap();
        assert_eq!(recovered.renewed_rooms.len(), 2, "cut at {cut}: {:?}", recovered.findings);
        assert!(!recovered.findings.is_empty());
        let mut then = BTreeMap::new();
        for found in &recovered.rooms {
            assert!(!epochs.contains(&found.position.epoch));
            assert!(said(found).len() > 3, "{} messages", found.messages.len());
            then.insert(found.room.clone(), (found.position, said(found)));
        }
        drop(log);
        // The log is put in order, and stays so.
        let (_log, again) = Log::open_small(dir.path(), SEGMENT, 0, never).unwrap();
        assert_eq!((again.findings, again.renewed_rooms), (vec![], vec![]), "cut at {cut}");
        for found in &again.rooms {
            assert_eq!((found.position, said(found)), then[&found.room]);
        }
    }
}

#[test]
fn a_flipped_bit_costs_one_message_and_is_never_a_wrong_answer() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, ..) = open(dir.path());
    let epochs = [Epoch::random(), Epoch::random()];
    let [a, b] = fill(&mut log, epochs, 14).pop().unwrap();
    // A room that was trimmed and has been quiet since.
    log.discard([(room("b"), epochs[1], Trim::Before(Offset(b)))]).unwrap();
    let quiet = Epoch::random();
    log.append(&[record("quiet", quiet, 1, 1)]).unwrap();
    for _ in 0..3 {
        log.roll().unwrap();
    }
    log.append(&[record("late", quiet, 1, 1)]).unwrap();
    drop(log);
    let whole = save(dir.path());
    let last = last_of(&whole);
    let truth = BTreeMap::from([("a", (epochs[0], a)), ("b", (epochs[1], 1)), ("quiet", (quiet, 1))]);
    let mut renewed = 0;
    for (name, bytes) in whole.iter().filter(|(name, _)| name.ends_with(".log") && **name != last) {
        for at in (0..bytes.len()).filter(|at| at % 7 == 1 || *at < 16) {
            let mut files = whole.clone();
            files.get_mut(name).unwrap()[at] ^= 1 << (at % 8);
            restore(dir.path(), &files);
            let (log, recovered) = match Log::open_small(dir.path(), SEGMENT, 0, never) {
                Ok(opened) => opened,
                // The last byte of the magic is the version.
                Err(LogError::Version { .. }) if at == 7 => continue,
                Err(error) => panic!("{name} at {at}: {error}"),
            };
            assert!(recovered.renewed_rooms.len() <= 1, "{name} at {at}: {:?}", recovered.renewed_rooms);
            assert!(!recovered.findings.is_empty(), "{name} at {at}");
            assert!(recovered.findings.iter().all(|found| found.path.ends_with(name)), "{recovered:?}");
            let mut messages = 0;
            for found in recovered.rooms.iter().filter(|found| found.room.as_str() != "late") {
                let (epoch, expected) = truth[found.room.as_str()];
                let is_renewed = recovered.renewed_rooms.contains(&found.room);
                assert_eq!(found.position.epoch != epoch, is_renewed, "{name} at {at}: {}", found.room);
                let said = said(found);
                messages += said.len() as u64;
                assert!(said.len() as u64 <= expected, "{name} at {at}");
            }
            let lost = truth.values().map(|(_, expected)| expected).sum::<u64>() - messages;
            // Dropped messages may return when the entry that drops them is damaged.
            assert!(lost <= 1, "{name} at {at}: {lost} messages are lost by one bit");
            renewed += recovered.renewed_rooms.len();
            let then: BTreeMap<_, _> =
                recovered.rooms.iter().map(|found| (found.room.clone(), found.position)).collect();
            drop((log, recovered));
            let again: BTreeMap<_, _> =
                open(dir.path()).1.into_iter().map(|(name, found)| (name, found.position)).collect();
            assert_eq!(again, then, "{name} at {at}: and stays so");
        }
    }
    assert!(renewed > 15, "{renewed} renewed");
}

#[test]
fn a_segment_that_is_gone_concerns_those_who_were_spoken_in_there() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, ..) = open(dir.path());
    let (early, late) = (Epoch::random(), Epoch::random());
    log.append(&[record("early", early, 1, 1)]).unwrap();
    for offset in 1..=40 {
        log.append(&[record("late", late, offset, 1)]).unwrap();
    }
    drop(log);
    let whole = save(dir.path());
    let segments: Vec<String> = whole.keys().filter(|name| name.ends_with(".log")).cloned().collect();
    assert!(segments.len() >= 4, "{segments:?}");
    for (index, name) in segments.iter().enumerate() {
        let len = whole[name].len();
        for kept in [Some(len - 1), Some(len / 2), Some(0), None] {
            let mut files = whole.clone();
            match kept {
                None => drop(files.remove(name)),
                Some(kept) => files.get_mut(name).unwrap().truncate(kept),
            }
            if index == 0 && kept.is_none() {
                // A file that is created again is another one, so it is the last that is tried.
                continue;
            }
            restore(dir.path(), &files);
            let (_log, recovered) = Log::open_small(dir.path(), SEGMENT, 0, never).unwrap();
            let case = format!("{name}, {kept:?}: {:?}", recovered.findings);
            assert!(!recovered.findings.is_empty(), "{case}");
            let renewed: BTreeSet<&str> = recovered.renewed_rooms.iter().map(RoomName::as_str).collect();
            let is_last = index + 1 == segments.len();
            for found in &recovered.rooms {
                let epoch = if found.room.as_str() == "early" { early } else { late };
                assert_eq!(found.position.epoch != epoch, renewed.contains(found.room.as_str()), "{case}");
                let said = said(found);
                if found.room.as_str() == "late" && !is_last {
                    assert_eq!(said.last().unwrap(), "late says 40", "{case}");
                    assert!(said.len() > 20, "{case}");
                }
            }
            match (index, is_last) {
                (0, _) => {}
                (_, true) => assert_eq!(renewed, BTreeSet::from(["early", "late"]), "{case}"),
                _ => assert_eq!(renewed, BTreeSet::from(["late"]), "{case}"),
            }
            assert!(recovered.missing_messages > 0 || is_last || index == 0, "{case}");
        }
    }
}
