//! Chooses the curves of a report: what changes over time, and latency over percentiles and over the offered rate.

use super::latency::{Summary, Window};
use super::plot::{Plot, Series, XAxis};
use super::report::Report;
use super::sampler::Sample;

/// Returns the plots that have at least one point.
pub(super) fn plots(report: &Report) -> Vec<Plot> {
    let about_handshakes = matches!(report.scenario.as_str(), "connect" | "storm");
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
        Plot { title: rate, unit: "/s", x_axis: XAxis::Time, series: per_second(report) },
        Plot {
            title: "Latency over offered rate",
            unit: "ms, by messages per second",
            x_axis: XAxis::Rate,
            series: vec![
                over_rate(report, "p50", |it| it.p50),
                over_rate(report, "p99", |it| it.p99),
                over_rate(report, "p99.9", |it| it.p999),
            ],
        },
    ];
    plots
        .into_iter()
        .chain(sampled(report))
        .filter(|plot| plot.series.iter().any(|series| !series.points.is_empty()))
        .collect()
}

/// Returns the plots of what is sampled once a second.
fn sampled(report: &Report) -> [Plot; 3] {
    let series = |name, value: fn(&Sample) -> Option<f64>| Series {
        name,
        points: report.samples.iter().filter_map(|it| Some((it.at_s, value(it)?))).collect(),
    };
    let plot = |title, unit, series| Plot { title, unit, x_axis: XAxis::Time, series };
    let total = series("total", |it| Some(it.user_cores? + it.system_cores?));
    let parts = [series("user", |it| it.user_cores), series("system", |it| it.system_cores)];
    let resident = series("resident", |it| it.resident_kib.map(|kib| kib as f64 / 1024.0));
    let queued = series("queued", |it| it.queue_bytes.map(|bytes| bytes as f64 / 1024.0));
    [
        plot("CPU time of the server", "cores", [total].into_iter().chain(parts).collect()),
        plot("Resident memory of the server", "MiB", vec![resident]),
        plot("Queue depth", "KiB in the queues of all clients", vec![queued]),
    ]
}

/// Returns what arrived in each second; of a ramp, also what should have arrived if the server had kept up.
fn per_second(report: &Report) -> Vec<Series> {
    let run = &report.whole_run;
    let receivers = run.expected as f64 / (run.sent as f64).max(1.0);
    let offered = |it: &Window| Some((it.at_s, it.offered_per_s? * receivers));
    let series = |name, points: Vec<(f64, f64)>| Series { name, points };
    let mut all = vec![series("arrived", report.windows.iter().map(|it| (it.at_s, it.per_s)).collect())];
    if report.ramp.is_some() {
        all.push(series("offered", report.windows.iter().filter_map(offered).collect()));
    }
    all
}

/// Returns a percentile over the rate that was offered in each second of a ramp.
fn over_rate(report: &Report, name: &'static str, value: fn(&Summary) -> f64) -> Series {
    let measured = report.windows.iter().filter(|it| it.latency_us.count > 0);
    let points = measured.filter_map(|it| Some((it.offered_per_s?, value(&it.latency_us) / 1e3))).collect();
    Series { name, points }
}
