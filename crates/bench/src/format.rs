//! Formats numbers, times and rows for people.

/// A name and its formatted value.
pub(super) type Row = (&'static str, String);

/// Returns the rows as aligned text.
pub(super) fn text(rows: &[Row]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

/// Formats a number with a comma between thousands.
pub(super) fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

/// Formats microseconds in µs, ms or s, whichever suits the value.
pub(super) fn time(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{us:.0} µs"),
        us if us < 1e6 => format!("{:.2} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_times_have_a_suitable_unit() {
        let all = [0.0, 999.0, 1_000.0, 1_234_567.4, -1_000.0].map(grouped);
        assert_eq!(all, ["0", "999", "1,000", "1,234,567", "-1,000"]);
        assert_eq!([12.3, 1_500.0, 2.5e6].map(time), ["12 µs", "1.50 ms", "2.50 s"]);
    }
}
