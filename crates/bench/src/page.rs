//! Renders the report as one HTML file with its table and plots. The file has no script and loads nothing.

use super::latency::{Summary, Window};
use super::plot::{Plot, Series, XAxis};
use super::report::Report;
use super::sampler::Sample;

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;max-width:760px;margin:2em auto;padding:0 1em;color:#222;background:#fff}
table{border-collapse:collapse;width:100%}th{text-align:left;font-weight:600;padding:.2em 1em .2em 0;
vertical-align:top;white-space:nowrap}td{padding:.2em 0;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
tr{border-bottom:1px solid #eee}svg{width:100%;margin-top:1.5em}polyline{fill:none;stroke-width:2}
.grid{stroke:#e4e4e4}text{font-size:12px;fill:#444}.title{font-size:15px;font-weight:600;fill:#222}
.unit{font-weight:400;font-size:12px;fill:#666}.left{text-anchor:end}.below{text-anchor:middle}
.bad{color:#a40000}";

/// Returns the whole page.
pub(super) fn html(report: &Report) -> String {
    let rows: String = report
        .rows()
        .iter()
        .map(|(name, value)| format!("<tr><th>{name}</th><td>{}</td></tr>\n", escaped(value)))
        .collect();
    let failures: String =
        report.failures().iter().map(|what| format!("<p class=\"bad\">{}</p>\n", escaped(what))).collect();
    let plots: String = plots(report).iter().map(Plot::svg).collect();
    let title = format!("throng bench {}", report.scenario);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
         <h1>{title}</h1>\n{failures}<table>\n{rows}</table>\n{plots}</html>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Returns the plots that have at least one point.
fn plots(report: &Report) -> Vec<Plot> {
    let about_handshakes = matches!(report.scenario, "connect" | "storm");
    let (latency, distribution, rate) = if about_handshakes {
        ("Handshake latency over time", "Handshake latency distribution", "Handshakes per second")
    } else {
        ("Latency over time", "Latency distribution", "Deliveries per second")
    };
    let over_time = |name, value: fn(&Summary) -> f64| Series {
        name,
        points: report
            .windows
            .iter()
            .filter(|it| it.latency_us.count > 0)
            .map(|it| (it.at_s, value(&it.latency_us) / 1e3))
            .collect(),
    };
    let per_second = |it: &Window| (it.at_s, it.per_s);
    let sampled = |value: fn(&Sample) -> Option<f64>| -> Vec<(f64, f64)> {
        report.samples.iter().filter_map(|it| Some((it.at_s, value(it)?))).collect()
    };
    let plots = [
        Plot {
            title: latency,
            unit: "ms",
            x_axis: XAxis::Time,
            series: vec![
                over_time("p50", |it| it.p50),
                over_time("p90", |it| it.p90),
                over_time("p99", |it| it.p99),
                over_time("p99.9", |it| it.p999),
                over_time("max", |it| it.max),
            ],
        },
        Plot {
            title: distribution,
            unit: "ms, by percentile",
            x_axis: XAxis::Quantiles,
            series: vec![Series {
                name: "all",
                points: report.distribution.iter().map(|(quantile, us)| (*quantile, us / 1e3)).collect(),
            }],
        },
        Plot {
            title: rate,
            unit: "/s",
            x_axis: XAxis::Time,
            series: vec![Series { name: "all", points: report.windows.iter().map(per_second).collect() }],
        },
        Plot {
            title: "CPU time of the server",
            unit: "cores",
            x_axis: XAxis::Time,
            series: vec![
                Series { name: "total", points: sampled(|it| Some(it.user_cores? + it.system_cores?)) },
                Series { name: "user", points: sampled(|it| it.user_cores) },
                Series { name: "system", points: sampled(|it| it.system_cores) },
            ],
        },
        Plot {
            title: "Resident memory of the server",
            unit: "MiB",
            x_axis: XAxis::Time,
            series: vec![Series {
                name: "resident",
                points: sampled(|it| it.resident_kib.map(|kib| kib as f64 / 1024.0)),
            }],
        },
        Plot {
            title: "Queue depth",
            unit: "KiB in the queues of all clients",
            x_axis: XAxis::Time,
            series: vec![Series {
                name: "queued",
                points: sampled(|it| it.queue_bytes.map(|bytes| bytes as f64 / 1024.0)),
            }],
        },
    ];
    plots.into_iter().filter(|plot| plot.series.iter().any(|series| !series.points.is_empty())).collect()
}
