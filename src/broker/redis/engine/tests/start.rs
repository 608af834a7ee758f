//! Starts that fail say what is wrong.

use super::servers::Servers;
use super::*;
use crate::broker::redis::testing::Server;

#[track_caller]
fn error(mode: RedisMode, addresses: &[String]) -> String {
    let started = TestNode::try_start(mode, addresses, |config| {
        config.redis.patience = Duration::from_millis(100);
    });
    started.err().expect("it does not start").to_string()
}

#[test]
fn a_mode_that_does_not_fit_the_servers_is_named() {
    let single = Server::start(&[]);
    let address = format!("127.0.0.1:{}", single.port());
    assert_eq!(
        error(RedisMode::Cluster, std::slice::from_ref(&address)),
        format!(
            "the engine at {address} cannot be used: {address}: the server is not part of a Redis Cluster: \
             set redis.mode to \"single\" or \"sentinel\""
        )
    );
    assert!(
        error(RedisMode::Sentinel, std::slice::from_ref(&address))
            .contains(&format!("{address}: the server refuses SENTINEL"))
    );
    let cluster = Server::start_cluster();
    let address = format!("127.0.0.1:{}", cluster.port());
    assert_eq!(
        error(RedisMode::Single, std::slice::from_ref(&address)),
        format!(
            "the engine at {address} cannot be used: the server is part of a Redis Cluster: \
             set redis.mode to \"cluster\""
        )
    );
}

#[test]
fn an_unknown_master_and_missing_slots_are_named() {
    let servers = Servers::sentinels();
    let started = TestNode::try_start(RedisMode::Sentinel, &[servers.address(2)], |config| {
        config.redis.patience = Duration::from_millis(100);
        config.redis.master_name = Some("other".to_owned());
    });
    let error_of_name = started.err().expect("it does not start").to_string();
    assert!(error_of_name.contains("it knows no redis.master_name \"other\""), "{error_of_name}");

    let empty = Server::start_cluster_without_slots();
    let address = format!("127.0.0.1:{}", empty.port());
    assert!(error(RedisMode::Cluster, std::slice::from_ref(&address)).contains("no server has slots"));
    let mut connection = empty.connect();
    let _: () = redis::cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(0).arg(16_000).query(&mut connection).unwrap();
    let error_of_slots = error(RedisMode::Cluster, &[address]);
    assert!(error_of_slots.contains("383 of the cluster's slots have no master"), "{error_of_slots}");
}

#[test]
fn a_cluster_of_one_server_that_knows_no_address_of_its_own_is_used() {
    let server = Server::start_cluster();
    let mut pair = Pair::start(RedisMode::Cluster, &[format!("127.0.0.1:{}", server.port())], 20);
    pair.say_everywhere();
    pair.check();
}
