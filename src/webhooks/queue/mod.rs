//! The events that wait for one receiver, in lanes, and what is known of those that were dropped.

mod stored;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

pub(super) use self::stored::Refill;
use self::stored::clear;
pub(super) use super::disk::LANES;
use super::disk::{Garbage, Store};
use super::event::Event;

/// Most events of one request.
pub(super) const BATCH_EVENTS: usize = 100;
/// Most bytes of the events of one request, unless a single event is longer.
pub(super) const BATCH_BYTES: usize = 256 * 1024;
/// Bytes of memory that an event takes besides its text: its place in the lane and its counts.
const EVENT_BYTES: usize = 80;

/// The bounds of a receiver's queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) events: usize,
    pub(super) bytes: usize,
    /// Bytes on disk, where there is one.
    pub(super) disk_bytes: u64,
}

/// An event in a lane, with the time at which it came there.
#[derive(Debug)]
struct Waiting {
    event: Arc<Event>,
    since: Instant,
    /// Its number in the lane on disk, and how many are missing there before it; 0 without a disk.
    number: u64,
    missing: u64,
}

/// The events of one lane that are in memory.
#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Waiting>,
    /// Events that wait or are under way, and their bytes.
    events: usize,
    bytes: usize,
    /// The number on disk of the last event that was taken.
    taken: u64,
}

/// The events that wait or are under way.
#[derive(Debug, Default)]
pub(super) struct Queue {
    lanes: [Lane; LANES],
    /// Events that were dropped and of which the receiver was not told yet.
    dropped: u64,
    /// Those of which the requests under way tell.
    telling: u64,
    /// True when nothing is taken, because the receiver said that it is gone.
    is_off: bool,
    /// The events on disk, if they wait there. Those in memory are the first of each lane.
    store: Option<Store>,
}

/// The events of one request.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) events: Vec<Arc<Event>>,
    /// Events that were dropped before, of which this request tells.
    pub(super) dropped: u64,
    /// Those among them that are missing on disk.
    pub(super) missing: u64,
    lane: usize,
    last: u64,
}

fn size(event: &Event) -> usize {
    event.json.len() + EVENT_BYTES
}

impl Lane {
    fn push(&mut self, waiting: Waiting) {
        self.events += 1;
        self.bytes += size(&waiting.event);
        self.waiting.push_back(waiting);
    }

    fn is_within(&self, event: &Event, events: usize, bytes: usize) -> bool {
        self.events < events && self.bytes + size(event) <= bytes
    }
}

impl Queue {
    /// Adds an event. Returns false when it is dropped: there is no space, or the receiver is gone.
    pub(super) fn push(&mut self, lane: usize, event: &Arc<Event>, bounds: Bounds) -> bool {
        let waiting = Waiting { event: Arc::clone(event), since: Instant::now(), number: 0, missing: 0 };
        let is_taken = if self.is_off {
            false
        } else if self.store.is_some() {
            self.push_stored(lane, waiting, bounds)
        } else {
            let (events, bytes) = self
                .lanes
                .iter()
                .fold((0, 0), |(events, bytes), lane| (events + lane.events, bytes + lane.bytes));
            let has_space = events < bounds.events && bytes + size(event) <= bounds.bytes;
            if has_space {
                self.lanes[lane].push(waiting);
            }
            has_space
        };
        if !is_taken {
            self.dropped += 1;
            self.save();
        }
        is_taken
    }

    /// Returns when the first event of a lane came, and whether a whole request waits there.
    pub(super) fn first(&self, lane: usize) -> Option<(Instant, bool)> {
        let lane = &self.lanes[lane].waiting;
        let since = lane.front()?.since;
        let is_full = lane.len() >= BATCH_EVENTS
            || lane
                .iter()
                .scan(0, |sum, waiting| {
                    *sum += size(&waiting.event);
                    Some(*sum)
                })
                .any(|sum| sum >= BATCH_BYTES);
        Some((since, is_full))
    }

    /// Takes the events of the next request out of a lane. They count until [`Queue::done`].
    pub(super) fn take(&mut self, number: usize) -> Option<Batch> {
        let lane = &mut self.lanes[number];
        let (mut events, mut missing, mut bytes) = (Vec::new(), 0, 0);
        while let Some(next) = lane.waiting.front() {
            bytes += size(&next.event);
            if events.len() == BATCH_EVENTS || (bytes > BATCH_BYTES && !events.is_empty()) {
                break;
            }
            missing += next.missing;
            lane.taken = next.number;
            events.extend(lane.waiting.pop_front().map(|waiting| waiting.event));
        }
        if events.is_empty() {
            return None;
        }
        // A lane that was once long does not keep its memory.
        if lane.waiting.is_empty() {
            lane.waiting = VecDeque::new();
        }
        let dropped = std::mem::take(&mut self.dropped);
        self.telling += dropped;
        Some(Batch { events, dropped: dropped + missing, missing, lane: number, last: lane.taken })
    }

    /// Notes that a request is over, delivered or given up.
    pub(super) fn done(&mut self, batch: &Batch, is_delivered: bool) -> Garbage {
        let lane = &mut self.lanes[batch.lane];
        lane.events -= batch.events.len();
        lane.bytes -= batch.events.iter().map(|event| size(event)).sum::<usize>();
        self.telling -= batch.dropped - batch.missing;
        if !is_delivered {
            self.dropped += batch.dropped + batch.events.len() as u64;
        }
        let garbage = self.store.as_mut().map(|store| store.done(batch.lane, batch.last));
        self.save();
        garbage.unwrap_or_default()
    }

    /// Drops everything and takes nothing more until [`Queue::switch_on`]. Returns how many events that are.
    pub(super) fn switch_off(&mut self) -> (u64, Garbage) {
        self.is_off = true;
        let mut count = 0;
        for lane in &mut self.lanes {
            let waiting = std::mem::take(&mut lane.waiting);
            lane.events -= waiting.len();
            lane.bytes -= waiting.iter().map(|waiting| size(&waiting.event)).sum::<usize>();
            count += waiting.len() as u64;
        }
        let mut garbage = Garbage::default();
        if let Some(store) = &mut self.store {
            (count, garbage) = clear(store, &mut self.lanes);
        }
        self.dropped += count;
        self.save();
        (count, garbage)
    }

    pub(super) fn switch_on(&mut self) {
        self.is_off = false;
    }

    pub(super) fn is_off(&self) -> bool {
        self.is_off
    }

    /// Returns how many events wait or are under way.
    pub(super) fn len(&self) -> usize {
        let in_memory = || self.lanes.iter().map(|lane| lane.events).sum();
        self.store.as_ref().map_or_else(in_memory, |store| store.len() as usize)
    }

    /// Returns when the oldest event that waits came.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.lanes.iter().filter_map(|lane| lane.waiting.front()).map(|waiting| waiting.since).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(len: usize) -> Arc<Event> {
        Arc::new(Event { json: "x".repeat(len), at_unix_ms: 0 })
    }

    const WIDE: Bounds = Bounds { events: 1_000, bytes: 1 << 30, disk_bytes: 0 };

    #[test]
    fn a_full_queue_drops_the_newest_and_counts_them() {
        let mut queue = Queue::default();
        let bounds = Bounds { events: 3, ..WIDE };
        let taken: Vec<bool> = (0..5).map(|lane| queue.push(lane, &event(10), bounds)).collect();
        assert_eq!(taken, [true, true, true, false, false]);
        let batch = queue.take(0).unwrap();
        assert_eq!((batch.events.len(), batch.dropped), (1, 2));
        assert!(!queue.push(0, &event(10), bounds), "an event under way counts");
        queue.done(&batch, true).delete();
        assert!(queue.push(0, &event(10), bounds));
        assert_eq!(queue.take(1).unwrap().dropped, 1, "the receiver is told once");
        let narrow = Bounds { bytes: 2 * (10 + EVENT_BYTES), ..WIDE };
        let mut queue = Queue::default();
        assert!(queue.push(0, &event(10), narrow) && queue.push(0, &event(10), narrow));
        assert!(!queue.push(0, &event(10), narrow));
    }

    #[test]
    fn a_request_that_is_given_up_counts_as_dropped_with_what_it_told() {
        let mut queue = Queue::default();
        assert!(queue.push(0, &event(1), WIDE) && queue.push(0, &event(1), WIDE));
        assert!(!queue.push(0, &event(1), Bounds { events: 2, ..WIDE }));
        let batch = queue.take(0).unwrap();
        queue.done(&batch, false).delete();
        assert!(queue.push(3, &event(1), WIDE));
        assert_eq!(queue.take(3).unwrap().dropped, 3);
    }

    #[test]
    fn requests_are_bounded_and_keep_the_order() {
        let mut queue = Queue::default();
        for _ in 0..BATCH_EVENTS + 1 {
            assert!(queue.push(2, &event(1), WIDE));
        }
        assert!(queue.first(2).unwrap().1 && queue.first(1).is_none());
        assert_eq!(queue.take(2).unwrap().events.len(), BATCH_EVENTS);
        assert!(!queue.first(2).unwrap().1);
        assert_eq!(queue.take(2).unwrap().events.len(), 1);
        assert!(queue.take(2).is_none());
        for len in [BATCH_BYTES * 2, BATCH_BYTES / 2, BATCH_BYTES / 2] {
            assert!(queue.push(2, &event(len), WIDE));
        }
        assert!(queue.first(2).unwrap().1);
        let lengths: Vec<usize> =
            std::iter::from_fn(|| queue.take(2)).map(|batch| batch.events.len()).collect();
        assert_eq!(lengths, [1, 1, 1], "one that is too long travels alone");
    }

    #[test]
    fn a_receiver_that_is_gone_gets_nothing_until_it_is_switched_on() {
        let mut queue = Queue::default();
        assert!(queue.push(0, &event(1), WIDE) && queue.push(1, &event(1), WIDE));
        let under_way = queue.take(0).unwrap();
        assert_eq!(queue.switch_off().0, 1);
        queue.done(&under_way, false).delete();
        assert!(!queue.push(0, &event(1), WIDE) && queue.len() == 0 && queue.oldest().is_none());
        queue.switch_on();
        assert!(queue.push(0, &event(1), WIDE) && queue.oldest().is_some());
        assert_eq!(queue.take(0).unwrap().dropped, 3);
    }
}
