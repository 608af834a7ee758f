//! When clients send heartbeats of their own, in protocols that demand it.

use std::time::Duration;

use super::plan::Plan;

/// The heartbeats of all connections. They are spread evenly over the time, so that they never come in a burst.
#[derive(Debug)]
pub(super) struct Heartbeats {
    pub(super) text: &'static str,
    start_ns: u64,
    /// Time between two heartbeats of all connections together, in nanoseconds.
    step_ns: u64,
    connections: u64,
    /// Number of heartbeats that were due so far.
    done: u64,
}

impl Heartbeats {
    /// Returns the heartbeats of a run that begins at `start_ns`; `None` if the protocol has none.
    pub(super) fn of(plan: &Plan, start_ns: u64) -> Option<Self> {
        let (text, interval) = plan.client.heartbeat()?;
        Some(Self::new(text, interval, plan.connections, start_ns))
    }

    fn new(text: &'static str, interval: Duration, connections: usize, start_ns: u64) -> Self {
        let connections = connections.max(1) as u64;
        let step_ns = (interval.as_nanos() as u64 / connections).max(1);
        Self { text, start_ns, step_ns, connections, done: 0 }
    }

    /// Returns the numbers of the connections whose heartbeat has become due since the last call, each once.
    pub(super) fn due(&mut self, now_ns: u64) -> impl Iterator<Item = usize> + use<> {
        let (due, connections) = (now_ns.saturating_sub(self.start_ns) / self.step_ns, self.connections);
        let from = self.done.max(due.saturating_sub(connections));
        self.done = due;
        (from..due).map(move |nth| (nth % connections) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_has_its_turn_once_in_an_interval() {
        let mut heartbeats = Heartbeats::new("x", Duration::from_nanos(100), 4, 1_000);
        let mut due = |now_ns| heartbeats.due(now_ns).collect::<Vec<_>>();
        assert_eq!(due(1_024), Vec::<usize>::new());
        assert_eq!(due(1_025), [0]);
        assert_eq!(due(1_080), [1, 2]);
        assert_eq!(due(1_080), Vec::<usize>::new());
        assert_eq!(due(1_100), [3]);
        // After a long pause nobody sends twice.
        assert_eq!(due(9_000), [0, 1, 2, 3]);
        assert_eq!(due(9_025), [0]);
    }
}
