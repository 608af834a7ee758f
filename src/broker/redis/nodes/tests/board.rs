//! The reports and the table that the dashboard and the engine's thread exchange.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{details, node};
use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::nodes::{Board, Overview, Report};

fn report(counters: impl Fn() -> String + Send + Sync + 'static) -> Report {
    Report { addresses: "127.0.0.1:8080".into(), counters: Box::new(counters) }
}

#[test]
fn each_beat_has_the_counters_of_its_moment() {
    let (board, plain) = (Board::default(), details());
    assert_eq!(board.details(&plain), Ok(plain.clone()), "there is no report yet");
    let beats = AtomicU64::new(0);
    board.set_report(report(move || format!("{{\"beats\":{}}}", beats.fetch_add(1, Relaxed))));
    for counters in ["{\"beats\":0}", "{\"beats\":1}"] {
        let details = board.details(&plain).unwrap();
        let told = (details.version(), details.addresses(), details.counters());
        assert_eq!(told, (plain.version(), "127.0.0.1:8080", counters));
    }
    board.set_report(report(String::new));
    assert_eq!(board.details(&plain).unwrap().counters(), "{\"beats\":2}", "the first report counts");
}

#[test]
fn counters_that_do_not_fit_are_refused() {
    for counters in ["x".repeat(4_097), "{\n}".to_owned()] {
        let board = Board::default();
        board.set_report(report(move || counters.clone()));
        let error = board.details(&details()).unwrap_err().to_string();
        assert_eq!(error, "the counters of a node must be one line of at most 4096 bytes of UTF-8");
    }
}

#[test]
fn the_age_of_a_beat_grows_after_the_table_has_arrived() {
    let board = Board::default();
    assert!(board.overview().nodes.is_empty());
    let (old, new) = (node(1, 1_000, true), node(2, 4_000, true));
    let nodes = vec![old.clone(), new.clone()];
    board.set_overview(Overview { nodes, own: Some(Incarnation(2)), engine_ms: 4_000, arrived_ms: 70 });
    let overview = board.overview();
    assert_eq!(overview.nodes.len(), 2);
    assert_eq!((overview.age_ms(&old, 70), overview.age_ms(&new, 70)), (3_000, 0));
    assert_eq!((overview.age_ms(&old, 95), overview.age_ms(&new, 95)), (3_025, 25));
    assert_eq!(overview.age_ms(&node(3, 9_000, true), 60), 0, "clocks that went back");
}
