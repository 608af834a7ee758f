//! Permits of sockets that exist only as what they would be doing, on a paused clock.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::task::{Context, Poll, Waker};

use tokio::time::advance;

use super::table::rank;
use super::*;
use crate::admission::address::Net;

/// Returns the group of a client.
fn client(number: u32) -> Group {
    Group { net: Net::V4(Ipv4Addr::from_bits(number)), is_proxy: false }
}

fn proxy(number: u32) -> Group {
    Group { is_proxy: true, ..client(number) }
}

/// Polls as the task of a socket that waits for its peer, or works; returns whether the permit is revoked.
fn poll(permit: &HandshakePermit, is_idle: bool) -> bool {
    poll_as(permit, if is_idle { Activity::AwaitingPeer } else { Activity::Working })
}

fn poll_as(permit: &HandshakePermit, activity: Activity) -> bool {
    permit.revocation().poll_revoked(&mut Context::from_waker(Waker::noop()), activity) == Poll::Ready(())
}

/// Takes a permit, and checks the tables.
async fn take(handshakes: &mut Handshakes, group: Group) -> Option<HandshakePermit> {
    let permit = handshakes.acquire(group).await;
    check(&handshakes.regular);
    permit
}

/// Takes permits whose sockets wait for their peers.
async fn idle<const N: usize>(handshakes: &mut Handshakes, groups: [Group; N]) -> [HandshakePermit; N] {
    let mut permits = Vec::new();
    for group in groups {
        let permit = take(handshakes, group).await.expect("a permit");
        assert!(!poll(&permit, true));
        permits.push(permit);
    }
    permits.try_into().expect("one for each")
}

/// Checks that the three collections of a table agree.
fn check(table: &PermitTable) {
    let total: usize = table.permits.values().map(BTreeMap::len).sum();
    assert!(total == table.groups.len() && total <= table.max, "{total}");
    assert_eq!(table.ranks.len(), table.permits.len());
    for (group, permits) in &table.permits {
        assert_eq!(table.ranks.get(&rank(*group, permits).expect("not empty")), Some(group));
        assert!(permits.keys().all(|id| table.groups[id] == *group));
    }
}

#[tokio::test(start_paused = true)]
async fn the_oldest_of_the_address_with_the_most_is_revoked() {
    let mut handshakes = Handshakes::new(5);
    let [a, b1, b2, b3, c] = idle(&mut handshakes, [1, 2, 2, 2, 3].map(client)).await;
    let newcomer = take(&mut handshakes, client(4)).await;
    assert!(
        newcomer.is_some()
            && [&a, &b1, &b2, &b3, &c].map(|p| poll(p, true)) == [false, true, false, false, false]
    );
    // An address with as many permits as any other loses one of its own.
    advance(GRACE).await;
    let [newer] = idle(&mut handshakes, [client(2)]).await.map(|permit| poll(&permit, true));
    assert!(!newer && poll(&b2, true) && !poll(&b3, true));
}

#[tokio::test(start_paused = true)]
async fn among_many_addresses_the_oldest_is_revoked() {
    let mut handshakes = Handshakes::new(3);
    let [a, b, c] = idle(&mut handshakes, [9, 1, 5].map(client)).await;
    let [_d] = idle(&mut handshakes, [client(7)]).await;
    assert_eq!([&a, &b, &c].map(|permit| poll(permit, true)), [true, false, false]);
    let [_e] = idle(&mut handshakes, [client(0)]).await;
    assert_eq!([&b, &c].map(|permit| poll(permit, true)), [true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_working_socket_keeps_its_permit() {
    let mut handshakes = Handshakes::new(2);
    let [first, second] = idle(&mut handshakes, [client(1), client(1)]).await;
    assert!(!poll(&first, false) && !poll(&second, false));
    let began = Instant::now();
    assert!(take(&mut handshakes, client(2)).await.is_none(), "both are being served");
    assert!((PATIENCE..2 * PATIENCE).contains(&began.elapsed()), "{:?}", began.elapsed());
    // It is revoked, and begins to work before it hears of that: it ends afterwards.
    assert!(!poll(&first, true));
    let third = take(&mut handshakes, client(2)).await;
    assert!(third.is_some() && !poll(&first, false) && poll(&first, true));
    drop(first);
    drop(third);
    assert!(take(&mut handshakes, client(3)).await.is_some());
}

/// The owner of both connections could otherwise hold permits for as long as the answer of one may take.
#[tokio::test(start_paused = true)]
async fn an_address_with_many_that_await_others_loses_one() {
    let mut handshakes = Handshakes::new(3);
    let [a, b, c] = idle(&mut handshakes, [1, 1, 2].map(client)).await;
    assert!([&a, &b, &c].iter().all(|permit| !poll_as(permit, Activity::AwaitingOther)));
    advance(GRACE).await;
    let asks =
        |permits: [&HandshakePermit; 3]| permits.map(|permit| poll_as(permit, Activity::AwaitingOther));
    let began = Instant::now();
    let third = take(&mut handshakes, client(3)).await.expect("a permit");
    assert!(began.elapsed().is_zero() && asks([&a, &b, &c]) == [true, false, false]);
    // Each address has one permit: none is revoked for another address.
    assert!(!poll_as(&third, Activity::AwaitingOther) && take(&mut handshakes, client(4)).await.is_none());
    drop(third);
    let own = take(&mut handshakes, client(1)).await.expect("a free permit");
    assert!(!poll_as(&own, Activity::AwaitingOther));
    advance(GRACE).await;
    let began = Instant::now();
    let newer = take(&mut handshakes, client(1)).await;
    assert!(newer.is_some() && began.elapsed().is_zero(), "for its own kind");
    assert_eq!(asks([&b, &c, &own]), [true, false, false]);
}

#[tokio::test(start_paused = true)]
async fn the_reserve_is_there_however_many_have_yet_to_go() {
    let mut handshakes = Handshakes::new(2);
    let mut held = Vec::new();
    while let Some(permit) = take(&mut handshakes, client(1)).await {
        assert!(!poll(&permit, true));
        held.push(permit);
        advance(GRACE).await;
    }
    assert_eq!(held.len(), 4, "as many again as there are permits");
    assert!(handshakes.acquire_reserved(client(2)).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_new_socket_is_not_revoked_for_one_of_its_own_address() {
    let mut handshakes = Handshakes::new(2);
    let [first, _second] = idle(&mut handshakes, [client(1), client(1)]).await;
    handshakes.is_full = true;
    assert!(take(&mut handshakes, client(1)).await.is_none() && !poll(&first, true), "nobody waits");
    handshakes.is_full = false;
    let began = Instant::now();
    let newcomer = take(&mut handshakes, client(1)).await;
    assert!(newcomer.is_some() && poll(&first, true) && began.elapsed() >= GRACE);
    assert!(handshakes.is_full, "the next ones do not wait");
    drop((first, newcomer));
    assert!(take(&mut handshakes, client(1)).await.is_some() && !handshakes.is_full);
}

#[tokio::test(start_paused = true)]
async fn permits_of_proxies_are_revoked_last() {
    let mut handshakes = Handshakes::new(4);
    let [p1, _p2, _p3, c] = idle(&mut handshakes, [proxy(1), proxy(1), proxy(1), client(2)]).await;
    advance(GRACE).await;
    let [own] = idle(&mut handshakes, [client(3)]).await;
    assert!(poll(&c, true) && !poll(&p1, true));
    assert!(!poll(&own, false));
    assert!(
        take(&mut handshakes, client(4)).await.is_some() && poll(&p1, true),
        "where there is nobody else"
    );
}

#[tokio::test(start_paused = true)]
async fn a_permit_may_be_reassigned_to_another_group() {
    let mut handshakes = Handshakes::new(3);
    let permits = idle(&mut handshakes, [proxy(1), proxy(1), proxy(1)]).await;
    permits[1].reassign(client(7));
    let [_newcomer] = idle(&mut handshakes, [client(8)]).await;
    assert_eq!(permits.each_ref().map(|permit| poll(permit, true)), [false, true, false]);
    permits[1].reassign(client(9));
    drop(permits);
    handshakes.read_reports();
    check(&handshakes.regular);
    assert_eq!(handshakes.regular.groups.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_returned_permit_goes_to_the_socket_that_waits() {
    let mut handshakes = Handshakes::new(1);
    let first = take(&mut handshakes, client(1)).await;
    let (second, ()) = tokio::join!(take(&mut handshakes, client(1)), async { drop(first) });
    assert!(second.is_some());
    drop(second);
    handshakes.read_reports();
    check(&handshakes.regular);
    let PermitTable { groups, permits, ranks, .. } = &handshakes.regular;
    assert!(groups.is_empty() && permits.is_empty() && ranks.is_empty());
}

#[test]
fn the_reserve_is_not_for_one_alone() {
    let mut handshakes = Handshakes::new(1);
    let mut held = Vec::new();
    for address in 0..4 {
        let permits: Vec<_> = std::iter::from_fn(|| handshakes.acquire_reserved(client(address))).collect();
        assert_eq!(permits.len(), RESERVED_OF_GROUP);
        held.extend(permits);
    }
    check(&handshakes.reserve);
    assert!(handshakes.acquire_reserved(client(9)).is_none(), "nobody is known to be idle");
    assert!(held.iter().all(|permit| !poll(permit, true)));
    let balancer = handshakes.acquire_reserved(client(9));
    assert!(balancer.is_some() && poll(&held[0], true));
    assert!(handshakes.acquire_reserved(client(1)).is_none(), "an address with so many gets no more");
}
