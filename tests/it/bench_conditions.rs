//! `throng bench --fail-if`: a run that is too slow fails, and says by how much.

use crate::bench::SHORT;
use crate::support::server::run;

/// Runs a short fan-out with conditions; returns the exit code and the words on standard error.
fn fanout(conditions: &[&str]) -> (Option<i32>, String) {
    let conditions = conditions.iter().flat_map(|condition| ["--fail-if", condition]);
    let arguments: Vec<_> = ["bench", "fanout", "-c", "10", "--quiet"]
        .into_iter()
        .chain(SHORT.iter().copied())
        .chain(conditions)
        .collect();
    let output = run(&arguments, &[]);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_run_fails_where_a_condition_holds_and_passes_where_none_does() {
    let (code, said) =
        fanout(&["p99>10s", "p50<0us", "cpu>1s", "deliveries<1", "messages<1", "memory>100000"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = fanout(&["p99>10s", "p50>0us", "deliveries<1000000000"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("--fail-if p50>0us: it is ") && said.contains("--fail-if deliveries<1000000000: "),
        "{said}"
    );
    assert!(!said.contains("p99"), "{said}");
}

#[test]
fn a_condition_that_is_none_is_wrong_usage() {
    let (code, said) = fanout(&["p99>5"]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("must be a figure, < or >, and a number"), "{said}");
}
