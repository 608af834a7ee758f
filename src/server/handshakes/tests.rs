use std::net::Ipv4Addr;
use std::task::{Context, Poll, Waker};

use tokio::time::advance;

use super::*;

/// An address of a client.
fn client(number: u32) -> Group {
    Group { net: Net::V4(Ipv4Addr::from_bits(number)), is_proxy: false }
}

fn proxy(number: u32) -> Group {
    Group { is_proxy: true, ..client(number) }
}

/// The socket of a place waits for its peer, or is busy; returns whether it has to go.
fn poll(place: &Place, is_idle: bool) -> bool {
    poll_doing(place, if is_idle { Doing::Waits } else { Doing::Serves })
}

fn poll_doing(place: &Place, doing: Doing) -> bool {
    place.ticket().poll_go(&mut Context::from_waker(Waker::noop()), doing) == Poll::Ready(())
}

/// Takes a place that is to be had at once.
async fn take(handshakes: &mut Handshakes, group: Group) -> Option<Place> {
    let place = handshakes.place(group).await;
    check(&handshakes.places);
    place
}

/// Takes places whose sockets are idle.
async fn idle<const N: usize>(handshakes: &mut Handshakes, groups: [Group; N]) -> [Place; N] {
    let mut places = Vec::new();
    for group in groups {
        let place = take(handshakes, group).await.expect("a place");
        assert!(!poll(&place, true));
        places.push(place);
    }
    places.try_into().expect("one for each")
}

/// What the table counts three times agrees.
fn check(table: &Table) {
    let total: usize = table.crowds.values().map(BTreeMap::len).sum();
    assert!(total == table.owners.len() && total <= table.max, "{total}");
    assert_eq!(table.ranks.len(), table.crowds.len());
    for (group, crowd) in &table.crowds {
        assert_eq!(table.ranks.get(&rank(*group, crowd).expect("not empty")), Some(group));
        assert!(crowd.keys().all(|id| table.owners[id] == *group));
    }
}

#[tokio::test(start_paused = true)]
async fn the_oldest_of_those_with_the_most_makes_way() {
    let mut handshakes = Handshakes::new(5);
    let [a, b1, b2, b3, c] = idle(&mut handshakes, [1, 2, 2, 2, 3].map(client)).await;
    let newcomer = take(&mut handshakes, client(4)).await;
    assert!(
        newcomer.is_some()
            && [&a, &b1, &b2, &b3, &c].map(|p| poll(p, true)) == [false, true, false, false, false]
    );
    // Who has as many as anybody gives up its own.
    advance(GRACE).await;
    let [newer] = idle(&mut handshakes, [client(2)]).await.map(|place| poll(&place, true));
    assert!(!newer && poll(&b2, true) && !poll(&b3, true));
}

#[tokio::test(start_paused = true)]
async fn among_many_addresses_the_oldest_makes_way() {
    let mut handshakes = Handshakes::new(3);
    let [a, b, c] = idle(&mut handshakes, [9, 1, 5].map(client)).await;
    let [_d] = idle(&mut handshakes, [client(7)]).await;
    assert_eq!([&a, &b, &c].map(|place| poll(place, true)), [true, false, false]);
    let [_e] = idle(&mut handshakes, [client(0)]).await;
    assert_eq!([&b, &c].map(|place| poll(place, true)), [true, false]);
}

#[tokio::test(start_paused = true)]
async fn who_is_served_makes_no_way() {
    let mut handshakes = Handshakes::new(2);
    let [first, second] = idle(&mut handshakes, [client(1), client(1)]).await;
    assert!(!poll(&first, false) && !poll(&second, false));
    let began = Instant::now();
    assert!(take(&mut handshakes, client(2)).await.is_none(), "both are being served");
    assert!((PATIENCE..2 * PATIENCE).contains(&began.elapsed()), "{:?}", began.elapsed());
    // It is chosen, and served before it hears of it: it goes behind that.
    assert!(!poll(&first, true));
    let third = take(&mut handshakes, client(2)).await;
    assert!(third.is_some() && !poll(&first, false) && poll(&first, true));
    drop(first);
    drop(third);
    assert!(take(&mut handshakes, client(3)).await.is_some());
}

/// Whoever owns both ends of a question could hold a place with it for as long as a question may take.
#[tokio::test(start_paused = true)]
async fn who_asks_somebody_else_makes_way_where_there_are_many() {
    let mut handshakes = Handshakes::new(3);
    let [a, b, c] = idle(&mut handshakes, [1, 1, 2].map(client)).await;
    assert!([&a, &b, &c].iter().all(|place| !poll_doing(place, Doing::Asks)));
    advance(GRACE).await;
    let asks = |places: [&Place; 3]| places.map(|place| poll_doing(place, Doing::Asks));
    let began = Instant::now();
    let third = take(&mut handshakes, client(3)).await.expect("a place");
    assert!(began.elapsed().is_zero() && asks([&a, &b, &c]) == [true, false, false]);
    // One each: nobody goes for another one.
    assert!(!poll_doing(&third, Doing::Asks) && take(&mut handshakes, client(4)).await.is_none());
    drop(third);
    let own = take(&mut handshakes, client(1)).await.expect("a free place");
    assert!(!poll_doing(&own, Doing::Asks));
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
    while let Some(place) = take(&mut handshakes, client(1)).await {
        assert!(!poll(&place, true));
        held.push(place);
        advance(GRACE).await;
    }
    assert_eq!(held.len(), 4, "as many again as there are places");
    assert!(handshakes.reserved(client(2)).is_some());
}

#[tokio::test(start_paused = true)]
async fn who_has_just_come_is_not_sent_away_for_its_own_kind() {
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
async fn proxies_make_way_last() {
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
async fn a_place_may_turn_out_to_be_somebody_elses() {
    let mut handshakes = Handshakes::new(3);
    let places = idle(&mut handshakes, [proxy(1), proxy(1), proxy(1)]).await;
    places[1].belongs_to(client(7));
    let [_newcomer] = idle(&mut handshakes, [client(8)]).await;
    assert_eq!(places.each_ref().map(|place| poll(place, true)), [false, true, false]);
    places[1].belongs_to(client(9));
    drop(places);
    handshakes.hear();
    check(&handshakes.places);
    assert_eq!(handshakes.places.owners.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_given_back_is_had_by_who_waits() {
    let mut handshakes = Handshakes::new(1);
    let first = take(&mut handshakes, client(1)).await;
    let (second, ()) = tokio::join!(take(&mut handshakes, client(1)), async { drop(first) });
    assert!(second.is_some());
    drop(second);
    handshakes.hear();
    check(&handshakes.places);
    let Table { owners, crowds, ranks, .. } = &handshakes.places;
    assert!(owners.is_empty() && crowds.is_empty() && ranks.is_empty());
}

#[test]
fn the_reserve_is_not_for_one_alone() {
    let mut handshakes = Handshakes::new(1);
    let mut held = Vec::new();
    for address in 0..4 {
        let places: Vec<_> = std::iter::from_fn(|| handshakes.reserved(client(address))).collect();
        assert_eq!(places.len(), RESERVED_OF_ONE);
        held.extend(places);
    }
    check(&handshakes.reserve);
    assert!(handshakes.reserved(client(9)).is_none(), "nobody is known to be idle");
    assert!(held.iter().all(|place| !poll(place, true)));
    let balancer = handshakes.reserved(client(9));
    assert!(balancer.is_some() && poll(&held[0], true));
    assert!(handshakes.reserved(client(1)).is_none(), "who has so many gets no more");
}
