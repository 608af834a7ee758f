//! A model of three nodes that share a directory, with delayed and lost messages, crashes, pauses, broken links, and
//! an engine that is away or loses its data.
//!
//! The model runs the nodes' own tables and the calls as they are, on the engine in memory. It checks that no user has
//! two open connections for longer than a takeover takes, and that nothing is left of dead nodes and ended connections.

mod node;
mod world;

use std::env;

use world::{Counts, Fault, World};

/// Runs one seed, and returns what is wrong.
fn run(seed: u64, fault: Fault) -> Result<Counts, String> {
    World::new(seed, fault).run()
}

#[test]
fn no_user_is_on_two_nodes_and_nothing_is_left_of_the_dead() {
    let seeds = if env::var_os("THRONG_LONG").is_some() { 1_000 } else { 150 };
    let mut counts = Counts::default();
    for seed in 0..seeds {
        match run(seed, Fault::None) {
            Ok(more) => counts += more,
            Err(wrong) => panic!("seed {seed}: {wrong}"),
        }
    }
    println!("{counts:?}");
    let Counts { opened, refused, replaced, crashed, anew, probed_dead } = counts;
    let enough = [(opened, 50), (refused, 10), (replaced, 20), (crashed, 1), (anew, 1), (probed_dead, 3)];
    assert!(enough.iter().all(|(count, of_a_seed)| *count > of_a_seed * seeds), "{counts:?}");
}

#[test]
fn each_rule_is_needed() {
    for fault in [Fault::TellsOnce, Fault::ForgetsReplaced, Fault::GoesOnAfterDeath, Fault::NeverRepeats] {
        let found = (0..300).find_map(|seed| run(seed, fault).err());
        let found = found.unwrap_or_else(|| panic!("{fault:?} is not noticed"));
        println!("{fault:?}: {found}");
    }
}
