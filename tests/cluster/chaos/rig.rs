//! The rig of a run: an engine, three nodes in namespaces of their own where the machine allows it, the clients, and
//! the order in which they are started, broken, judged and ended.

use std::time::{Duration, Instant};

use super::Fault;
use crate::checker::{check, leftovers};
use crate::engines::{Engine, Options, Topology};
use crate::load::observer::wait_for_presence;
use crate::load::record::Loss;
use crate::load::{Crowd, Phase, World};
use crate::nodes::Nodes;
use crate::nodes::network::Network;
use crate::support::{eventually, sized};

/// Nodes on an engine. Without one there is a single node.
const NODES: usize = 3;

/// Time within which all clients must be back and at one position after a fault.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// Time within which all nodes must show the same members after a fault.
const PRESENCE_WITHIN: Duration = Duration::from_secs(15);

/// A running system under load.
pub(super) struct Rig {
    pub(super) engine: Option<Engine>,
    pub(super) nodes: Nodes,
    pub(super) crowd: Crowd,
    pub(super) world: World,
}

impl Rig {
    /// Starts nodes on an engine, or one without, and the clients.
    #[track_caller]
    pub(super) fn start(topology: Option<Topology>) -> Self {
        let world = World::usual();
        let network = topology.and_then(|_| match Network::new(NODES) {
            Ok(network) => Some(network),
            Err(problem) => {
                println!("no links are cut: {problem}");
                None
            }
        });
        let engine = topology.map(|topology| {
            let mut options = Options { replicas: true, ..Options::default() };
            if let Some(network) = &network {
                options.host = network.engine();
            }
            Engine::with(topology, options)
        });
        let settings = engine.as_ref().map(Engine::settings).unwrap_or_default();
        let nodes = match (network, &engine) {
            (Some(network), _) => Nodes::start_apart(network, settings),
            (None, Some(_)) => Nodes::start(NODES, settings),
            (None, None) => Nodes::start(1, settings),
        };
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let crowd = Crowd::start(world, nodes.addresses(), seed);
        Self { engine, nodes, crowd, world }
    }

    /// Tries faults one after another, each again and again until `each` is over, and judges the run.
    #[track_caller]
    pub(super) fn try_all(mut self, faults: &[Fault], each: Duration) {
        let topology = self.engine.as_ref().map(Engine::topology);
        self.crowd.fault("the start", Loss::None);
        self.settle("the start");
        let mut data_sets = self.data_sets();
        for fault in faults {
            if matches!(fault, Fault::LinkCut(_)) && self.nodes.network().is_none() {
                println!("skipped: {fault:?}");
                continue;
            }
            let deadline = Instant::now() + each;
            loop {
                self.crowd.set_phase(Phase::Talk);
                self.wait(1500, 5000);
                self.notice_failover(&mut data_sets);
                self.crowd.fault(&format!("{fault:?}"), fault.loss(topology));
                self.strike(*fault);
                self.heal();
                self.wait(500, 5000);
                self.settle(&format!("{fault:?}"));
                if *fault == Fault::FailedOver {
                    // This one changes the data set on purpose, and a cluster loses nothing by it.
                    data_sets = self.data_sets();
                }
                if Instant::now() >= deadline {
                    break;
                }
            }
        }
        self.notice_failover(&mut data_sets);
        self.finish();
    }

    fn data_sets(&self) -> Vec<String> {
        self.engine.as_ref().map(Engine::data_sets).unwrap_or_default()
    }

    /// Allows for a failover that no fault was to bring about: on a machine that is too busy, a master can look dead.
    fn notice_failover(&self, known: &mut Vec<String>) {
        let now = self.data_sets();
        if now != *known {
            *known = now;
            self.crowd.allow_loss();
        }
    }

    /// Lets the load go on for some milliseconds: fewer in the short form.
    pub(super) fn wait(&self, short: usize, long: usize) {
        std::thread::sleep(Duration::from_millis(sized(short, long) as u64));
    }

    /// Lets everybody settle, and checks that all nodes show the members that are there.
    #[track_caller]
    fn settle(&self, after: &str) {
        let settled = self.crowd.settle(SETTLED_WITHIN).and_then(|()| {
            let rooms =
                self.world.room_names().into_iter().map(|room| (room.clone(), self.crowd.members(&room)));
            wait_for_presence(&self.nodes.addresses(), &rooms.collect(), PRESENCE_WITHIN)
        });
        if let Err(problem) = settled {
            panic!("after {after}: {problem}\n{}", check(&self.crowd.recorded()));
        }
    }

    /// Lets everybody leave, judges the record, and looks for what is left over.
    #[track_caller]
    fn finish(self) {
        let Self { engine, mut nodes, crowd, .. } = self;
        let entries = crowd.leave();
        let verdict = check(&entries);
        println!("{:?}", verdict.counts);
        verdict.expect_clean();
        let counts = verdict.counts;
        assert!(counts.acked > 100 && counts.recovered > 20 && counts.messages > 500, "{counts:?}");
        for index in 0..nodes.len() {
            let left = || leftovers::in_node(&nodes.node(index).metrics());
            eventually(&format!("node {index} has nothing left"), || left().is_empty());
        }
        let Some(engine) = engine else { return nodes.terminate(0) };
        // The dead have a lease of ten seconds, and then the living clear what they have left.
        eventually("every node knows that only the living are there", || {
            (0..nodes.len()).all(|index| nodes.node(index).metric("throng_nodes", "") == nodes.len() as f64)
        });
        for index in 0..nodes.len() {
            nodes.terminate(index);
        }
        let left = leftovers::in_engine(&engine.keys(), &engine.channels());
        assert!(left.is_empty(), "left in the engine: {left:#?}");
    }
}
