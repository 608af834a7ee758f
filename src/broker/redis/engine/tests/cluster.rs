//! A Redis Cluster of three masters.

use std::sync::atomic::Ordering::Relaxed;

use super::servers::Servers;
use super::*;
use crate::broker::redis::topology::slot_of;

fn pair(servers: &Servers, rooms: usize) -> Pair {
    // From one address the others are learnt.
    Pair::start(RedisMode::Cluster, &[servers.address(1)], rooms)
}

/// Returns how many of the rooms are on a server.
fn rooms_on(servers: &Servers, index: usize, rooms: &[RoomName]) -> usize {
    let slot = |room: &RoomName| slot_of(format!("throng:{{{room}}}").as_bytes());
    rooms.iter().filter(|room| servers.master_of(slot(room)) == index).count()
}

#[test]
fn rooms_of_all_masters_are_shared() {
    let servers = Servers::cluster(false);
    let mut pair = pair(&servers, 600);
    for (master, _) in servers.masters() {
        assert!(rooms_on(&servers, master, &pair.rooms) > 100);
        let channels = servers.text(master, "PUBSUB SHARDCHANNELS throng:{*");
        assert_eq!(channels.lines().count(), rooms_on(&servers, master, &pair.rooms));
    }
    pair.say_everywhere();
    pair.say_everywhere();
    pair.check();
    assert!(pair.nodes.iter().all(|node| node.cluster.is_up()));
}

#[test]
fn a_planned_failover_loses_nothing() {
    let servers = Servers::cluster(true);
    let mut pair = pair(&servers, 90);
    pair.say_everywhere();
    let (master, _) = servers.masters()[0];
    let replica = servers.replica_of(master);
    pair.talk_during(|| {
        servers.text(replica, "CLUSTER FAILOVER");
        eventually("the replica is a master", || servers.shows(replica, "INFO replication", "role:master"));
        eventually("the old master is a replica", || {
            servers.shows(master, "INFO replication", "master_link_status:up")
        });
    });
    pair.say_everywhere();
    pair.check();
    assert!(pair.renamed() > 0, "another server is a new epoch");
}

#[test]
fn slots_move_under_load() {
    let servers = Servers::cluster(false);
    let mut pair = pair(&servers, 300);
    pair.say_everywhere();
    let (from, slots) = servers.masters()[0];
    let (to, _) = servers.masters()[1];
    let before = rooms_on(&servers, from, &pair.rooms);
    let [from_id, to_id] = [from, to].map(|index| servers.text(index, "CLUSTER MYID").trim().to_owned());
    let moved = slots / 4;
    pair.talk_during(|| {
        let count = moved.to_string();
        let options = ["--cluster-from", &from_id, "--cluster-to", &to_id, "--cluster-slots", &count];
        let address = servers.address(from);
        let reshard = [&["--cluster", "reshard", &address], &options[..], &["--cluster-yes"]].concat();
        servers.redis_cli(&reshard);
    });
    assert!(rooms_on(&servers, from, &pair.rooms) < before, "no room has moved");
    pair.say_everywhere();
    pair.check();
    let reconnects: u64 = pair.nodes.iter().map(|node| node.cluster.metrics().reconnects.get()).sum();
    assert_eq!(reconnects, 0, "no connection breaks");
    let channels = servers.text(from, "PUBSUB SHARDCHANNELS throng:{*");
    assert_eq!(channels.lines().count(), rooms_on(&servers, from, &pair.rooms));
}

#[test]
fn a_master_without_slots_is_left() {
    let servers = Servers::cluster(false);
    let mut pair = pair(&servers, 60);
    pair.say_everywhere();
    let (from, slots) = servers.masters()[2];
    let (to, _) = servers.masters()[0];
    let [from_id, to_id] = [from, to].map(|index| servers.text(index, "CLUSTER MYID").trim().to_owned());
    pair.talk_during(|| {
        let (address, count) = (servers.address(from), slots.to_string());
        let options = ["--cluster-from", &from_id, "--cluster-to", &to_id, "--cluster-slots", &count];
        let reshard = [&["--cluster", "reshard", &address], &options[..], &["--cluster-yes"]].concat();
        servers.redis_cli(&reshard);
    });
    pair.say_everywhere();
    pair.check();
    eventually("nobody is connected to it", || !servers.text(from, "CLIENT LIST").contains("name=throng-"));
    assert!(pair.nodes.iter().all(|node| node.cluster.is_up()));
}

#[test]
fn a_replica_takes_the_place_of_a_killed_master() {
    let mut servers = Servers::cluster(true);
    let mut pair = pair(&servers, 90);
    pair.say_everywhere();
    pair.check();
    servers.wait_for_replicas();
    let (master, _) = servers.masters()[0];
    let replica = servers.replica_of(master);
    // Nothing is said in this moment, so that the replica has everything.
    servers.kill(master);
    let servers = &servers;
    pair.talk_during(|| {
        eventually("the replica is a master", || {
            servers.shows(replica, "INFO replication", "role:master")
                && servers.shows(replica, "CLUSTER INFO", "cluster_state:ok")
        });
    });
    pair.say_everywhere();
    pair.check();
    assert!(pair.nodes.iter().all(|node| node.cluster.is_up()));
}

#[test]
fn a_node_is_of_use_while_most_masters_and_the_common_keys_are_there() {
    let mut servers = Servers::cluster(false);
    // The others go on without the slots of a master that is gone.
    (0..3).for_each(|index| _ = servers.text(index, "CONFIG SET cluster-require-full-coverage no"));
    let node = TestNode::start(RedisMode::Cluster, &[servers.address(0)]);
    let common = servers.master_of(slot_of(b"throng:{all}:n"));
    let other = (0..3).find(|index| *index != common).unwrap();
    servers.kill(other);
    let reconnects = || node.cluster.metrics().reconnects.get();
    assert_eq!(reconnects(), 0);
    std::thread::sleep(Duration::from_secs(7));
    assert!(node.cluster.is_up(), "one shard of three is missing");
    servers.kill(common);
    eventually("the common keys are missing", || !node.cluster.is_up());
    assert_eq!(node.members().lost.load(Relaxed), 0);
}
