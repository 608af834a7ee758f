//! Statistics of a few rounds: medians, and 95 % confidence intervals of figures and of their ratios.
//!
//! All intervals are Student's t-intervals on logarithms. Rates, times and sizes are positive and skewed, and their
//! errors multiply, so that their logarithms are closer to a normal distribution than they are. The t-distribution is
//! exact for a normal sample of any size, while a bootstrap needs more than a few rounds: with three it has ten
//! different samples, and its intervals are too short (T. C. Hesterberg, "What Teachers Should Know About the
//! Bootstrap", The American Statistician 69, 2015). The interval is that of the geometric mean, which is the median
//! if the logarithms are distributed symmetrically.

use serde::Serialize;

mod student;

/// Fewest values of which an interval is made. Two have one, but it says nothing: t is 12.7.
pub(super) const MIN_ROUNDS: usize = 3;
/// Quantile of the t-distribution for a two-sided interval of 95 %.
const QUANTILE: f64 = 0.975;

/// A confidence interval of 95 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Interval {
    pub(super) low: f64,
    pub(super) high: f64,
}

/// The ratio of two figures: the geometric mean, which belongs to the interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Ratio {
    pub(super) value: f64,
    /// Left out if there were fewer than [`MIN_ROUNDS`] values.
    #[serde(flatten)]
    pub(super) interval: Option<Interval>,
}

/// Mean, variance of the mean and degrees of freedom of a sample of logarithms.
struct Mean {
    mean: f64,
    /// Variance of the values (n - 1) divided by n.
    variance: f64,
    freedom: f64,
}

/// Returns the median, the mean of the middle two for an even number; `None` for no values.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// Returns the interval of what a sample is typical of; `None` if it has fewer than [`MIN_ROUNDS`] values or one that
/// is not positive.
pub(super) fn interval(values: &[f64]) -> Option<Interval> {
    let logs = logs(values).filter(|logs| logs.len() >= MIN_ROUNDS)?;
    Some(Mean::of(&logs).interval())
}

/// Returns the ratio of paired values, `values[i] / base[i]`, which were measured one after the other: what the machine
/// did to both cancels out. `None` if there are none or one is not positive.
pub(super) fn paired_ratio(values: &[f64], base: &[f64]) -> Option<Ratio> {
    let ratios: Vec<f64> = values.iter().zip(base).map(|(value, base)| value / base).collect();
    let logs = logs(&ratios)?;
    let mean = Mean::of(&logs);
    let interval = (logs.len() >= MIN_ROUNDS).then(|| mean.interval());
    Some(Ratio { value: mean.mean.exp(), interval })
}

/// Returns the ratio of two samples that were measured at different times, by Welch's t-interval of the difference of
/// their logarithms (B. L. Welch, "The generalization of 'Student's' problem when several different population
/// variances are involved", Biometrika 34, 1947). `None` if one of them is empty or has a value that is not positive.
pub(super) fn unpaired_ratio(values: &[f64], base: &[f64]) -> Option<Ratio> {
    let (values, base) = (logs(values)?, logs(base)?);
    let (a, b) = (Mean::of(&values), Mean::of(&base));
    let mean = a.mean - b.mean;
    let variance = a.variance + b.variance;
    // Welch and Satterthwaite. Without any variance the degrees do not matter.
    let parts = a.variance.powi(2) / a.freedom + b.variance.powi(2) / b.freedom;
    let freedom = if parts > 0.0 { variance.powi(2) / parts } else { a.freedom + b.freedom };
    let interval =
        (values.len().min(base.len()) >= MIN_ROUNDS).then(|| Mean { mean, variance, freedom }.interval());
    Some(Ratio { value: mean.exp(), interval })
}

/// Returns the logarithms of at least one value; `None` if a value has none.
fn logs(values: &[f64]) -> Option<Vec<f64>> {
    let all: Option<Vec<f64>> =
        values.iter().map(|value| (value.is_finite() && *value > 0.0).then(|| value.ln())).collect();
    all.filter(|logs| !logs.is_empty())
}

impl Mean {
    fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        // A single value has no variance; no interval is made of it.
        let freedom = (count - 1.0).max(1.0);
        Self { mean, variance: squares / freedom / count, freedom }
    }

    fn interval(&self) -> Interval {
        let margin = student::quantile(QUANTILE, self.freedom) * self.variance.sqrt();
        Interval { low: (self.mean - margin).exp(), high: (self.mean + margin).exp() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Additional hours of sleep of ten patients with each of two drugs, from Student, "The probable error of a mean",
    /// Biometrika 6, 1908. Their intervals are those that `t.test` of R prints for its data set `sleep`.
    const SLEEP: [[f64; 10]; 2] = [
        [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0],
        [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4],
    ];

    /// Checks an interval of ratios against one of differences.
    #[track_caller]
    fn check(ratio: Option<Ratio>, mean: f64, low: f64, high: f64) {
        let ratio = ratio.expect("a ratio");
        let interval = ratio.interval.expect("an interval");
        for (found, expected) in [(ratio.value, mean), (interval.low, low), (interval.high, high)] {
            assert!((found.ln() - expected).abs() < 1e-6, "{}: {expected}", found.ln());
        }
    }

    #[test]
    fn intervals_are_those_of_the_textbook() {
        let [first, second] = SLEEP.map(|hours| hours.map(f64::exp));
        check(paired_ratio(&second, &first), 1.58, 0.700_114_2, 2.459_885_8);
        check(unpaired_ratio(&second, &first), 1.58, -0.205_483_2, 3.365_483_2);
        let each = interval(&second).expect("an interval");
        assert!((each.low.ln() - 0.897_677_5).abs() < 1e-6 && (each.high.ln() - 3.762_322_5).abs() < 1e-6);
    }

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(
            [&[][..], &[3.0], &[9.0, 1.0, 2.0], &[4.0, 1.0, 2.0, 9.0]].map(median),
            [None, Some(3.0), Some(2.0), Some(3.0)]
        );
    }

    #[test]
    fn equal_values_have_an_interval_without_a_width() {
        let same = [7.0; 4];
        for ratio in [paired_ratio(&same, &same), unpaired_ratio(&same, &same)] {
            let ratio = ratio.expect("a ratio");
            let interval = ratio.interval.expect("an interval");
            assert!((ratio.value - 1.0).abs() < 1e-12 && (interval.high - interval.low).abs() < 1e-12);
        }
    }

    #[test]
    fn too_few_values_have_a_ratio_and_no_interval() {
        assert_eq!(interval(&[1.0, 2.0]), None);
        let close = |ratio: Option<Ratio>| {
            ratio.is_some_and(|it| (it.value - 2.0).abs() < 1e-12 && it.interval.is_none())
        };
        assert!(
            close(paired_ratio(&[2.0, 4.0], &[1.0, 2.0])) && close(unpaired_ratio(&[2.0; 5], &[1.0, 1.0]))
        );
        assert!(close(paired_ratio(&[2.0], &[1.0])) && close(unpaired_ratio(&[2.0], &[1.0])));
    }

    #[test]
    fn values_without_a_logarithm_have_no_interval() {
        assert_eq!(interval(&[1.0, 2.0, 0.0]), None);
        assert_eq!((paired_ratio(&[0.0; 3], &[1.0; 3]), paired_ratio(&[1.0; 3], &[0.0; 3])), (None, None));
        assert_eq!((unpaired_ratio(&[], &[1.0; 3]), unpaired_ratio(&[1.0; 3], &[f64::NAN; 3])), (None, None));
    }

    #[test]
    fn drift_that_hits_both_alike_widens_unpaired_intervals_alone() {
        let base = [100.0, 150.0, 210.0, 330.0];
        let twice = [201.0, 299.0, 421.0, 659.0];
        let width = |ratio: Option<Ratio>| {
            let interval = ratio.and_then(|it| it.interval).expect("an interval");
            interval.high - interval.low
        };
        assert!(width(paired_ratio(&twice, &base)) < 0.03);
        assert!(width(unpaired_ratio(&twice, &base)) > 1.0);
    }
}
