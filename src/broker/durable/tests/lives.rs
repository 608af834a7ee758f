//! The ends of rooms, and of their positions, on disk.

use super::*;

const DAY_MS: u64 = 86_400_000;

/// A day later the position is gone, from the disk too.
#[test]
fn a_position_outlives_members_messages_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let life = Life::begin(dir.path(), NOW_MS);
    life.say_all("a", 1..=3);
    // A user is in a room without messages when the process is killed.
    let silent = life.position("silent");
    let a = life.position("a");
    drop(life);
    // Once more, after the messages have expired.
    let life = Life::begin(dir.path(), NOW_MS + 700_000);
    assert_eq!(life.broker.room_count(), 0);
    life.expire();
    drop(life);
    let life = Life::begin(dir.path(), NOW_MS + 1_400_000);
    assert_eq!((life.missed("a", a), life.missed("silent", silent)), (Some(vec![]), Some(vec![])));
    assert_eq!(life.missed("a", at(a, 2)), None, "that one has expired");
    ["a", "silent"].iter().for_each(|name| life.broker.close_if_empty(&life.room(name)));
    life.now_ms.fetch_add(DAY_MS - 1, Relaxed);
    life.expire();
    drop(life);
    let (log, recovered) = Log::open(dir.path(), HistorySync::Off, NOW_MS, |_, _| false).unwrap();
    assert_eq!(recovered.rooms.len(), 2);
    drop(log);

    let life = Life::begin(dir.path(), NOW_MS + DAY_MS);
    life.now_ms.fetch_add(DAY_MS, Relaxed);
    life.expire();
    assert_ne!(life.position("a").epoch, a.epoch);
    drop(life);
    let (_log, recovered) = Log::open(dir.path(), HistorySync::Off, NOW_MS, |_, _| false).unwrap();
    let names: Vec<&str> = recovered.rooms.iter().map(|found| found.room.as_str()).collect();
    assert_eq!(names, ["a"], "in its new life");
}

/// 1. While the log's thread is busy, a position is forgotten, the room begins anew, and the position of that life is
///    forgotten as well.
/// 2. The first life came back with the next start.
#[test]
fn two_lives_that_end_while_the_disk_is_busy_are_both_gone() {
    let dir = tempfile::tempdir().unwrap();
    let life = Life::begin(dir.path(), NOW_MS);
    life.say_all("b", 1..=1);
    let first = life.position("a");
    life.broker.close_if_empty(&life.room("a"));
    // The thread takes trims in the order in which they come: behind this message it knows the first life.
    life.say_all("b", 2..=2);
    let ((begin, begun), (go, gone)) = (sync_channel(1), sync_channel::<()>(1));
    life.durable
        .publish(Job {
            room: life.room("b"),
            user: "ann".parse().unwrap(),
            key: None,
            key_bound: KeyBound::User,
            max_len: 10,
            at_unix_ms: NOW_MS,
            message: life.message(move |_| {
                begin.send(()).expect("the test listens");
                gone.recv_timeout(PATIENCE).expect("the test says when");
                b"b         3".to_vec()
            }),
        })
        .unwrap();
    begun.recv_timeout(PATIENCE).expect("the thread has begun");
    life.broker.tick(NOW_MS + DAY_MS);
    assert_ne!(life.position("a").epoch, first.epoch);
    life.broker.close_if_empty(&life.room("a"));
    life.broker.tick(NOW_MS + 2 * DAY_MS);
    life.broker.positions.expire(life.broker.budget.log());
    go.send(()).unwrap();
    assert_eq!(life.answer(), Ok((3, false)));
    drop(life);
    let (_log, recovered) = Log::open(dir.path(), HistorySync::Off, NOW_MS, |_, _| false).unwrap();
    let names: Vec<&str> = recovered.rooms.iter().map(|found| found.room.as_str()).collect();
    assert_eq!(names, ["b"]);
}
