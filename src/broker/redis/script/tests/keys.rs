//! Idempotency keys: the two intervals in which they are remembered.

use super::*;

const INTERVAL_S: u64 = 300;

/// Returns the current interval of the server's clock.
fn interval(room: &mut Room) -> u64 {
    let now: (u64, u64) = redis::cmd("TIME").query(&mut room.connection).unwrap();
    now.0 / INTERVAL_S
}

/// Repeats a trial in the rare case that an interval ended meanwhile.
fn in_one_interval(room: &mut Room, mut trial: impl FnMut(&mut Room, u64, u64)) {
    for attempt in 1.. {
        let now = interval(room);
        trial(room, now, attempt);
        if interval(room) == now {
            return;
        }
    }
}

#[test]
fn a_key_is_found_in_its_interval_and_in_the_next_one() {
    let server = Server::start(&[]);
    let mut room = Room::on(&server);
    let epoch = room.sync().epoch;
    let channel = String::from_utf8(room.keys.channel().to_vec()).unwrap();
    let mut found = Vec::new();
    in_one_interval(&mut room, |room, now, attempt| {
        let position = format!("{epoch}:{}", 900);
        for age in 0..3 {
            let hash = format!("{channel}:k:{}", now - age);
            let _: () = room.ask("HSET", hash.as_bytes(), &[&format!("anna\0{attempt}-{age}"), &position]);
        }
        let messages = [0, 1, 2].map(|age| keyed(&format!("{attempt}-{age}"), "x"));
        found = room.publish(NODE, attempt, &messages).duplicates;
    });
    assert_eq!(found, [(0, at(epoch, 900)), (1, at(epoch, 900))]);
}

#[test]
fn the_keys_of_an_interval_expire_eleven_minutes_after_the_first() {
    let server = Server::start(&[]);
    let mut room = Room::on(&server);
    room.publish(NODE, 1, &[plain("a")]);
    assert!(room.key_hashes().is_empty(), "messages without a key make no hash");
    let mut hashes = Vec::new();
    in_one_interval(&mut room, |room, now, attempt| {
        room.publish(NODE, 2 * attempt, &[keyed(&format!("{attempt}-a"), "a")]);
        let hash = format!("test:{{lobby}}:k:{now}");
        let left: i64 = room.ask("PTTL", hash.as_bytes(), &[]);
        assert!((650_000..=660_000).contains(&left), "{left}");
        let _: () = room.ask("PEXPIRE", hash.as_bytes(), &["400000"]);
        room.publish(NODE, 2 * attempt + 1, &[keyed(&format!("{attempt}-b"), "b")]);
        let left: i64 = room.ask("PTTL", hash.as_bytes(), &[]);
        assert!(left <= 400_000, "a later key does not let the earlier ones live longer: {left}");
        hashes = room.key_hashes();
    });
    assert!(!hashes.is_empty());
}

#[test]
fn the_second_message_with_a_key_is_a_duplicate_of_the_first_even_in_one_call() {
    let server = Server::start(&[]);
    let mut room = Room::on(&server);
    let call = [plain("a"), keyed("k", "b"), keyed("other", "c"), keyed("k", "d"), plain("e")];
    let reply = room.publish(NODE, 1, &call);
    assert_eq!((reply.first, reply.last), (Offset(1), Offset(4)));
    assert_eq!(reply.duplicates, [(3, at(reply.epoch, 2))]);
    assert_eq!(texts(&room.stream()[0].1), ["a", "b", "c", "e"]);

    let later = room.publish(OTHER_NODE, 1, &[keyed("other", "f"), keyed("k", "g"), keyed("new", "h")]);
    assert_eq!(later.duplicates, [(0, at(reply.epoch, 3)), (1, at(reply.epoch, 2))]);
    assert_eq!((later.first, later.last), (Offset(5), Offset(5)));
}

#[test]
fn a_key_belongs_to_its_user() {
    let server = Server::start(&[]);
    let mut room = Room::on(&server);
    let key: crate::names::Key = "k".parse().unwrap();
    let of_bert = (Some(("bert".parse().unwrap(), key)), plain("b").1);
    let reply = room.publish(NODE, 1, &[keyed("k", "a"), of_bert]);
    assert_eq!((reply.last, reply.duplicates.len()), (Offset(2), 0));
}
