//! A master with a replica, which Sentinels watch.

use super::servers::Servers;
use super::*;

#[test]
fn the_master_that_sentinels_name_is_used_also_after_a_failover() {
    let mut servers = Servers::sentinels();
    let sentinels = [2, 3, 4].map(|index| servers.address(index));
    let mut pair = Pair::start(RedisMode::Sentinel, &sentinels, 50);
    pair.say_everywhere();
    pair.check();
    servers.wait_for_replicas();
    // The Sentinel that was asked last is gone, too.
    servers.kill(0);
    servers.kill(2);
    let servers = &servers;
    pair.talk_during(|| {
        eventually("the replica is the master", || servers.shows(1, "INFO replication", "role:master"));
    });
    pair.say_everywhere();
    pair.check();
    assert!(pair.renamed() > 0, "another server is a new epoch");
}

#[test]
fn a_failover_on_demand_is_followed() {
    let servers = Servers::sentinels();
    let mut pair = Pair::start(RedisMode::Sentinel, &[servers.address(4)], 20);
    pair.say_everywhere();
    pair.check();
    servers.wait_for_replicas();
    servers.text(3, &format!("SENTINEL FAILOVER {}", servers::MASTER_NAME));
    eventually("the replica is the master", || servers.shows(1, "INFO replication", "role:master"));
    eventually("the master is a replica", || servers.shows(0, "INFO replication", "master_link_status:up"));
    pair.say_everywhere();
    pair.check();
}
