//! Renders the report as one HTML file with its table and plots. The file has no script and loads nothing.

use super::curves::plots;
use super::format::Row;
use super::plot::Plot;
use super::report::Report;

/// Colours are variables, so that the page suits a dark screen too.
const STYLE: &str = "\
:root{color-scheme:light dark;--text:#222;--soft:#555;--back:#fff;--line:#e4e4e4;--bad:#a40000;--card:#f7f7f8;
--c0:#0072b2;--c1:#d98a00;--c2:#d55e00;--c3:#009e73;--c4:#b85f95}
@media(prefers-color-scheme:dark){:root{--text:#e8e8ea;--soft:#a8a8b0;--back:#16171b;--line:#34363d;--bad:#ff8a80;
--card:#1e2026;--c0:#5ab4ee;--c1:#f0b040;--c2:#ff8a4c;--c3:#35c89a;--c4:#e39cc4}}
body{font:15px/1.5 system-ui,sans-serif;max-width:760px;margin:2em auto;padding:0 1em;color:var(--text);
background:var(--back)}body.broad{max-width:1080px}
h1{font-size:1.5em;line-height:1.25}h2{font-size:1.2em;margin-top:2em}
h3{font-size:1em;margin-bottom:.3em}table{border-collapse:collapse;width:100%}
th{text-align:left;font-weight:600;padding:.2em 1em .2em 0;vertical-align:top;white-space:nowrap}
td{padding:.2em 0;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}tr{border-bottom:1px solid var(--line)}
svg{width:100%;margin-top:1.5em}polyline{fill:none;stroke-width:2}.grid{stroke:var(--line)}
text{font-size:12px;fill:var(--soft)}.title{font-size:15px;font-weight:600;fill:var(--text)}
.unit{font-weight:400;font-size:12px;fill:var(--soft)}.left{text-anchor:end}.below{text-anchor:middle}
.bad{color:var(--bad)}.legend,.about{color:var(--soft)}.about{margin:.1em 0}
.note{border-left:3px solid var(--c1);padding-left:.8em}
polyline.s0,path.s0{stroke:var(--c0)}polyline.s1,path.s1{stroke:var(--c1)}polyline.s2,path.s2{stroke:var(--c2)}
polyline.s3,path.s3{stroke:var(--c3)}polyline.s4,path.s4{stroke:var(--c4)}
circle.s0,rect.s0{fill:var(--c0)}circle.s1,rect.s1{fill:var(--c1)}circle.s2,rect.s2{fill:var(--c2)}
circle.s3,rect.s3{fill:var(--c3)}circle.s4,rect.s4{fill:var(--c4)}
.whisker{stroke:var(--text);stroke-width:1.5;fill:none}
.figures{margin-top:1em}
.figures,.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,21em),1fr));gap:1em}
.plots{grid-template-columns:repeat(auto-fit,minmax(min(100%,30em),1fr))}.plots text{font-size:15px}
.plots .title{font-size:18px}
.figures svg,.plots svg{margin:0;padding:.8em;box-sizing:border-box;background:var(--card);border-radius:8px}
.figures text{font-size:13px}.figures .title{font-size:16px}.figures .key{font-weight:600;fill:var(--text)}
.figures .left{fill:var(--text)}
.wide{overflow-x:auto}
.figures-table td,.figures-table thead th{text-align:right;white-space:nowrap;padding:.2em 0 .2em 1em}
.figures-table .group th{padding-top:.9em}.figures-table tr:not(.group) th{font-weight:400}";

/// Returns the page of a run.
pub(super) fn html(report: &Report) -> String {
    let failures: String =
        report.failures().iter().map(|what| format!("<p class=\"bad\">{}</p>\n", escaped(what))).collect();
    let plots: String = plots(report).iter().map(Plot::svg).collect();
    let (table, metadata) = (rows(&report.rows()), rows(&report.environment.rows()));
    let body = format!(
        "{failures}<table>\n{table}</table>\n{plots}<h2>How it was measured</h2>\n<table>\n{metadata}</table>\n"
    );
    document(&format!("throng bench {}", report.scenario), "narrow", &body)
}

/// Returns a whole page around its content.
pub(super) fn document(title: &str, class: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
         <body class=\"{class}\">\n<h1>{title}</h1>\n{body}</html>\n"
    )
}

/// Returns rows of a table with a name and a value each.
pub(super) fn rows(rows: &[Row]) -> String {
    rows.iter()
        .map(|(name, value)| format!("<tr><th>{name}</th><td>{}</td></tr>\n", escaped(value)))
        .collect()
}

/// Escapes text for HTML and SVG.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
