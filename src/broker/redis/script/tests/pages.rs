//! Reading batches from a room's stream.

use super::*;
use crate::broker::redis::script::page::{self, PageLimit};

const ALL: PageLimit = PageLimit { batches: 1000, bytes: 1_000_000 };

/// Returns the first and the last offset of each batch of a page.
fn read(room: &mut Room, call: &Call) -> Vec<(u64, u64)> {
    let reply = run(&mut room.connection, call).unwrap();
    page::reply(&reply).unwrap().iter().map(|batch| (batch.first.0, batch.last().0)).collect()
}

/// Fills a room with batches of three messages.
fn filled(server: &Server, batches: u64) -> Room {
    let mut room = Room::on(server);
    for number in 1..=batches {
        room.publish(NODE, number, &[plain("a"), plain("b"), plain("c")]);
    }
    room
}

#[test]
fn a_page_from_an_offset_begins_with_the_batch_that_has_it() {
    let server = Server::start(&[]);
    let mut room = filled(&server, 40);
    let keys = room.keys.clone();
    let all: Vec<(u64, u64)> = (0..40).map(|batch| (3 * batch + 1, 3 * batch + 3)).collect();
    for (from, begin) in
        [(0, 0), (1, 0), (3, 0), (4, 1), (5, 1), (60, 19), (120, 39), (121, 40), (u64::MAX, 40)]
    {
        assert_eq!(read(&mut room, &page::from(&keys, Offset(from), ALL)), all[begin..], "from {from}");
    }
}

#[test]
fn a_page_up_to_an_offset_has_the_newest_batches_up_to_it() {
    let server = Server::start(&[]);
    let mut room = filled(&server, 40);
    let keys = room.keys.clone();
    let all: Vec<(u64, u64)> = (0..40).map(|batch| (3 * batch + 1, 3 * batch + 3)).collect();
    for (to, end) in [(1, 1), (3, 1), (4, 2), (5, 2), (6, 2), (60, 20), (120, 40), (121, 40), (u64::MAX, 40)]
    {
        assert_eq!(read(&mut room, &page::to(&keys, Offset(to), ALL)), all[..end], "to {to}");
        let two = PageLimit { batches: 2, ..ALL };
        let begin = usize::saturating_sub(end, 2);
        assert_eq!(read(&mut room, &page::to(&keys, Offset(to), two)), all[begin..end], "to {to}");
    }
}

#[test]
fn a_page_has_no_more_batches_and_little_more_bytes_than_its_limit() {
    let server = Server::start(&[]);
    let mut room = filled(&server, 100);
    let keys = room.keys.clone();
    for batches in [1, 15, 16, 17, 32, 40, 100] {
        let limit = PageLimit { batches, ..ALL };
        assert_eq!(read(&mut room, &page::from(&keys, Offset(1), limit)).len() as u64, batches);
    }
    let size = |room: &Room| {
        let lens = [plain("a"), plain("b"), plain("c")].map(|message| message.1.len());
        assert!(room.keep > 300);
        (lens.iter().sum::<usize>() + "b1 0000000000000 1 3 0000000000000000 1\n".len()) as u64
    };
    for (bytes, batches) in [(0, 1), (1, 1), (size(&room), 1), (size(&room) + 1, 2)] {
        let limit = PageLimit { bytes, ..ALL };
        assert_eq!(read(&mut room, &page::from(&keys, Offset(1), limit)).len(), batches, "{bytes}");
    }
}

#[test]
fn an_empty_or_trimmed_room_gives_what_there_is() {
    let server = Server::start(&[]);
    let mut room = Room::on(&server);
    let keys = room.keys.clone();
    assert!(read(&mut room, &page::from(&keys, Offset(1), ALL)).is_empty());
    assert!(read(&mut room, &page::to(&keys, Offset(9), ALL)).is_empty());
    let mut room = filled(&server, 5);
    let _: () = room.ask("XTRIM", &keys.stream(), &["MINID", "7"]);
    assert_eq!(read(&mut room, &page::from(&keys, Offset(1), ALL)), [(7, 9), (10, 12), (13, 15)]);
    assert_eq!(read(&mut room, &page::to(&keys, Offset(2), ALL)), [(7, 9)]);
}

#[test]
fn an_entry_that_is_no_batch_is_an_error() {
    let server = Server::start(&[]);
    let mut room = filled(&server, 1);
    let keys = room.keys.clone();
    let stored: Vec<Entry> = room.ask("XRANGE", &keys.stream(), &["-", "+"]);
    let batch = &stored[0].1[0].1;
    for (id, content) in [("9-0", &b"nonsense"[..]), ("9-1", batch), ("9-0", batch)] {
        let mut add = redis::cmd("XADD");
        let _: () =
            add.arg(&*keys.stream()).arg(id).arg("d").arg(content).query(&mut room.connection).unwrap();
        let reply = run(&mut room.connection, &page::from(&keys, Offset(1), ALL)).unwrap();
        let error = page::reply(&reply).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the script page returned a malformed reply: a batch with its id was expected"
        );
        let _: () = room.ask("XDEL", &keys.stream(), &[id]);
        let _: () = redis::cmd("XSETID").arg(&*keys.stream()).arg("3-0").query(&mut room.connection).unwrap();
    }
}
