//! Records latencies: one histogram over the measured time, and one window for each second of it.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Smallest and largest latency that a histogram can hold: a microsecond and an hour.
const RANGE_NS: (u64, u64) = (1_000, 3_600_000_000_000);
/// Significant digits of a recorded value, which is therefore off by a thousandth at most.
const DIGITS: u8 = 3;
/// Length of a window: one second.
const WINDOW_NS: u64 = 1_000_000_000;

/// The percentiles of a histogram, in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
pub(super) struct Summary {
    /// Number of values recorded.
    pub(super) count: u64,
    pub(super) mean: f64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
}

/// One second of the measured time; the last window may be shorter.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(super) struct Window {
    /// End of the window, in seconds since the start of the measured time.
    pub(super) at_s: f64,
    /// Deliveries or handshakes in the window, on all connections.
    pub(super) count: u64,
    /// Deliveries or handshakes per second.
    pub(super) per_s: f64,
    /// Messages that were due per second, over all publishers; only in a ramp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) offered_per_s: Option<f64>,
    /// Latencies of sampled deliveries that arrived in the window, in microseconds.
    pub(super) latency_us: Summary,
}

/// Records the latency of every message that was sent or due in the measured time, even if it arrives later.
#[derive(Debug)]
pub(super) struct LatencyRecorder {
    from_ns: u64,
    to_ns: u64,
    window_start_ns: u64,
    counted: u64,
    current: Histogram<u64>,
    total: Histogram<u64>,
    windows: Vec<Window>,
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(RANGE_NS.0, RANGE_NS.1, DIGITS).expect("the bounds are valid constants")
}

impl Summary {
    /// Returns whether nothing was recorded; a report then leaves the percentiles out instead of showing 0.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let quantile = |q: f64| histogram.value_at_quantile(q) as f64 / 1e3;
        Self {
            count: histogram.len(),
            mean: (histogram.mean() / 10.0).round() / 100.0,
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: histogram.max() as f64 / 1e3,
        }
    }
}

impl LatencyRecorder {
    /// Returns a recorder of messages that are sent or due from `from_ns` until `to_ns`.
    pub(super) fn new(from_ns: u64, to_ns: u64) -> Self {
        Self {
            from_ns,
            to_ns,
            window_start_ns: from_ns,
            counted: 0,
            current: histogram(),
            total: histogram(),
            windows: Vec::new(),
        }
    }

    /// Begins the first window, at or shortly after `from_ns`; `counted` is the total number of deliveries so far.
    pub(super) fn begin(&mut self, now_ns: u64, counted: u64) {
        self.window_start_ns = now_ns;
        self.counted = counted;
    }

    /// Records a message that was sent or due at `at_ns` and arrived at `now_ns`.
    pub(super) fn record(&mut self, at_ns: u64, now_ns: u64) {
        if (self.from_ns..self.to_ns).contains(&at_ns) {
            self.current.saturating_record(now_ns.saturating_sub(at_ns).max(RANGE_NS.0));
        }
    }

    /// Ends the window if its second is over, and must be called often; `counted` is the total number of deliveries so
    /// far.
    pub(super) fn roll(&mut self, now_ns: u64, counted: u64) {
        if now_ns >= self.window_start_ns + WINDOW_NS && now_ns <= self.to_ns {
            self.end_window(now_ns, counted);
        }
    }

    /// Ends the measured time and its last window. Messages that arrive later are recorded in the total only.
    pub(super) fn finish(&mut self, now_ns: u64, counted: u64) {
        self.to_ns = self.to_ns.min(now_ns);
        // A window of less than a tenth of a second would be a spike in the plots.
        if self.windows.is_empty() || now_ns > self.window_start_ns + WINDOW_NS / 10 {
            self.end_window(now_ns, counted);
        }
    }

    fn end_window(&mut self, now_ns: u64, counted: u64) {
        let length_s = now_ns.saturating_sub(self.window_start_ns).max(1) as f64 / 1e9;
        let count = counted - self.counted;
        self.windows.push(Window {
            at_s: (now_ns.saturating_sub(self.from_ns) as f64 / 1e7).round() / 100.0,
            count,
            per_s: (count as f64 / length_s).round(),
            offered_per_s: None,
            latency_us: Summary::of(&self.current),
        });
        self.merge_window();
        self.window_start_ns = now_ns;
        self.counted = counted;
    }

    fn merge_window(&mut self) {
        self.total.add(&self.current).expect("both histograms have the same bounds");
        self.current.reset();
    }

    /// Returns the percentiles of all latencies recorded.
    pub(super) fn summary(&mut self) -> Summary {
        self.merge_window();
        Summary::of(&self.total)
    }

    /// Returns the windows that have ended, oldest first.
    pub(super) fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// Returns pairs of a quantile and its value in microseconds for a plot, denser towards the quantile 1.
    pub(super) fn distribution(&mut self) -> Vec<(f64, f64)> {
        self.merge_window();
        if self.total.is_empty() {
            return Vec::new();
        }
        let decades = (self.total.len() as f64).log10().clamp(1.0, 7.0);
        let steps = 100;
        let quantile = |step: i32| 1.0 - 10f64.powf(-decades * f64::from(step) / f64::from(steps));
        (0..=steps)
            .map(quantile)
            .map(|q| ((q * 1e7).round() / 1e7, self.total.value_at_quantile(q) as f64 / 1e3))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn windows_hold_what_arrived_in_them_and_the_total_holds_everything() {
        let mut latency = LatencyRecorder::new(10 * SECOND, 12 * SECOND);
        latency.begin(10 * SECOND, 100);
        latency.record(9 * SECOND, 10 * SECOND); // sent in the warm-up
        latency.record(10 * SECOND, 10 * SECOND + 2_000_000);
        latency.roll(10 * SECOND + SECOND / 2, 150);
        assert!(latency.windows().is_empty());
        latency.roll(11 * SECOND, 200);
        latency.record(11 * SECOND, 11 * SECOND + 8_000_000);
        latency.roll(12 * SECOND, 250);
        latency.finish(12 * SECOND, 250);
        latency.record(12 * SECOND - 1, 13 * SECOND); // due in time, arrived while draining: the worst of all
        latency.record(12 * SECOND, 13 * SECOND); // sent afterwards
        let windows = latency.windows().to_vec();
        assert_eq!(windows.iter().map(|w| (w.at_s, w.count)).collect::<Vec<_>>(), [(1.0, 100), (2.0, 50)]);
        assert!((1_990.0..=2_010.0).contains(&windows[0].latency_us.max), "{windows:?}");
        assert!((7_990.0..=8_010.0).contains(&windows[1].latency_us.max), "{windows:?}");
        let total = latency.summary();
        assert_eq!(total.count, 3);
        assert!((999_000.0..=1_001_000.0).contains(&total.max), "{total:?}");
    }

    #[test]
    fn the_distribution_rises_to_the_maximum() {
        let mut latency = LatencyRecorder::new(0, u64::MAX);
        assert!(latency.distribution().is_empty());
        for at in 1..=10_000u64 {
            latency.record(0, at * 1_000);
        }
        let distribution = latency.distribution();
        assert!(distribution.windows(2).all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1));
        let (quantile, value) = distribution[distribution.len() - 1];
        assert!(quantile >= 0.9999 && (9_990.0..=10_010.0).contains(&value), "{quantile} {value}");
    }
}
