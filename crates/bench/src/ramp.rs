//! Ramps: an open loop whose rate rises evenly through the measured time, and what the report says about it.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::latency::Window;

/// Factor by which p99 must exceed that of the first window, to be called out of bounds.
const FACTOR: f64 = 10.0;
/// Messages that must be offered in a window for it to say something if none arrives.
const FEW: f64 = 2.0;

/// The rate of a ramp, in messages per second over all publishers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ramp {
    pub(super) from: f64,
    pub(super) to: f64,
}

/// The part of a report about a ramp. Its fields are those of the JSON.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub(super) struct Climb {
    pub(super) from_per_s: f64,
    pub(super) to_per_s: f64,
    /// p99 of the first window, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_p99_us: Option<f64>,
    /// The rate that was offered in the first window whose p99 is more than ten times that of the first one; left out
    /// if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tenfold_p99_at_per_s: Option<f64>,
}

const RULE: &str = "must be two numbers of messages per second, the lower one first, as in 1000..50000";

impl FromStr for Ramp {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rates =
            text.split_once("..").and_then(|(from, to)| from.trim().parse().ok().zip(to.trim().parse().ok()));
        rates.map(|(from, to)| Self { from, to }).filter(|it| it.from > 0.0 && it.to > it.from).ok_or(RULE)
    }
}

impl Ramp {
    /// Returns the rate at `at_s` of a measured time of `length_s`.
    fn rate(self, at_s: f64, length_s: f64) -> f64 {
        self.from + (self.to - self.from) * (at_s / length_s).clamp(0.0, 1.0)
    }

    /// Fills in the rate that was offered in each window: that in its middle, because the rate rises evenly.
    pub(super) fn offer(self, windows: &mut [Window], length_s: f64) {
        let mut from_s = 0.0;
        for window in windows {
            let rate = self.rate(f64::midpoint(from_s, window.at_s), length_s);
            window.offered_per_s = Some((rate * 10.0).round() / 10.0);
            from_s = window.at_s;
        }
    }
}

/// Returns each window with its length in seconds: the last one is often shorter than the others.
fn with_lengths(windows: &[Window]) -> impl Iterator<Item = (&Window, f64)> {
    let begins = [0.0].into_iter().chain(windows.iter().map(|window| window.at_s));
    windows.iter().zip(begins).map(|(window, from_s)| (window, window.at_s - from_s))
}

impl Climb {
    /// Returns what the windows of a ramp say, after [`Ramp::offer`].
    pub(super) fn new(ramp: Ramp, windows: &[Window]) -> Self {
        let first = windows.iter().find(|window| !window.latency_us.is_empty()).map(|it| it.latency_us.p99);
        Self {
            from_per_s: ramp.from,
            to_per_s: ramp.to,
            first_p99_us: first,
            tenfold_p99_at_per_s: first.and_then(|first| {
                // A window in which nothing arrived is out of bounds too: its messages are still under way.
                let is_out = |(window, length_s): &(&Window, f64)| match &window.latency_us {
                    latency if latency.is_empty() => {
                        window.offered_per_s.is_some_and(|rate| rate * length_s > FEW)
                    }
                    latency => latency.p99 > first * FACTOR,
                };
                let mut after = with_lengths(windows).skip_while(|(window, _)| window.latency_us.is_empty());
                after.find(is_out).and_then(|(window, _)| window.offered_per_s)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::latency::Summary;
    use super::*;

    /// Returns the windows of a ramp from 100 to 500 messages per second, with these values of p99; 0 stands for a
    /// window in which nothing arrived.
    fn windows(p99: &[f64]) -> Vec<Window> {
        let latency = |p99: f64| Summary { count: u64::from(p99 > 0.0), p99, ..Summary::default() };
        let window = |(index, p99): (usize, &f64)| Window {
            at_s: index as f64 + 1.0,
            count: 1,
            per_s: 1.0,
            offered_per_s: None,
            latency_us: latency(*p99),
        };
        let mut windows: Vec<Window> = p99.iter().enumerate().map(window).collect();
        Ramp { from: 100.0, to: 500.0 }.offer(&mut windows, p99.len() as f64);
        windows
    }

    fn tenfold(p99: &[f64]) -> Option<f64> {
        Climb::new(Ramp { from: 100.0, to: 500.0 }, &windows(p99)).tenfold_p99_at_per_s
    }

    #[test]
    fn a_ramp_rises() {
        assert_eq!("100..2.5e3".parse(), Ok(Ramp { from: 100.0, to: 2_500.0 }));
        for wrong in ["", "5", "5..", "..5", "5..5", "9..5", "0..5", "-1..5", "1..NaN", "a..b"] {
            assert_eq!(wrong.parse::<Ramp>(), Err(RULE), "{wrong}");
        }
    }

    #[test]
    fn the_offered_rate_is_that_of_the_middle_of_a_window() {
        let rates: Vec<Option<f64>> = windows(&[1.0; 4]).iter().map(|it| it.offered_per_s).collect();
        assert_eq!(rates, [150.0, 250.0, 350.0, 450.0].map(Some));
    }

    #[test]
    fn the_first_window_with_more_than_ten_times_the_first_p99_counts() {
        assert_eq!(tenfold(&[5.0, 50.0, 51.0, 9_000.0]), Some(350.0), "ten times is not more than ten times");
        assert_eq!(tenfold(&[5.0, 9.0, 7.0, 50.0]), None);
        assert_eq!(tenfold(&[5.0, 9.0, 0.0, 0.0]), Some(350.0), "nothing arrived any more");
        assert_eq!(tenfold(&[0.0, 5.0, 6.0, 51.0]), Some(450.0), "the first window had no value");
        let mut short = windows(&[5.0, 9.0, 0.0]);
        short[2].at_s = 2.004;
        let climb = |windows: &[Window]| Climb::new(Ramp { from: 100.0, to: 500.0 }, windows);
        assert_eq!(climb(&short).tenfold_p99_at_per_s, None, "two messages at 433 in a second");
        short[2].at_s = 2.006;
        assert!(climb(&short).tenfold_p99_at_per_s.is_some(), "three are more than a few");
        assert_eq!((tenfold(&[]), tenfold(&[0.0, 0.0])), (None, None));
    }
}
