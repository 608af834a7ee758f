//! Numbers with a unit, as they are written on the command line.

const SECONDS_RULE: &str = "must be a number of seconds, or a number with the unit ms, s, m or h";

/// The units of durations, each in seconds.
const UNITS: [(&str, f64); 5] = [("", 1.0), ("s", 1.0), ("ms", 1e-3), ("m", 60.0), ("h", 3_600.0)];

/// Parses a duration into seconds: a plain number, or a number with one of the units ms, s, m and h.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    with_unit(text, &UNITS).ok_or_else(|| SECONDS_RULE.into())
}

/// Parses a finite number and the unit behind it, which multiplies it.
pub(super) fn with_unit(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let (_, scale) = units.iter().find(|(unit, _)| *unit == &text[digits.len()..])?;
    digits.parse().ok().filter(|value: &f64| value.is_finite()).map(|value| value * scale)
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn durations_may_have_a_unit() {
        let all = ["5", "0.5", "5s", "500ms", "2m", "1h"].map(seconds);
        assert_eq!(all, [5.0, 0.5, 5.0, 0.5, 120.0, 3_600.0].map(Ok));
        for wrong in ["", "s", "5 s", "5d", "inf", "NaN", "1e999", "ms5"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
