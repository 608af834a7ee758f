//! Messages and rooms that are no longer kept.

use super::*;

fn is_on_disk(dir: &Path, text: &str) -> bool {
    save(dir).values().any(|file| file.windows(text.len()).any(|window| window == text.as_bytes()))
}

#[test]
fn messages_that_history_drops_do_not_come_back_and_leave_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, ..) = open(dir.path());
    let [a, b, c] = [(); 3].map(|()| Epoch::random());
    log.append(&[record("quiet", b, 1, 1), record("gone", c, 1, 1), record("gone", c, 2, 1)]).unwrap();
    for offset in 1..=200 {
        log.append(&[record("busy", a, offset, offset.saturating_sub(4).max(1))]).unwrap();
        log.clean_up(0).unwrap();
        // Five messages are kept, and every second one has a key, of 80 bytes at most.
        let bound = 3 * (log.index.live_bytes() + offset / 2 * 80) + 5 * SEGMENT;
        assert!(log.disk_bytes() < bound, "{} bytes after {offset}", log.disk_bytes());
    }
    log.discard([(room("gone"), c, Trim::All), (room("quiet"), a, Trim::All)]).unwrap();
    log.discard([(room("busy"), a, Trim::Before(Offset(199)))]).unwrap();
    // Each minute the dead messages of one segment are removed.
    for minute in 1..=20 {
        log.clean_up(minute * 60_000).unwrap();
    }
    let has = |text: &str| is_on_disk(dir.path(), text);
    assert!(has("busy says 199") && has("quiet says 1"));
    assert!(!has("busy says 198") && !has("gone says"), "on disk though nobody keeps it");
    let still = log.disk_bytes();
    log.clean_up(99 * 60_000).unwrap();
    assert_eq!(log.disk_bytes(), still, "nothing more to clean");
    drop(log);
    let (mut log, rooms, lost) = open(dir.path());
    assert_eq!((rooms.len(), lost), (2, 0));
    assert_eq!(offsets(&rooms[&room("busy")]), [199, 200]);
    assert_eq!(offsets(&rooms[&room("quiet")]), [1]);
    // Trimming a past epoch does no harm to the present one.
    log.discard([(room("quiet"), c, Trim::All)]).unwrap();
    log.discard([(room("quiet"), b, Trim::Before(Offset(9)))]).unwrap();
    drop(log);
    let (_log, rooms, _) = open(dir.path());
    let quiet = &rooms[&room("quiet")];
    assert_eq!((quiet.position, offsets(quiet)), (Position { epoch: b, offset: Offset(1) }, vec![]));
}

#[test]
fn expired_messages_are_not_recovered_but_the_position_is() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, ..) = open(dir.path());
    let epochs = [Epoch::random(), Epoch::random()];
    let [a, b] = *fill(&mut log, epochs, 8).last().unwrap();
    drop(log);
    let is_expired = |name: &RoomName, at_unix_ms: u64| name.as_str() == "b" || at_unix_ms <= 3000;
    let (mut log, recovered) = Log::open_small(dir.path(), SEGMENT, 0, is_expired).unwrap();
    for found in &recovered.rooms {
        let (last, expected) = if found.room.as_str() == "a" { (a, 4..=a) } else { (b, b + 1..=b) };
        assert_eq!((found.position.offset.0, offsets(found)), (last, expected.collect()));
    }
    for minute in 1..=20 {
        log.clean_up(minute * 60_000).unwrap();
    }
    let has = |text: &str| is_on_disk(dir.path(), text);
    assert!(has("a says 4") && !has("b says") && !has("a says 3"));
    log.append(&[record("b", epochs[1], b + 1, b + 1)]).unwrap();
}

#[test]
fn keys_outlive_their_messages_and_go_after_five_minutes() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, ..) = open(dir.path());
    let epoch = Epoch::random();
    // Message 2n comes after 2n seconds, with a key.
    for offset in 1..=100 {
        log.append(&[record("a", epoch, offset, offset)]).unwrap();
        log.clean_up(offset * 1000).unwrap();
    }
    let mut keys = Vec::new();
    for now in [100_000, 302_000, 350_000, 401_000] {
        drop(log);
        let (reopened, recovered) = Log::open_small(dir.path(), SEGMENT, now, never).unwrap();
        log = reopened;
        let found = &recovered.rooms[0];
        assert_eq!(offsets(found), [100]);
        for (offset, sent) in &found.keys {
            let record = record("a", epoch, offset.0, 1);
            assert_eq!((Some(&sent.key), sent.at_unix_ms), (record.key.as_ref(), record.at_unix_ms));
        }
        keys.push(found.keys.iter().map(|(offset, _)| offset.0).collect::<Vec<_>>());
        for minute in 0..20 {
            log.clean_up(now + minute).unwrap();
        }
    }
    let even = |from: u64| (from..=100).filter(|offset| offset.is_multiple_of(2)).collect::<Vec<_>>();
    assert_eq!(keys, [even(1), even(3), even(51), vec![]]);
    log.clean_up(500_000).unwrap();
    log.clean_up(600_000).unwrap();
    assert!(log.disk_bytes() < 3 * SEGMENT, "{} bytes", log.disk_bytes());
}

#[test]
fn every_way_of_cleaning_keeps_the_retained_messages() {
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path()).0;
        let mut now = 0;
        let mut truth = Truth::new();
        for step in 0..200 {
            let name = format!("room-{}", random.u8(..8));
            match random.u8(..20) {
                3 => now += 60_000,
                4 => {
                    drop(log);
                    log = open(dir.path()).0;
                }
                what => {
                    change((&mut log, &mut truth), &name, what, &mut random);
                }
            }
            log.clean_up(now).unwrap();
            if step % 10 == 9 {
                drop(log);
                let (reopened, rooms, lost) = open(dir.path());
                log = reopened;
                assert_eq!((rooms.len(), lost), (truth.len(), 0), "round {round}, step {step}");
                for (name, (position, first)) in &truth {
                    assert_eq!(rooms[name].position, *position);
                    assert_eq!(offsets(&rooms[name]), (*first..=position.offset.0).collect::<Vec<_>>());
                }
            }
        }
    }
}
