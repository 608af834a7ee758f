//! The events that wait for one receiver, in lanes, and what is known of those that were dropped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::event::Event;

/// Lanes of a receiver. Events of one room or user share a lane and come in order; a receiver that is slow for one
/// request still gets the other lanes' events.
pub(super) const LANES: usize = 8;
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
}

/// An event in a lane, with the time at which it came there.
#[derive(Debug)]
struct Waiting {
    event: Arc<Event>,
    since: Instant,
}

/// The events that wait or are under way.
#[derive(Debug, Default)]
pub(super) struct Queue {
    lanes: [VecDeque<Waiting>; LANES],
    events: usize,
    bytes: usize,
    /// Events that were dropped and of which the receiver was not told yet.
    dropped: u64,
    /// True when nothing is taken, because the receiver said that it is gone.
    is_off: bool,
}

/// The events of one request.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) events: Vec<Arc<Event>>,
    /// Events that were dropped before, of which this request tells.
    pub(super) dropped: u64,
}

fn size(event: &Event) -> usize {
    event.json.len() + EVENT_BYTES
}

impl Queue {
    /// Adds an event. Returns false when it is dropped: there is no space, or the receiver is gone.
    pub(super) fn push(&mut self, lane: usize, event: &Arc<Event>, bounds: Bounds) -> bool {
        let bytes = self.bytes + size(event);
        if self.is_off || self.events >= bounds.events || bytes > bounds.bytes {
            self.dropped += 1;
            return false;
        }
        self.events += 1;
        self.bytes = bytes;
        self.lanes[lane].push_back(Waiting { event: Arc::clone(event), since: Instant::now() });
        true
    }

    /// Returns when the first event of a lane came, and whether a whole request waits there.
    pub(super) fn first(&self, lane: usize) -> Option<(Instant, bool)> {
        let lane = &self.lanes[lane];
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
    pub(super) fn take(&mut self, lane: usize) -> Option<Batch> {
        let mut events = Vec::new();
        let mut bytes = 0;
        while let Some(waiting) = self.lanes[lane].front() {
            bytes += size(&waiting.event);
            if events.len() == BATCH_EVENTS || (bytes > BATCH_BYTES && !events.is_empty()) {
                break;
            }
            events.extend(self.lanes[lane].pop_front().map(|waiting| waiting.event));
        }
        if events.is_empty() {
            return None;
        }
        // A lane that was once long does not keep its memory.
        if self.lanes[lane].is_empty() {
            self.lanes[lane] = VecDeque::new();
        }
        Some(Batch { events, dropped: std::mem::take(&mut self.dropped) })
    }

    /// Notes that a request is over, delivered or given up.
    pub(super) fn done(&mut self, batch: &Batch, is_delivered: bool) {
        self.events -= batch.events.len();
        self.bytes -= batch.events.iter().map(|event| size(event)).sum::<usize>();
        if !is_delivered {
            self.dropped += batch.dropped + batch.events.len() as u64;
        }
    }

    /// Drops everything and takes nothing more until [`Queue::switch_on`]. Returns how many events that are.
    pub(super) fn switch_off(&mut self) -> u64 {
        self.is_off = true;
        let waiting = self.lanes.iter().flatten();
        let (count, bytes) =
            waiting.fold((0, 0), |(count, bytes), waiting| (count + 1, bytes + size(&waiting.event)));
        self.lanes = Default::default();
        self.events -= count;
        self.bytes -= bytes;
        self.dropped += count as u64;
        count as u64
    }

    pub(super) fn switch_on(&mut self) {
        self.is_off = false;
    }

    pub(super) fn is_off(&self) -> bool {
        self.is_off
    }

    /// Returns how many events wait or are under way.
    pub(super) fn len(&self) -> usize {
        self.events
    }

    /// Returns when the oldest event that waits came.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.lanes.iter().filter_map(|lane| lane.front()).map(|waiting| waiting.since).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(len: usize) -> Arc<Event> {
        Arc::new(Event { json: "x".repeat(len), at_unix_ms: 0 })
    }

    const WIDE: Bounds = Bounds { events: 1_000, bytes: 1 << 30 };

    #[test]
    fn a_full_queue_drops_the_newest_and_counts_them() {
        let mut queue = Queue::default();
        let bounds = Bounds { events: 3, bytes: 1 << 20 };
        let taken: Vec<bool> = (0..5).map(|lane| queue.push(lane, &event(10), bounds)).collect();
        assert_eq!(taken, [true, true, true, false, false]);
        let batch = queue.take(0).unwrap();
        assert_eq!((batch.events.len(), batch.dropped), (1, 2));
        assert!(!queue.push(0, &event(10), bounds), "an event under way counts");
        queue.done(&batch, true);
        assert!(queue.push(0, &event(10), bounds));
        assert_eq!(queue.take(1).unwrap().dropped, 1, "the receiver is told once");
        let narrow = Bounds { events: 100, bytes: 2 * (10 + EVENT_BYTES) };
        let mut queue = Queue::default();
        assert!(queue.push(0, &event(10), narrow) && queue.push(0, &event(10), narrow));
        assert!(!queue.push(0, &event(10), narrow));
    }

    #[test]
    fn a_request_that_is_given_up_counts_as_dropped_with_what_it_told() {
        let mut queue = Queue::default();
        assert!(queue.push(0, &event(1), WIDE) && queue.push(0, &event(1), WIDE));
        assert!(!queue.push(0, &event(1), Bounds { events: 2, bytes: 1 << 20 }));
        let batch = queue.take(0).unwrap();
        queue.done(&batch, false);
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
        assert_eq!(queue.switch_off(), 1);
        queue.done(&under_way, false);
        assert!(!queue.push(0, &event(1), WIDE) && queue.len() == 0 && queue.oldest().is_none());
        queue.switch_on();
        assert!(queue.push(0, &event(1), WIDE) && queue.oldest().is_some());
        assert_eq!(queue.take(0).unwrap().dropped, 3);
    }
}
