//! Draws one figure of several servers as SVG: a bar up to each median, with a whisker over its interval.

use std::fmt::Write as _;

use super::super::page::escaped;
use super::super::plot::COLOURS;

const WIDTH: f64 = 400.0;
/// Height of one server: a line of text and its bar.
const ROW: f64 = 42.0;
const TOP: f64 = 34.0;
const BAR: f64 = 10.0;
/// Half the height of a whisker's ends.
const END: f64 = 5.0;

/// Number of letters that surely fit beside each other: a label and its value.
const LETTERS: usize = 48;

/// The value of one server.
#[derive(Debug)]
pub(super) struct Bar {
    pub(super) label: String,
    /// Text of the value and of its ratio.
    pub(super) text: String,
    pub(super) value: f64,
    /// The interval of the value, if there is one.
    pub(super) interval: Option<(f64, f64)>,
    /// Number of the server, by which it has its colour in every figure.
    pub(super) number: usize,
}

/// Returns the beginning of a label that has up to `most` characters. The table has all of it.
fn shortened(label: &str, most: usize) -> String {
    if label.chars().count() <= most {
        return label.to_owned();
    }
    let beginning: String = label.chars().take(most.saturating_sub(1)).collect();
    format!("{beginning}…")
}

/// Returns the bars as an SVG element. All begin at 0, so that their lengths can be compared.
pub(super) fn svg(title: &str, note: &str, bars: &[Bar]) -> String {
    let height = TOP + ROW * bars.len() as f64;
    let ends = bars.iter().flat_map(|bar| [bar.value, bar.interval.map_or(0.0, |(_, high)| high)]);
    let most = ends.filter(|value| value.is_finite()).fold(0.0, f64::max);
    let x = |value: f64| if most > 0.0 { (value / most).clamp(0.0, 1.0) * (WIDTH - 2.0) + 1.0 } else { 1.0 };
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">\n\
         <text x=\"0\" y=\"16\" class=\"title\">{title} <tspan class=\"unit\">{note}</tspan></text>\n",
    );
    for (row, bar) in bars.iter().enumerate() {
        let top = TOP + ROW * row as f64;
        let (text_at, bar_at, middle) = (top + 12.0, top + 19.0, top + 19.0 + BAR / 2.0);
        let colour = bar.number % COLOURS;
        let _ = writeln!(
            svg,
            "<text x=\"0\" y=\"{text_at}\" class=\"key\">{}</text>\
             <text x=\"{WIDTH}\" y=\"{text_at}\" class=\"left\">{}</text>\n\
             <rect x=\"0\" y=\"{bar_at}\" width=\"{:.1}\" height=\"{BAR}\" class=\"s{colour}\"/>",
            escaped(&shortened(&bar.label, LETTERS.saturating_sub(bar.text.chars().count()))),
            escaped(&bar.text),
            x(bar.value),
        );
        if let Some((low, high)) = bar.interval {
            let (from, to) = (x(low), x(high));
            let (above, below) = (middle - END, middle + END);
            let _ = writeln!(
                svg,
                "<path class=\"whisker\" d=\"M{from:.1} {middle}H{to:.1}\
                 M{from:.1} {above}V{below}M{to:.1} {above}V{below}\"/>"
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(value: f64, interval: Option<(f64, f64)>) -> Bar {
        Bar { label: "<a>".into(), text: "1".into(), value, interval, number: 7 }
    }

    #[test]
    fn bars_and_whiskers_share_a_scale_and_lie_inside() {
        let svg = svg("T", "", &[bar(5.0, Some((2.5, 10.0))), bar(10.0, None)]);
        let widths: Vec<&str> =
            svg.split("width=\"").skip(1).map(|rest| rest.split('"').next().unwrap_or_default()).collect();
        assert_eq!(widths, ["200.0", "399.0"], "half and the whole: {svg}");
        assert!(svg.contains("M100.5 58H399.0"), "from a quarter to the end: {svg}");
        assert_eq!(svg.matches("whisker").count(), 1, "one has no interval: {svg}");
        assert!(svg.contains("&lt;a&gt;") && !svg.contains("<a>"), "{svg}");
    }

    #[test]
    fn a_long_label_leaves_room_for_the_value() {
        assert_eq!([shortened("abc", 3), shortened("abcd", 3), shortened("é", 0)], ["abc", "ab…", "…"]);
    }

    #[test]
    fn values_of_zero_and_none_make_no_wrong_numbers() {
        for bars in [vec![], vec![bar(0.0, None)], vec![bar(0.0, Some((0.0, 0.0)))]] {
            let svg = svg("T", "", &bars);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
