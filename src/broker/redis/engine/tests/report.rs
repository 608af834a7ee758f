//! The report of a node, which the engine's thread makes for each beat.

use super::*;
use crate::broker::redis::nodes::Report;
use crate::broker::redis::testing::Server;

fn report(counters: impl Fn() -> String + Send + Sync + 'static) -> Report {
    Report { addresses: "10.0.0.1:80".to_owned(), counters: Box::new(counters) }
}

#[test]
fn each_node_gets_the_reports_of_all() {
    let server = Server::start(&[]);
    let address = format!("127.0.0.1:{}", server.port());
    let nodes = [0, 1].map(|_| TestNode::start(RedisMode::Single, std::slice::from_ref(&address)));
    assert!(nodes[1].cluster.overview().nodes.len() == 2, "the second has seen the first");
    nodes[0].cluster.set_report(report(|| "{\"connections\":7}".to_owned()));
    let beats = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&beats);
    nodes[1].cluster.set_report(report(move || {
        counted.fetch_add(1, Relaxed);
        "x".repeat(5_000)
    }));
    eventually("the counters of the first are everywhere", || {
        nodes.iter().all(|node| {
            let overview = node.cluster.overview();
            let mut told =
                overview.nodes.iter().map(|node| (node.details.addresses(), node.details.counters()));
            overview.nodes.len() == 2 && told.any(|told| told == ("10.0.0.1:80", "{\"connections\":7}"))
        })
    });
    eventually("two beats of the second", || beats.load(Relaxed) >= 2);
    let overview = nodes[0].cluster.overview();
    let second = overview.nodes.iter().find(|node| Some(node.incarnation) != overview.own).unwrap();
    assert_eq!(second.details.counters(), "{}", "a report that does not fit is not sent");
    assert_eq!(second.details.version(), env!("CARGO_PKG_VERSION"));
}

/// 1. A report holds the last reference to its node, because all others let go of the node meanwhile.
/// 2. The engine is stopped by its own thread, which must not wait for itself.
#[test]
fn an_engine_that_its_own_thread_drops_ends() {
    let server = Server::start(&[]);
    let address = format!("127.0.0.1:{}", server.port());
    let TestNode { broker, cluster } = TestNode::start(RedisMode::Single, &[address]);
    let last = Arc::new(Mutex::new(Some(cluster)));
    let own = Arc::clone(&last);
    let (dropped, is_dropped) = mpsc::sync_channel(1);
    let counters = move || {
        drop(own.lock().take());
        let _ = dropped.send(());
        "{}".to_owned()
    };
    last.lock().as_ref().expect("it is not dropped yet").set_report(report(counters));
    is_dropped.recv_timeout(PATIENCE).expect("a beat that drops the engine");
    eventually("the engine's thread has ended", || Arc::strong_count(&broker) == 1);
}
