//! Chaos: every fault of nodes, engine and links, under load, on every topology, judged by the checker.
//!
//! The faults and where they are tried are [data](TABLE). The short form runs the rows of `Form::Always`, one after
//! another on one rig for each topology. With `THRONG_LONG=1` each row has a rig of its own and five minutes, or as
//! many seconds as `THRONG_FAULT_SECONDS` says; with 0, all rows follow one another on one rig.

mod rig;
mod strike;

use std::time::Duration;

use rig::Rig;

use crate::checker::{Rule, check};
use crate::engines::Topology;
use crate::load::Phase;
use crate::load::record::Loss;
use crate::nodes::network::Cut;
use crate::support::{eventually, sized};

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A node is ended with SIGKILL and started again.
    NodeKilled,
    /// A node is stopped with SIGSTOP: in the long form for longer than its lease.
    NodePaused,
    /// A node is ended with SIGTERM and started again, as in a rolling update.
    NodeTerminated,
    /// A master is ended with SIGKILL and started again: with its data, or as the replica of its successor.
    ServerKilled,
    /// A master is stopped with SIGSTOP for five seconds.
    ServerPaused,
    /// A master is stopped with SIGSTOP for thirty seconds.
    ServerPausedLong,
    /// A replica that was cut off for two seconds takes the place of its master.
    CutOffPromoted,
    /// A master starts again without data.
    RestartedEmpty,
    /// A master starts again with the data of two seconds before.
    RestartedOld,
    /// Every connection with subscriptions is ended: `CLIENT KILL TYPE pubsub`.
    SubscribersKilled,
    /// A node does not read for a while, and the engine keeps 64 KiB for a subscriber.
    BufferNarrow,
    /// A master does nothing for a while: `DEBUG SLEEP`.
    ServerAsleep,
    /// The engine forgets the scripts: `SCRIPT FLUSH`.
    ScriptsFlushed,
    /// The meta key of a room is gone, as after an eviction.
    MetaDeleted,
    /// Half of a master's slots move to another.
    SlotsMoved,
    /// A replica takes over on demand.
    FailedOver,
    /// The link between a node and the engine loses every packet in these directions.
    LinkCut(Cut),
}

/// Whether a fault is tried on a topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Always,
    Long,
    /// The topology has no such fault.
    Never,
}

use Form::{Always, Long, Never};

/// Each fault, and whether it is tried on one server, with Sentinels, and in a cluster.
const TABLE: &[(Fault, [Form; 3])] = &[
    (Fault::SubscribersKilled, [Always, Always, Always]),
    (Fault::ScriptsFlushed, [Always, Long, Always]),
    (Fault::NodeKilled, [Always, Always, Always]),
    (Fault::NodePaused, [Always, Long, Long]),
    (Fault::NodeTerminated, [Always, Long, Long]),
    (Fault::BufferNarrow, [Always, Long, Always]),
    (Fault::ServerAsleep, [Always, Long, Long]),
    (Fault::LinkCut(Cut::ToEngine), [Always, Long, Long]),
    (Fault::LinkCut(Cut::ToNode), [Always, Long, Long]),
    (Fault::LinkCut(Cut::Both), [Always, Long, Always]),
    (Fault::ServerPaused, [Always, Always, Always]),
    (Fault::ServerPausedLong, [Long, Long, Long]),
    (Fault::ServerKilled, [Always, Always, Always]),
    (Fault::FailedOver, [Never, Always, Always]),
    (Fault::SlotsMoved, [Never, Never, Always]),
    (Fault::MetaDeleted, [Always, Long, Always]),
    (Fault::CutOffPromoted, [Always, Always, Always]),
    (Fault::RestartedOld, [Always, Long, Long]),
    (Fault::RestartedEmpty, [Always, Long, Always]),
];

impl Fault {
    /// Returns whether the fault may take messages that clients were shown. Nodes without an engine keep everything in
    /// their memory.
    fn loss(self, topology: Option<Topology>) -> Loss {
        match self {
            Self::NodeKilled | Self::NodeTerminated if topology.is_none() => Loss::Must,
            Self::CutOffPromoted | Self::RestartedEmpty | Self::RestartedOld | Self::MetaDeleted => {
                Loss::Must
            }
            Self::ServerKilled => Loss::May,
            // The others promote a replica meanwhile, which may lack the last messages.
            Self::ServerPaused | Self::ServerPausedLong | Self::ServerAsleep
                if topology != Some(Topology::Single) =>
            {
                Loss::May
            }
            // Sentinels do not wait for the replica. A cluster does.
            Self::FailedOver if topology == Some(Topology::Sentinel) => Loss::May,
            _ => Loss::None,
        }
    }
}

/// Returns the faults of a topology in the order of the table.
fn faults(topology: Topology, is_long: bool) -> Vec<Fault> {
    let is_tried = |form: Form| form == Always || is_long && form == Long;
    let rows = TABLE.iter().filter(|(_, forms)| is_tried(forms[topology as usize]));
    rows.map(|(fault, _)| *fault).collect()
}

/// Runs all faults of a topology under the checker.
fn run(topology: Topology) {
    if sized(0, 1) == 0 {
        return Rig::start(Some(topology)).try_all(&faults(topology, false), Duration::ZERO);
    }
    let seconds = std::env::var("THRONG_FAULT_SECONDS").map_or(300, |text| text.parse().expect("a number"));
    if seconds == 0 {
        return Rig::start(Some(topology)).try_all(&faults(topology, true), Duration::ZERO);
    }
    for fault in faults(topology, true) {
        println!("{topology:?}: {fault:?}");
        Rig::start(Some(topology)).try_all(&[fault], Duration::from_secs(seconds));
    }
}

/// Makes a test of each topology.
macro_rules! tests_of_the_engine {
    ($($name:ident: $topology:expr;)*) => {
        $(#[test] fn $name() { run($topology) })*
        /// The topologies that have a test.
        const TESTED: &[Topology] = &[$($topology),*];
    };
}

tests_of_the_engine! {
    one_server_keeps_every_promise: Topology::Single;
    sentinels_keep_every_promise: Topology::Sentinel;
    a_cluster_keeps_every_promise: Topology::Cluster;
}

#[test]
fn one_node_in_memory_keeps_every_promise() {
    let faults = [Fault::NodePaused, Fault::NodeTerminated, Fault::NodeKilled];
    Rig::start(None).try_all(&faults, Duration::ZERO);
}

#[test]
fn the_restart_of_a_node_in_memory_is_noticed_as_a_loss() {
    let Rig { mut nodes, crowd, .. } = Rig::start(None);
    // Only when all are in and some messages were sent there is something to lose.
    assert_eq!(crowd.settle(Duration::from_secs(60)), Ok(()));
    crowd.set_phase(Phase::Talk);
    eventually("messages are kept", || nodes.node(0).metric("throng_deliveries_total", "") > 500.0);
    nodes.kill(0);
    let address = nodes.restart(0);
    crowd.set_node(0, address);
    assert_eq!(crowd.settle(Duration::from_secs(60)), Ok(()));
    let verdict = check(&crowd.leave());
    assert!(verdict.violations.iter().all(|violation| violation.rule == Rule::Loss), "{verdict}");
    assert!(verdict.count > 10, "no fault was announced: {verdict}");
}

#[test]
fn every_fault_has_a_topology_and_every_topology_its_tests() {
    assert_eq!(TESTED.len(), 3);
    for (fault, forms) in TABLE {
        assert!(forms.contains(&Always) || forms.contains(&Long), "{fault:?} is never tried");
    }
    for &topology in TESTED {
        let (short, long) = (faults(topology, false), faults(topology, true));
        assert!(short.len() < long.len() && short.iter().all(|fault| long.contains(fault)));
    }
    let cluster = faults(Topology::Cluster, true);
    assert_eq!(cluster.len(), TABLE.len(), "a cluster has every fault");
}
