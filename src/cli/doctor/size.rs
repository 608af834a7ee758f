//! Sizes for people: rounded, in a unit of which there are few.

use crate::names::units::{GIB, KIB, MIB, TIB};

/// Returns a number of bytes with one decimal in the largest unit of which there is at least one: `16.1 GiB`.
pub(super) fn about(bytes: usize) -> String {
    let unit =
        [("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)].into_iter().find(|(_, unit)| bytes >= *unit);
    let Some((name, unit)) = unit else { return format!("{bytes} bytes") };
    // Rounded to the nearest tenth; the whole part is apart, so that no product can overflow.
    let tenths = (bytes % unit * 10 + unit / 2) / unit;
    let (whole, tenth) = (bytes / unit + tenths / 10, tenths % 10);
    if tenth == 0 { format!("{whole} {name}") } else { format!("{whole}.{tenth} {name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_to_a_tenth() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (KIB, "1 KiB"),
            (8 * MIB + MIB / 2, "8.5 MiB"),
            (GIB + 9 * GIB / 10, "1.9 GiB"),
            (2 * GIB - 1, "2 GiB"),
            (1 << 60, "1048576 TiB"),
        ] {
            assert_eq!(about(bytes), text, "{bytes}");
        }
    }
}
