//! Durations and sizes as people write them. A duration needs a unit: `30` alone could be seconds or minutes.

use std::time::Duration;

/// One kibibyte, in bytes.
pub const KIB: usize = 1024;
/// One mebibyte, in bytes.
pub const MIB: usize = 1024 * KIB;
/// One gibibyte, in bytes.
pub const GIB: usize = 1024 * MIB;
/// One tebibyte, in bytes.
pub const TIB: usize = 1024 * GIB;

/// Units of sizes, largest first: the first unit that divides a size gives its shortest text.
const SIZE_UNITS: [(&str, usize); 5] = [("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB), ("B", 1)];
/// Units of durations, largest first. Milliseconds are the finest, because no setting needs a finer one.
const TIME_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Splits a text into a whole number and the unit behind it. Blanks may stand between them.
fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim_start()))
}

/// Parses a duration such as `"25s"`, `"100ms"`, `"5m"`, `"1h"` or `"30d"`. Returns `None` for a number without a unit,
/// with another unit, or too large.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let (_, factor) = TIME_UNITS.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*factor).map(Duration::from_millis)
}

/// Formats a duration as [`parse_duration`] reads it, in the largest unit that divides it.
pub fn show_duration(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let whole = TIME_UNITS.iter().find(|(_, factor)| ms >= *factor && ms.is_multiple_of(*factor));
    let (unit, factor) = whole.unwrap_or(&("ms", 1));
    format!("{}{unit}", ms / factor)
}

/// Parses a size such as `"64KiB"`, `"1MiB"`, `"512B"` or a plain number of bytes. Letters may be upper or lower case.
pub fn parse_size(text: &str) -> Option<usize> {
    let (number, unit) = split(text)?;
    let unit = if unit.is_empty() { "B" } else { unit };
    let (_, factor) = SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    usize::try_from(number).ok()?.checked_mul(*factor)
}

/// Formats a size as [`parse_size`] reads it, in the largest unit that divides it. Plain bytes are written without one.
pub fn show_size(bytes: usize) -> String {
    match SIZE_UNITS
        .iter()
        .find(|(_, factor)| *factor > 1 && bytes >= *factor && bytes.is_multiple_of(*factor))
    {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, ms) in
            [("25s", 25_000), ("100ms", 100), ("5m", 300_000), ("1h", 3_600_000), ("2d", 172_800_000)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(ms)), "{text}");
            assert_eq!(show_duration(Duration::from_millis(ms)), text);
        }
        assert_eq!(parse_duration(" 25 s "), Some(Duration::from_secs(25)));
        assert_eq!(show_duration(Duration::from_millis(90_500)), "90500ms");
        assert_eq!(show_duration(Duration::ZERO), "0ms");
    }

    #[test]
    fn durations_without_a_known_unit_are_refused() {
        for text in [
            "",
            "30",
            "s",
            "1.5s",
            "-1s",
            "5 minutes",
            "5M",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in
            [("64KiB", 65_536), ("1MiB", MIB), ("3GiB", 3 * GIB), ("1TiB", TIB), ("1025", 1025), ("0", 0)]
        {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
            assert_eq!(show_size(bytes), text);
        }
        assert_eq!(parse_size("64 kib"), Some(65_536));
        assert_eq!(parse_size("512B"), Some(512));
    }

    #[test]
    fn sizes_that_are_ambiguous_or_overflow_are_refused() {
        for text in ["", "KiB", "64K", "64KB", "1.5MiB", "-1", "18446744073709551615TiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
