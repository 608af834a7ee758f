//! A queue on disk, with restarts and with damage. The tests of the binary have the rest.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;

use super::Store;
use crate::webhooks::event::Event;
use crate::webhooks::queue::{Bounds, Queue, Refill};

/// Little memory, and segments of 16 KiB.
const BOUNDS: Bounds = Bounds { events: 100, bytes: 256 * 1024, disk_bytes: 1 << 20 };
const LANE: usize = 3;

fn open(dir: &TempDir) -> Queue {
    let mut queue = Queue::default();
    queue.wait_in(Store::open(&dir.path().join("receiver"), "http://a/").unwrap());
    queue
}

fn push(queue: &mut Queue, text: &str) -> bool {
    let event = Event { json: format!("{text:>1000}"), at_unix_ms: 0 };
    queue.push(LANE, &Arc::new(event), BOUNDS)
}

fn push_numbers(queue: &mut Queue, numbers: std::ops::Range<usize>) {
    for number in numbers {
        assert!(push(queue, &number.to_string()));
    }
}

/// Takes everything and delivers it. Returns the texts, and the number of dropped events that was told.
fn drain(queue: &mut Queue) -> (Vec<String>, u64) {
    let (mut texts, mut dropped) = (Vec::new(), 0);
    loop {
        match queue.wants_refill(LANE) {
            Refill::Read(part) => {
                let bytes = part.read().unwrap();
                queue.refill(LANE, (&part, &bytes), BOUNDS, 0);
                continue;
            }
            Refill::Missing(_, garbage) => {
                garbage.delete();
                continue;
            }
            Refill::Nothing => {}
        }
        let Some(batch) = queue.take(LANE) else { return (texts, dropped) };
        texts.extend(batch.events.iter().map(|event| event.json.trim().to_owned()));
        dropped += batch.dropped;
        queue.done(&batch, true).delete();
    }
}

fn numbers(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|number| number.to_string()).collect()
}

fn segments(dir: &TempDir) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.path().join("receiver")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
    paths.sort();
    paths
}

#[test]
fn more_events_than_memory_holds_come_in_order_and_leave_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = open(&dir);
    push_numbers(&mut queue, 0..300);
    assert_eq!((queue.len(), queue.oldest().is_some()), (300, true));
    assert!(segments(&dir).len() > 10);
    let batch = queue.take(LANE).unwrap();
    assert!(batch.events.len() <= BOUNDS.events / 8, "{} in memory", batch.events.len());
    queue.done(&batch, true).delete();
    let taken = batch.events.len();
    push_numbers(&mut queue, 300..400);
    assert_eq!(drain(&mut queue), (numbers(taken..400), 0));
    assert_eq!((queue.len(), segments(&dir).len()), (0, 1), "the one that is written to");
    push_numbers(&mut queue, 0..3);
    assert_eq!(drain(&mut queue), (numbers(0..3), 0));
}

#[test]
fn a_request_under_way_at_the_end_comes_again_and_delivered_ones_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = open(&dir);
    push_numbers(&mut queue, 0..30);
    let batch = queue.take(LANE).unwrap();
    queue.done(&batch, true).delete();
    let under_way = queue.take(LANE);
    drop((queue, under_way));
    let mut queue = open(&dir);
    assert!(queue.has_old());
    push_numbers(&mut queue, 30..40);
    assert_eq!(drain(&mut queue), (numbers(batch.events.len()..40), 0));
    assert!(!queue.has_old());
}

#[test]
fn a_bound_on_the_disk_drops_the_newest_and_the_count_survives() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = open(&dir);
    let kept = (0..1100).filter(|number| push(&mut queue, &number.to_string())).count();
    assert!((900..1050).contains(&kept), "{kept}");
    drop(queue);
    assert_eq!(drain(&mut open(&dir)), (numbers(0..kept), 1100 - kept as u64));
    let mut queue = open(&dir);
    push_numbers(&mut queue, 0..900);
    assert_eq!(drain(&mut queue), (numbers(0..900), 0), "there is space again, and it was told");
}

#[test]
fn a_request_that_is_given_up_is_told_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = open(&dir);
    push_numbers(&mut queue, 0..5);
    let batch = queue.take(LANE).unwrap();
    let given_up = batch.events.len() as u64;
    queue.done(&batch, false).delete();
    drop(queue);
    let mut queue = open(&dir);
    push_numbers(&mut queue, 5..6);
    assert_eq!(drain(&mut queue), (numbers(given_up as usize..6), given_up));
}

#[test]
fn a_segment_that_is_missing_is_counted_exactly() {
    for at in [0, 4] {
        let dir = tempfile::tempdir().unwrap();
        let mut queue = open(&dir);
        push_numbers(&mut queue, 0..300);
        drop(queue);
        fs::remove_file(&segments(&dir)[at]).unwrap();
        let (texts, dropped) = drain(&mut open(&dir));
        assert_eq!(texts.len() as u64 + dropped, 300, "{at}");
        assert!(dropped > 10, "{at}: {dropped}");
    }
}

/// While the server runs, a file is deleted or cut: the events behind it come.
#[test]
fn a_file_that_is_cut_meanwhile_costs_its_events_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = open(&dir);
    push_numbers(&mut queue, 0..100);
    let path = &segments(&dir)[3];
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() - 1500]).unwrap();
    let (texts, dropped) = drain(&mut queue);
    assert_eq!((texts.len(), dropped), (98, 2));
    assert_eq!(texts.last().unwrap(), "99");
}

/// Damage that hides where the next event begins, before a long one, and at the very end.
#[test]
fn damage_anywhere_costs_the_damaged_events_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = open(&dir);
    push_numbers(&mut queue, 0..3);
    let long = Event { json: "x".repeat(400 * 1024), at_unix_ms: 0 };
    assert!(queue.push(LANE, &Arc::new(long), BOUNDS));
    push_numbers(&mut queue, 4..6);
    drop(queue);
    let path = segments(&dir)[0].clone();
    let mut bytes = fs::read(&path).unwrap();
    // The head of the third event.
    let third = 8 + (12 + 9 + 9) + 2 * (12 + 17 + 1000);
    bytes[third] ^= 1;
    fs::write(&path, bytes).unwrap();
    let last = segments(&dir).pop().unwrap();
    let mut bytes = fs::read(&last).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&last, bytes).unwrap();
    let mut queue = open(&dir);
    let (texts, dropped) = drain(&mut queue);
    assert_eq!((texts.len(), dropped), (4, 1));
    assert!(texts[2].len() > 400_000 && texts[3] == "4", "the long one and the one behind it");
    // The damaged event at the end is told with the next one.
    push_numbers(&mut queue, 7..8);
    assert_eq!(drain(&mut queue), (numbers(7..8), 1));
}

#[test]
fn without_the_progress_everything_on_disk_comes_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = open(&dir);
    push_numbers(&mut queue, 0..10);
    assert_eq!(drain(&mut queue).0.len(), 10);
    push_numbers(&mut queue, 10..12);
    drop(queue);
    fs::remove_file(dir.path().join("receiver/progress.1")).unwrap();
    assert_eq!(drain(&mut open(&dir)), (numbers(0..12), 0));
}

#[test]
fn a_receiver_that_answers_410_leaves_nothing_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = open(&dir);
    push_numbers(&mut queue, 0..100);
    let under_way = queue.take(LANE).unwrap();
    let (dropped, garbage) = queue.switch_off();
    garbage.delete();
    queue.done(&under_way, false).delete();
    assert_eq!(dropped + under_way.events.len() as u64, 100);
    assert!(!push(&mut queue, "one more") && segments(&dir).is_empty() && queue.len() == 0);
    queue.switch_on();
    push_numbers(&mut queue, 0..1);
    assert_eq!(drain(&mut queue), (numbers(0..1), 101));
}

#[test]
fn a_smaller_bound_refuses_no_event_while_nothing_waits() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = open(&dir);
    push_numbers(&mut queue, 0..14);
    drain(&mut queue);
    let narrow = Bounds { disk_bytes: 16 * 1024, ..BOUNDS };
    let event = |lane| {
        let event = Event { json: format!("{lane:>1000}"), at_unix_ms: 0 };
        queue.push(lane, &Arc::new(event), narrow)
    };
    assert!((0..4).all(event), "the delivered events give their space away");
}
