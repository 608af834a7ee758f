//! The steps of each fault, and the wait until the system is whole again.

use std::time::Duration;

use super::Fault;
use super::rig::Rig;
use crate::engines::{Engine, Topology, slowly};
use crate::support::eventually;

/// Payload that fills a subscriber's buffer: of a kind that nodes do not know and ignore.
const JUNK: usize = 32 << 10;
/// Payloads that are more than the buffers of the kernel and the limit of the engine together.
const JUNK_COUNT: usize = 500;

impl Rig {
    #[track_caller]
    fn engine(&mut self) -> &mut Engine {
        self.engine.as_mut().expect("a fault of the engine needs one")
    }

    /// Returns a master that has many rooms, and its replica.
    #[track_caller]
    fn pair(&mut self) -> (usize, usize) {
        let engine = self.engine();
        let master = engine.busiest_master();
        (master, engine.replica_of(master).expect("every master has a replica"))
    }

    /// Returns how many rooms the nodes have found lost.
    fn rooms_lost(&self) -> f64 {
        let lost = |index| self.nodes.node(index).metric("throng_engine_forks_total", "lost=\"true\"");
        (0..self.nodes.len()).map(lost).sum()
    }

    /// Lets a fault happen and ends it.
    #[track_caller]
    pub(super) fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::NodeKilled | Fault::NodePaused | Fault::NodeTerminated => self.strike_node(fault),
            Fault::LinkCut(cut) => {
                self.nodes.network().expect("only tried with a network").cut(0, cut);
                self.wait(4000, 30_000);
                self.nodes.network().expect("only tried with a network").mend(0);
            }
            Fault::BufferNarrow => {
                self.engine().narrow_subscribers(true);
                self.nodes.pause(0);
                self.engine().flood("room-0", JUNK, JUNK_COUNT);
                self.nodes.resume(0);
                self.engine().narrow_subscribers(false);
            }
            Fault::SubscribersKilled => {
                let cut = self.engine().kill_subscribers();
                assert!(cut > 0, "no node was subscribed");
            }
            Fault::ScriptsFlushed => {
                for _ in 0..3 {
                    self.engine().flush_scripts();
                    self.wait(300, 2000);
                }
            }
            Fault::MetaDeleted => {
                let before = self.rooms_lost();
                assert!(self.engine().delete_meta("room-0"), "the room has no meta key");
                // With the next message in the room a node finds that it has begun anew.
                eventually("a node has noticed", || self.rooms_lost() > before);
            }
            Fault::SlotsMoved => {
                let engine = self.engine();
                let from = engine.busiest_master();
                let to = engine.masters().into_iter().find(|index| *index != from).expect("another master");
                engine.move_slots(from, to, engine.slots(from) / 2);
            }
            _ => self.strike_server(fault),
        }
    }

    #[track_caller]
    fn strike_node(&mut self, fault: Fault) {
        let index = fastrand::usize(..self.nodes.len());
        match fault {
            Fault::NodePaused => {
                self.nodes.pause(index);
                // A node without an engine has no lease, and nobody else to take its clients.
                self.wait(if self.engine.is_some() { 12_000 } else { 3000 }, 30_000);
                return self.nodes.resume(index);
            }
            Fault::NodeKilled => self.nodes.kill(index),
            _ => self.nodes.terminate(index),
        }
        self.wait(2000, 15_000);
        let address = self.nodes.restart(index);
        self.crowd.set_node(index, address);
    }

    #[track_caller]
    fn strike_server(&mut self, fault: Fault) {
        let (master, replica) = self.pair();
        let is_single = self.engine().topology() == Topology::Single;
        match fault {
            Fault::ServerKilled => {
                self.engine().kill(master);
                if is_single {
                    self.wait(2000, 5000);
                } else {
                    self.engine().wait_for_successor(master, replica);
                }
                self.engine().restart(master);
            }
            Fault::ServerPaused | Fault::ServerPausedLong => {
                self.engine().pause(master);
                let length = if fault == Fault::ServerPaused { 5000 } else { 30_000 };
                self.wait(length, length);
                self.engine().resume(master);
            }
            Fault::ServerAsleep => {
                let asleep = self.engine().sleep(master, Duration::from_millis(1500));
                self.wait(2000, 2000);
                drop(asleep);
            }
            Fault::CutOffPromoted => {
                self.engine().cut_off(replica);
                self.wait(2000, 2000);
                self.engine().promote_cut_off(master, replica);
            }
            Fault::RestartedEmpty => self.engine().restart_empty(master),
            Fault::RestartedOld => {
                let snapshot = self.engine().snapshot(master);
                self.wait(2000, 2000);
                self.engine().restart_from(master, &snapshot);
            }
            Fault::FailedOver => self.engine().fail_over(master, replica),
            other => unreachable!("{other:?} is no fault of one server"),
        }
    }

    /// Waits until the engine is whole and every node is ready.
    #[track_caller]
    pub(super) fn heal(&mut self) {
        if let Some(engine) = &self.engine {
            slowly("the engine is whole", || engine.is_whole());
        }
        self.nodes.wait_ready();
    }
}
