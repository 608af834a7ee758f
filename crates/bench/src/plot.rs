//! Draws line plots as SVG without a library, so that a report opens from a file in any browser.

use std::fmt::Write as _;

use super::format::grouped;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 260.0;
/// Margin for the numbers of the vertical axis; the constants below are the other margins.
const LEFT: f64 = 98.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 40.0;
/// Width assumed for a character of a label, more than in any common font.
const LETTER: f64 = 8.0;
/// Number of colours that the page has, as the classes s0, s1 and so on. People with colour blindness can tell them
/// apart too: they are close to the palette of Okabe and Ito.
pub(super) const COLOURS: usize = 5;

/// One line of a plot.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) name: &'static str,
    pub(super) points: Vec<(f64, f64)>,
}

/// Meaning and scale of the horizontal axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum XAxis {
    /// Seconds, on a linear scale.
    Time,
    /// Messages per second, on a linear scale.
    Rate,
    /// Quantiles from 0 to below 1, on a scale on which each further 9 is as wide as the one before.
    Quantiles,
}

/// One plot with its lines.
#[derive(Debug)]
pub(super) struct Plot {
    pub(super) title: &'static str,
    /// Unit of the vertical axis.
    pub(super) unit: &'static str,
    pub(super) x_axis: XAxis,
    pub(super) series: Vec<Series>,
}

/// An axis from 0 to `to`, with a tick every `step`.
struct Axis {
    to: f64,
    step: f64,
}

impl Axis {
    /// Returns an axis from 0 to at least `most`, in about five round steps.
    fn up_to(most: f64) -> Self {
        let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
        let rough = most / 5.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power).find(|step| *step >= rough * 0.999);
        let step = step.unwrap_or(rough);
        Self { to: (most / step).ceil() * step, step }
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let count = (self.to / self.step).round() as i32;
        (0..=count).map(move |n| f64::from(n) * self.step)
    }

    fn label(&self, value: f64) -> String {
        let digits = (-self.step.log10().floor()).max(0.0) as usize;
        if digits == 0 { grouped(value) } else { format!("{value:.digits$}") }
    }
}

impl Plot {
    /// Returns the horizontal position of `x` in units of the axis.
    fn x_position(&self, x: f64) -> f64 {
        match self.x_axis {
            XAxis::Time | XAxis::Rate => x,
            XAxis::Quantiles => -(1.0 - x).max(1e-9).log10(),
        }
    }

    fn axes(&self) -> (Axis, Axis) {
        let most = |value: fn(&(f64, f64)) -> f64| {
            self.series.iter().flat_map(|series| &series.points).map(value).fold(0.0, f64::max)
        };
        let x_axis = match self.x_axis {
            XAxis::Time | XAxis::Rate => Axis::up_to(most(|point| point.0)),
            XAxis::Quantiles => {
                Axis { to: self.x_position(most(|point| point.0)).ceil().max(1.0), step: 1.0 }
            }
        };
        (x_axis, Axis::up_to(most(|point| point.1)))
    }

    /// Renders the plot as an SVG element.
    pub(super) fn svg(&self) -> String {
        let (x_axis, y_axis) = self.axes();
        let x =
            |value: f64| LEFT + self.x_position(value).min(x_axis.to) / x_axis.to * (WIDTH - LEFT - RIGHT);
        let y = |value: f64| HEIGHT - BOTTOM - value / y_axis.to * (HEIGHT - TOP - BOTTOM);
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\n\
             <text x=\"{LEFT}\" y=\"16\" class=\"title\">{title} <tspan class=\"unit\">{unit}</tspan></text>\n",
            title = self.title,
            unit = self.unit,
        );
        for value in y_axis.ticks() {
            let (at, right, label) = (y(value), WIDTH - RIGHT, y_axis.label(value));
            let _ = writeln!(
                svg,
                "<path d=\"M{LEFT} {at:.1}H{right}\" class=\"grid\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" class=\"left\">{label}</text>",
                LEFT - 8.0,
                at + 4.0
            );
        }
        for value in x_axis.ticks() {
            let at = LEFT + value / x_axis.to * (WIDTH - LEFT - RIGHT);
            let label = match self.x_axis {
                XAxis::Time => format!("{} s", x_axis.label(value)),
                XAxis::Rate => format!("{}/s", x_axis.label(value)),
                XAxis::Quantiles => quantile_label(value as usize),
            };
            // The last label is centred on the right edge: it is moved to the left until it fits.
            let at = at.min(WIDTH - label.chars().count() as f64 * LETTER / 2.0);
            let _ = writeln!(
                svg,
                "<text x=\"{at:.1}\" y=\"{:.1}\" class=\"below\">{label}</text>",
                HEIGHT - BOTTOM + 18.0
            );
        }
        for (series, colour) in self.series.iter().zip((0..COLOURS).cycle()) {
            let points: Vec<String> =
                series.points.iter().map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1))).collect();
            let _ = writeln!(svg, "<polyline points=\"{}\" class=\"s{colour}\"/>", points.join(" "));
            // A single point makes no line, so that it is drawn as a circle.
            if let [only] = points.as_slice() {
                let (cx, cy) = only.split_once(',').unwrap_or_default();
                let _ = writeln!(svg, "<circle cx=\"{cx}\" cy=\"{cy}\" r=\"3\" class=\"s{colour}\"/>");
            }
        }
        self.legend(&mut svg);
        svg.push_str("</svg>\n");
        svg
    }

    fn legend(&self, svg: &mut String) {
        if self.series.len() < 2 {
            return;
        }
        for (number, series) in self.series.iter().enumerate() {
            let (at, colour) = (LEFT + 80.0 * number as f64, number % COLOURS);
            let _ = writeln!(
                svg,
                "<path d=\"M{at} 30h16\" class=\"s{colour}\" stroke-width=\"3\"/>\
                 <text x=\"{}\" y=\"34\" class=\"key\">{}</text>",
                at + 22.0,
                series.name
            );
        }
    }
}

/// Returns the label of a quantile by its number of nines: 0 → 0 %, 1 → 90 %, 2 → 99 %, 3 → 99.9 % …
fn quantile_label(nines: usize) -> String {
    match nines {
        0 => "0 %".into(),
        1 => "90 %".into(),
        2 => "99 %".into(),
        more => format!("99.{} %", "9".repeat(more - 2)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_on_round_numbers_above_the_most() {
        for (most, to) in
            [(0.0, 1.0), (1.0, 1.0), (7.3, 8.0), (99.0, 100.0), (5_432_100.0, 6_000_000.0), (0.013, 0.015)]
        {
            let axis = Axis::up_to(most);
            assert!((axis.to - to).abs() < to * 1e-9, "{most}: {}", axis.to);
        }
    }

    #[test]
    fn every_point_lies_inside() {
        let points = vec![(0.0, 0.0), (0.5, 10.0), (0.999_999, 123.0)];
        for x_axis in [XAxis::Time, XAxis::Quantiles] {
            let series = vec![
                Series { name: "a", points: points.clone() },
                Series { name: "b", points: vec![(1.0, 1.0)] },
            ];
            let svg = Plot { title: "T", unit: "u", x_axis, series }.svg();
            let lists = svg.split("points=\"").skip(1).map(|rest| rest.split('"').next().unwrap_or_default());
            for point in lists.flat_map(|list| list.split(' ')) {
                let (x, y) = point.split_once(',').expect("a pair");
                let (x, y): (f64, f64) = (x.parse().expect("x"), y.parse().expect("y"));
                assert!(
                    (LEFT..=WIDTH - RIGHT).contains(&x) && (TOP..=HEIGHT - BOTTOM).contains(&y),
                    "{point}"
                );
            }
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    /// The label of the last tick, such as `99.999 %`, is wider than the margin.
    #[test]
    fn every_label_fits_into_the_plot() {
        for (x_axis, most) in [(XAxis::Quantiles, 0.999_999_9), (XAxis::Time, 100_000.0), (XAxis::Rate, 1e7)]
        {
            let series = vec![Series { name: "a", points: vec![(0.0, 1.0), (most, 9_999_999.0)] }];
            let svg = Plot { title: "T", unit: "u", x_axis, series }.svg();
            let texts: Vec<&str> = svg.split("<text x=\"").skip(2).collect();
            assert!(texts.len() > 5, "{svg}");
            for text in texts {
                let (x, rest) = text.split_once('"').expect("an attribute x");
                let x: f64 = x.parse().expect("a number");
                let (attributes, label) = rest.split_once('>').expect("a label");
                let label = label.split_once('<').expect("an end").0;
                let width = label.chars().count() as f64 * LETTER;
                let (from, to) = match attributes.contains("below") {
                    true => (x - width / 2.0, x + width / 2.0),
                    false => (x - width, x),
                };
                assert!(from >= 0.0 && to <= WIDTH, "{label}: from {from} to {to}");
            }
        }
    }

    #[test]
    fn nines_are_written_out() {
        assert_eq!([0, 1, 2, 3, 4].map(quantile_label), ["0 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
    }
}
