//! The tables of requests and of connections that have to end.

use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::control::endings::{DueEnding, Ending};
use crate::broker::redis::control::requests::MAX_WAITING;
use crate::broker::redis::control::{Answer, Endings, Kind, Order, Outcome, Requests, endings};
use crate::broker::redis::directory::{Owner, connection_of_bits};

const OWN: Incarnation = Incarnation(100);
const NODES: [Incarnation; 3] = [Incarnation(1), Incarnation(2), Incarnation(3)];

fn answer(number: u64, by: Incarnation, outcome: Outcome) -> Answer {
    Answer { number, target: OWN, by, outcome }
}

#[test]
fn a_request_ends_with_the_last_answer_or_with_its_time() {
    let mut requests = Requests::new(OWN);
    let [one, two, three] = NODES;
    let first = requests.begin(Kind::Direct, [one, two, two], 1_000, "first").unwrap();
    let second = requests.begin(Kind::Direct, [two, three], 900, "second").unwrap();
    assert_eq!(requests.next_ms(), Some(900));
    assert_eq!(requests.answered(&answer(first, one, Outcome::Delivered(4))), None);
    for nothing in [
        answer(first, one, Outcome::Delivered(4)),
        answer(first, three, Outcome::Delivered(1)),
        answer(first, two, Outcome::Alive(true)),
        answer(77, two, Outcome::Delivered(1)),
        Answer { target: one, ..answer(first, two, Outcome::Delivered(1)) },
    ] {
        assert_eq!(requests.answered(&nothing), None, "{nothing:?}");
    }
    let done = requests.answered(&answer(first, two, Outcome::Delivered(5))).unwrap();
    assert_eq!((done.waiter, done.silent.len()), ("first", 0));
    assert_eq!(done.outcomes[..], [(one, Outcome::Delivered(4)), (two, Outcome::Delivered(5))]);

    assert_eq!(requests.answered(&answer(second, three, Outcome::Delivered(1))), None);
    assert_eq!(requests.expired(899), []);
    let done = requests.expired(900).pop().unwrap();
    assert_eq!((done.waiter, &done.silent[..]), ("second", &[two][..]));
    assert_eq!(requests.answered(&answer(second, two, Outcome::Delivered(1))), None, "it is late");
    assert_eq!((requests.silent_count(), requests.next_ms(), requests.is_empty()), (1, None, true));
}

#[test]
fn a_dead_node_is_not_waited_for() {
    let mut requests = Requests::new(OWN);
    let [one, two, _] = NODES;
    requests.begin(Kind::Probe, [one], 1_000, "probe").unwrap();
    requests.begin(Kind::Direct, [one, two], 1_000, "both").unwrap();
    let unsent = requests.begin(Kind::Probe, [two], 1_000, "unsent").unwrap();
    let done = requests.died(one);
    assert_eq!(done.iter().map(|done| done.waiter).collect::<Vec<_>>(), ["probe"]);
    assert_eq!(requests.not_sent(unsent).map(|done| done.waiter), Some("unsent"));
    assert_eq!(requests.not_sent(unsent), None);
    let done = requests.expired(1_000).pop().unwrap();
    assert_eq!((done.waiter, &done.silent[..], requests.silent_count()), ("both", &[one, two][..], 4));
}

#[test]
fn waiting_requests_are_bounded() {
    let mut requests = Requests::new(OWN);
    for number in 0..MAX_WAITING {
        requests.begin(Kind::Probe, NODES, 5, number).unwrap();
    }
    assert_eq!(requests.begin(Kind::Probe, NODES, 5, 99), Err(99));
    assert_eq!(requests.expired(5).len(), MAX_WAITING);
    assert!(requests.is_empty() && requests.begin(Kind::Probe, NODES, 5, 99).is_ok());
}

fn ending(node: Incarnation, connection: u64) -> Ending {
    let owner =
        Owner { node: "n1".parse().unwrap(), incarnation: node, connection: connection_of_bits(connection) };
    Ending { owner, user: "anna".parse().unwrap() }
}

#[test]
fn a_node_is_told_each_second_until_it_answers_or_is_dead() {
    let mut endings = Endings::new(OWN);
    let [one, two, _] = NODES;
    assert!(endings.add(ending(one, 1), 10) && endings.add(ending(two, 1), 20));
    assert!(endings.add(ending(one, 1), 11), "the same connection");
    assert_eq!(endings.next_ms(), Some(10));
    let DueEnding { number, owner, order } = endings.due(15).unwrap();
    assert_eq!((owner, order.kind()), (ending(one, 1).owner, Kind::End));
    let Order::End { user, .. } = order else { panic!() };
    assert_eq!(user.as_str(), "anna");
    assert_eq!(endings.due(15), None);
    let other = endings.due(20).unwrap().number;
    assert_ne!(other, number);
    assert_eq!(endings.due(1_014), None);
    assert_eq!(endings.due(1_015).map(|due| due.number), Some(number));

    let ended = Outcome::Ended { existed: true, missing: 30 };
    for nothing in [
        answer(number, two, ended.clone()),
        answer(number, one, Outcome::Alive(true)),
        answer(1, one, ended.clone()),
        Answer { target: one, ..answer(number, one, ended.clone()) },
    ] {
        assert_eq!(endings.answered(&nothing), None, "{nothing:?}");
    }
    assert_eq!(endings.answered(&answer(number, one, ended.clone())), Some((ending(one, 1), 30)));
    assert_eq!(endings.answered(&answer(number, one, ended.clone())), None);
    assert_eq!((endings.len(), endings.next_ms()), (1, Some(1_020)));
    endings.keep_live(10_019, |_| false);
    endings.keep_live(10_020, |node| node == two);
    assert_eq!(endings.len(), 1, "the node may have joined just now, or is live");
    endings.keep_live(10_020, |node| node == one);
    assert!(endings.is_empty());
    assert_eq!((endings.next_ms(), endings.due(u64::MAX / 2)), (None, None));
    assert!(endings.add(ending(one, 1), 20_000), "it is forgotten, and may be noted again");
}

#[test]
fn endings_are_bounded() {
    let mut endings = Endings::new(OWN);
    let all = (0..endings::MAX_WAITING as u64).all(|number| endings.add(ending(NODES[0], number), 0));
    assert!(all && !endings.add(ending(NODES[1], 0), 0));
    assert!(endings.add(ending(NODES[0], 0), 0), "it is noted already");
}
