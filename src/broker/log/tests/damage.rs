//! Bytes that are missing, or that are not what was written.

use std::collections::BTreeSet;

use super::*;

#[test]
fn a_log_cut_at_any_byte_has_every_whole_batch() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, ..) = open(dir.path());
    let epochs = [Epoch::random(), Epoch::random()];
    let ends = fill(&mut log, epochs, 10);
    drop(log);
    let whole = save(dir.path());
    let segments: Vec<&String> = whole.keys().filter(|name| name.ends_with(".log")).collect();
    assert!(segments.len() > 3, "{segments:?}");
    let mut seen = BTreeSet::new();
    // Every byte, from the end of the log to its beginning: what is behind the cut was never written.
    for (place, name) in segments.iter().enumerate() {
        for cut in 0..=whole[*name].len() {
            let mut files = whole.clone();
            files.get_mut(*name).unwrap().truncate(cut);
            segments[place + 1..].iter().for_each(|later| drop(files.remove(*later)));
            restore(dir.path(), &files);
            let (_log, rooms, lost) = open(dir.path());
            let at = |place: usize| {
                rooms.get(&room(["a", "b"][place])).map_or(0, |found| {
                    assert_eq!(found.position.epoch, epochs[place]);
                    assert_eq!(offsets(found), (1..=found.position.offset.0).collect::<Vec<_>>());
                    found.position.offset.0
                })
            };
            let end = [at(0), at(1)];
            assert!(ends.contains(&end) && lost == 0, "{name} cut at {cut}: {end:?}, {lost} lost");
            seen.insert(end);
        }
    }
    assert_eq!(seen.len(), ends.len(), "every batch was the last one once");
}

#[test]
fn a_flipped_bit_is_never_a_wrong_answer() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, ..) = open(dir.path());
    let epochs = [Epoch::random(), Epoch::random()];
    let mut ends = fill(&mut log, epochs, 8);
    let end = ends.pop().unwrap();
    // A room that was quiet since the beginning, and one that was trimmed and is quiet since.
    log.discard([(room("b"), epochs[1], Waste::Before(Offset(end[1])))]).unwrap();
    drop(log);
    let whole = save(dir.path());
    let (mut kept, mut lost_once) = (0, 0);
    for (name, bytes) in whole.iter().filter(|(name, _)| name.ends_with(".log")) {
        for at in 0..bytes.len() {
            let mut files = whole.clone();
            files.get_mut(name).unwrap()[at] ^= 1 << (at % 8);
            restore(dir.path(), &files);
            let (log, recovered) = match Log::open_with(dir.path(), SEGMENT, 0, never) {
                Ok(opened) => opened,
                // The last byte of the magic is the version.
                Err(LogError::Version { .. }) if at == 7 => continue,
                Err(error) => panic!("{name} at {at}: {error}"),
            };
            for found in &recovered.rooms {
                let place = usize::from(found.room.as_str() == "b");
                let position = Position { epoch: epochs[place], offset: Offset(end[place]) };
                assert_eq!(found.position, position, "{name} at {at}");
                offsets(found);
                kept += 1;
            }
            lost_once += recovered.lost_rooms;
            let count = recovered.rooms.len();
            drop((log, recovered));
            // And again: what was not proved then is not proved now.
            assert_eq!(open(dir.path()).1.len(), count, "{name} at {at}");
        }
    }
    assert!(kept > 100 && lost_once > 100, "{kept} kept, {lost_once} lost");
}

#[test]
fn a_missing_or_shortened_segment_in_the_middle_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, ..) = open(dir.path());
    let (early, late) = (Epoch::random(), Epoch::random());
    log.append(&[record("early", early, 1, 1)]).unwrap();
    for offset in 1..=20 {
        log.append(&[record("late", late, offset, 1)]).unwrap();
    }
    drop(log);
    let whole = save(dir.path());
    let middle = whole.keys().filter(|name| name.ends_with(".log")).nth(1).unwrap().clone();
    let len = whole[&middle].len();
    for kept in [None, Some(len - 1), Some(len / 2), Some(0)] {
        let mut files = whole.clone();
        match kept {
            None => drop(files.remove(&middle)),
            Some(kept) => files.get_mut(&middle).unwrap().truncate(kept),
        }
        restore(dir.path(), &files);
        let (_log, rooms, lost) = open(dir.path());
        assert!(!rooms.contains_key(&room("early")), "{kept:?}: it may have gone on in what is missing");
        assert_eq!(lost, 1, "{kept:?}");
        let found = &rooms[&room("late")];
        assert_eq!((found.position.offset, offsets(found).last()), (Offset(20), Some(&20)), "{kept:?}");
    }
}
