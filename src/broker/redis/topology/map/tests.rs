//! The map of hash slots: the answers of several versions of servers.

use bytes::Bytes;

use super::*;

fn word(word: &str) -> Reply {
    Reply::Bytes(Bytes::copy_from_slice(word.as_bytes()))
}

fn map(pairs: Vec<(&str, Reply)>) -> Reply {
    Reply::Map(pairs.into_iter().map(|(key, value)| (word(key), value)).collect())
}

fn node(port: i64, role: &str, health: &str) -> Vec<(&'static str, Reply)> {
    vec![
        ("id", word("8fe35e9842465f59f95180b331c3ca303c9b5c4f")),
        ("port", Reply::Int(port)),
        ("ip", word("10.0.0.1")),
        ("endpoint", word("10.0.0.1")),
        ("role", word(role)),
        ("replication-offset", Reply::Int(0)),
        ("health", word(health)),
    ]
}

fn shard(slots: &[i64], nodes: Vec<Vec<(&str, Reply)>>) -> Reply {
    let slots = slots.iter().copied().map(Reply::Int).collect();
    map(vec![("slots", Reply::Array(slots)), ("nodes", Reply::Array(nodes.into_iter().map(map).collect()))])
}

fn asked() -> Address {
    Address { host: "asked".into(), port: 1 }
}

fn parse(shards: Vec<Reply>) -> Result<SlotMap, BadMap> {
    SlotMap::parse(&Reply::Array(shards), &asked(), false)
}

fn owner(map: &SlotMap, slot: u16) -> Option<String> {
    map.owner(slot).map(ToString::to_string)
}

#[test]
fn slots_belong_to_masters_and_replicas_are_only_known() {
    let map = parse(vec![
        shard(&[8000, 16383], vec![node(7002, "master", "online")]),
        shard(&[0, 99, 200, 7999], vec![node(7003, "replica", "online"), node(7001, "master", "online")]),
        shard(&[], vec![node(7009, "master", "online")]),
    ])
    .unwrap();
    let ports = |addresses: &[Address]| addresses.iter().map(|address| address.port).collect::<Vec<_>>();
    assert_eq!(ports(map.masters()), [7001, 7002], "a master without slots is not used");
    assert_eq!(ports(map.servers()), [7001, 7002, 7003, 7009]);
    for (slot, port) in [(0, 7001), (99, 7001), (200, 7001), (7999, 7001), (8000, 7002), (16383, 7002)] {
        assert_eq!(owner(&map, slot), Some(format!("10.0.0.1:{port}")), "{slot}");
    }
    assert_eq!([100, 199, 16384].map(|slot| owner(&map, slot)), [None, None, None]);
    assert_eq!(map.count(|address| address.port == 7001), 100 + 7800);
    assert_eq!(map.count(|_| true), 16_384 - 100);
}

#[test]
fn a_master_that_failed_gives_way_to_the_one_that_took_its_slots() {
    let failed = || node(7001, "master", "fail");
    // Valkey and Redis 7.2 show both in one shard.
    let map = parse(vec![shard(&[0, 16383], vec![failed(), node(7002, "master", "online")])]).unwrap();
    assert_eq!(map.masters().len(), 1);
    assert_eq!(owner(&map, 5).as_deref(), Some("10.0.0.1:7002"));
    // Until then the slots are its own.
    let map = parse(vec![shard(&[0, 16383], vec![failed(), node(7002, "replica", "online")])]).unwrap();
    assert_eq!(owner(&map, 5).as_deref(), Some("10.0.0.1:7001"));
}

#[test]
fn the_preferred_endpoint_and_the_port_of_tls_are_used() {
    let with = |name: &'static str, value: Reply| {
        let mut node = node(7001, "master", "online");
        node.push(("tls-port", Reply::Int(7101)));
        node.push(("hostname", word("redis-1.example")));
        node.retain(|(key, _)| *key != name);
        if value != Reply::Int(-1) {
            node.push((name, value));
        }
        Reply::Array(vec![shard(&[0, 16383], vec![node])])
    };
    let address = |reply: &Reply, is_tls| {
        let map = SlotMap::parse(reply, &asked(), is_tls).unwrap();
        owner(&map, 0)
    };
    let of = |host: &str, port: u16| Some(format!("{host}:{port}"));
    assert_eq!(address(&with("x", Reply::Int(-1)), true), of("10.0.0.1", 7101));
    assert_eq!(address(&with("endpoint", word("redis-1.example")), false), of("redis-1.example", 7001));
    assert_eq!(address(&with("endpoint", Reply::Int(-1)), false), of("redis-1.example", 7001));
    for unknown in [Reply::Nil, word("?"), word("")] {
        assert_eq!(address(&with("endpoint", unknown), false), of("asked", 7001));
    }
    for none in [with("port", Reply::Int(-1)), with("port", Reply::Int(0))] {
        assert_eq!(address(&none, false), None);
    }
    assert_eq!(address(&with("port", Reply::Int(-1)), true), of("10.0.0.1", 7101));
}

#[test]
fn flat_lists_of_the_second_version_of_the_protocol_are_read() {
    fn flat(reply: Reply) -> Reply {
        match reply {
            Reply::Map(pairs) => {
                Reply::Array(pairs.into_iter().flat_map(|(key, value)| [key, flat(value)]).collect())
            }
            Reply::Array(items) => Reply::Array(items.into_iter().map(flat).collect()),
            Reply::Int(number) => word(&number.to_string()),
            other => other,
        }
    }
    let shards = Reply::Array(vec![shard(&[0, 16383], vec![node(7001, "master", "online")])]);
    let map = SlotMap::parse(&flat(shards), &asked(), false).unwrap();
    assert_eq!(owner(&map, 16383).as_deref(), Some("10.0.0.1:7001"));
}

#[test]
fn malformed_answers_are_refused() {
    let bad = |reply: Reply| SlotMap::parse(&reply, &asked(), false).unwrap_err().0;
    let one = |slots: &[i64]| Reply::Array(vec![shard(slots, vec![node(7001, "master", "online")])]);
    assert_eq!(bad(Reply::Nil), "a list of shards");
    assert_eq!(bad(Reply::Array(vec![Reply::Nil])), "a list of nodes");
    assert_eq!(bad(Reply::Array(vec![map(vec![("nodes", Reply::Array(vec![]))])])), "a list of slots");
    for slots in [&[1][..], &[5, 4], &[0, 16384], &[-1, 3]] {
        assert_eq!(bad(one(slots)), "pairs of slots", "{slots:?}");
    }
    assert_eq!(bad(Reply::Array(vec![shard(&[], vec![node(70_000, "master", "online")])])), "a port");
    let many = (0..1_001).map(|port| node(7_000 + port, "replica", "online")).collect();
    assert_eq!(bad(Reply::Array(vec![shard(&[], many)])), "at most 1,000 servers");
}

#[test]
fn changes_of_owners_are_counted() {
    let split = |at: i64| {
        let (low, high) = (node(7001, "master", "online"), node(7002, "master", "online"));
        parse(vec![shard(&[0, at - 1], vec![low]), shard(&[at, 16383], vec![high])]).unwrap()
    };
    assert_eq!(split(8000).moved(&split(8100)), 100);
    assert!(split(8000).has_same_owners(&split(8000)) && !split(8000).has_same_owners(&split(8001)));
    // A replica that is gone changes no owner.
    let with = |nodes| parse(vec![shard(&[0, 16383], nodes)]).unwrap();
    let alone = with(vec![node(7001, "master", "online")]);
    let both = with(vec![node(7001, "master", "online"), node(7002, "replica", "online")]);
    assert!(alone.has_same_owners(&both) && alone.moved(&both) == 0);
}
