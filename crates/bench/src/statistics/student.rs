//! Student's t-distribution, by the incomplete beta function.

use std::f64::consts::PI;

/// Returns the quantile `p` (above one half) of Student's t-distribution. The number of degrees of freedom is at least
/// 1 and need not be whole.
pub(super) fn quantile(p: f64, freedom: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1e3);
    // The distribution function rises, so that halving finds the place; 60 times are enough for every digit.
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if distribution(middle, freedom) < p { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// Returns the distribution function of Student's t at `t >= 0`, by the incomplete beta function (Abramowitz and
/// Stegun, "Handbook of Mathematical Functions", 26.7.1 and 26.5.27).
fn distribution(t: f64, freedom: f64) -> f64 {
    let x = freedom / (freedom + t * t);
    1.0 - 0.5 * incomplete_beta(x, freedom / 2.0, 0.5)
}

/// Returns the regularised incomplete beta function, by its continued fraction (Abramowitz and Stegun, 26.5.8), which
/// converges fast on one side of the mean; the other side follows by symmetry.
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(1.0 - x, b, a);
    }
    let factor = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp() / a;
    // Evaluated from the innermost fraction outwards. For half-integers of this size, 200 are more than enough.
    let mut fraction = 1.0;
    for n in (1..=200).rev() {
        let m = f64::from(n / 2);
        let term = if n % 2 == 0 {
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        } else {
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        };
        fraction = 1.0 + term / fraction;
    }
    factor / fraction
}

/// Returns the logarithm of the gamma function, by Stirling's series (Abramowitz and Stegun, 6.1.41), which is exact to
/// ten digits from 10 on; smaller arguments are raised to there.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut product) = (x, 1.0);
    while x < 10.0 {
        product *= x;
        x += 1.0;
    }
    let series = 1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3)) + 1.0 / (1_260.0 * x.powi(5));
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * PI).ln() + series - product.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the NIST/SEMATECH e-Handbook of Statistical Methods, section 1.3.6.7.2.
    #[test]
    fn quantiles_are_those_of_the_table() {
        for (freedom, at_975, at_95) in [
            (1.0, 12.706, 6.314),
            (2.0, 4.303, 2.920),
            (3.0, 3.182, 2.353),
            (4.0, 2.776, 2.132),
            (5.0, 2.571, 2.015),
            (10.0, 2.228, 1.812),
            (30.0, 2.042, 1.697),
            (99.0, 1.984, 1.660),
        ] {
            for (p, expected) in [(0.975, at_975), (0.95, at_95)] {
                let found = quantile(p, freedom);
                assert!((found - expected).abs() < 0.000_6, "{p} {freedom}: {found}");
            }
        }
    }

    #[test]
    fn the_logarithm_of_gamma_is_that_of_factorials_and_of_the_root_of_pi() {
        for (x, expected) in [(1.0, 1.0f64), (2.0, 1.0), (5.0, 24.0), (11.0, 3_628_800.0), (0.5, PI.sqrt())] {
            assert!((ln_gamma(x) - expected.ln()).abs() < 1e-9, "{x}: {}", ln_gamma(x));
        }
    }
}
