//! The scripts of the directory on a real server.

use std::slice;

use super::server::Server;
use super::{live, owner, user};
use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::directory::claim::{self, Claim, ClaimReply, Policy};
use crate::broker::redis::directory::once::{self, Attempt, Begun};
use crate::broker::redis::directory::release::{self, Missing};
use crate::broker::redis::directory::told::{self, Step, Told};
use crate::broker::redis::directory::told_users;
use crate::broker::redis::directory::{MAX_CONNECTIONS, Owner, SessionHash, Spent, find};
use crate::broker::redis::keys::Keys;

use crate::broker::redis::nodes::{LiveNodes, NodeName, Outcome};
use crate::broker::redis::script::{Call, Reply};
use crate::names::{Key, SessionId, UserId};

const ENTRY: &str = "throng:u:{anna}";

/// The directory of one server, and one user.
struct Directory {
    server: Server,
    live: LiveNodes,
}

impl Directory {
    fn new() -> Self {
        Self { server: Server::start(), live: live(&[1, 2, 3]) }
    }

    fn call(&mut self, call: &Call) -> Reply {
        self.server.call(call).unwrap_or_else(|error| panic!("{}: {error}", call.script.name))
    }

    fn claim(&mut self, owner: &Owner, policy: Policy) -> ClaimReply {
        self.claim_with(owner, policy, None, None)
    }

    fn claim_with(
        &mut self,
        owner: &Owner,
        policy: Policy,
        session: Option<SessionHash>,
        shown: Option<SessionHash>,
    ) -> ClaimReply {
        let claim = Claim { user: &user("anna"), owner, session, shown, policy };
        let call = claim::call(&Keys::new("throng"), &claim, &self.live);
        claim::reply(&self.call(&call)).unwrap()
    }

    fn release(&mut self, owner: &Owner, thousandths: u64) -> bool {
        let missing = Missing { thousandths, full_in_ms: thousandths };
        let call = release::call(&Keys::new("throng"), &user("anna"), owner, missing);
        release::reply(&self.call(&call)).unwrap()
    }

    /// Takes a step of telling that the user is online or offline.
    fn told(&mut self, by: u64, step: Step, number: u64, wait_ms: u64) -> bool {
        self.step(by, step, number, wait_ms) == Outcome::Yes
    }

    fn step(&mut self, by: u64, step: Step, number: u64, wait_ms: u64) -> Outcome {
        let told = Told { user: &user("anna"), step, by: Incarnation(by), number, wait_ms };
        let call = told::call(&Keys::new("throng"), &told, &self.live);
        told::reply(&self.call(&call)).unwrap()
    }

    fn find(&mut self) -> Vec<Owner> {
        let call = find::call(&Keys::new("throng"), &user("anna"), &self.live);
        let mut found = find::reply(&self.call(&call)).unwrap();
        found.sort_by_key(|owner| owner.incarnation);
        found
    }

    fn fields(&mut self) -> Vec<String> {
        self.server.hash(ENTRY).into_iter().map(|(field, _)| field).collect()
    }
}

fn claimed(replaced: &[&Owner]) -> ClaimReply {
    let replaced = replaced.iter().map(|owner| (*owner).clone()).collect();
    ClaimReply::Claimed { spent: Spent::default(), replaced }
}

const REJECT: Policy = Policy::Reject { dead: None };

#[test]
fn the_policies_allow_reject_and_replace() {
    let mut directory = Directory::new();
    let [one, two, three] = [owner(1, 1), owner(2, 1), owner(3, 1)];
    assert_eq!(directory.claim(&one, REJECT), claimed(&[]));
    assert_eq!(directory.claim(&two, REJECT), ClaimReply::Held(one.clone()));
    assert_eq!(directory.claim(&two, Policy::Allow), claimed(&[]));
    assert_eq!(directory.find(), [one.clone(), two.clone()]);
    let ClaimReply::Claimed { replaced, .. } = directory.claim(&three, Policy::Replace) else { panic!() };
    assert_eq!(replaced.len(), 2, "{replaced:?}");
    assert!(replaced.contains(&one) && replaced.contains(&two), "{replaced:?}");
    assert_eq!(directory.find(), slice::from_ref(&three));
    assert!((7_000..=7_200).contains(&directory.server.life(ENTRY)));

    assert!(!directory.release(&one, 0) && !directory.release(&two, 0), "they were replaced");
    assert!(directory.release(&three, 0) && !directory.release(&three, 0));
    assert_eq!(directory.server.keys(), [""; 0]);
}

#[test]
fn a_repeated_claim_names_the_replaced_until_they_are_released_and_the_replaced_cannot_come_back() {
    let mut directory = Directory::new();
    let [one, two, three] = [owner(1, 1), owner(2, 1), owner(3, 1)];
    directory.claim(&one, REJECT);
    assert_eq!(directory.claim(&one, REJECT), claimed(&[]), "its own entry is no incumbent");
    for _ in 0..2 {
        assert_eq!(directory.claim(&two, Policy::Replace), claimed(&[&one]));
    }
    for policy in [REJECT, Policy::Allow, Policy::Replace] {
        assert_eq!(directory.claim(&one, policy), ClaimReply::Replaced);
    }
    assert_eq!(directory.find(), slice::from_ref(&two));
    let ClaimReply::Claimed { replaced, .. } = directory.claim(&three, Policy::Replace) else { panic!() };
    assert_eq!(replaced.len(), 2, "the first one, too, has not ended: {replaced:?}");
    directory.release(&one, 0);
    assert_eq!(directory.claim(&three, REJECT), claimed(&[&two]));
    directory.release(&two, 0);
    assert_eq!(directory.claim(&three, REJECT), claimed(&[]));
}

#[test]
fn a_shown_session_replaces_its_connection_and_no_other() {
    let mut directory = Directory::new();
    let [one, two, three] = [owner(1, 1), owner(2, 1), owner(3, 1)];
    let secret: SessionId = "0123456789abcdef0123456789abcdef".parse().unwrap();
    let hash = || Some(SessionHash::new(&secret));
    directory.claim_with(&one, REJECT, hash(), None);
    let stored = directory.server.hash(ENTRY);
    let digits = String::from_utf8(secret.digits().to_vec()).unwrap();
    assert!(!format!("{stored:?}").contains(&digits), "the engine has the secret itself: {stored:?}");

    let wrong = Some(SessionHash::new(&"1".repeat(32).parse().unwrap()));
    assert_eq!(directory.claim_with(&two, REJECT, None, wrong), ClaimReply::Held(one.clone()));
    directory.claim(&three, Policy::Allow);
    assert_eq!(directory.claim_with(&two, REJECT, None, hash()), claimed(&[&one]));
    assert_eq!(directory.find(), [two.clone(), three.clone()]);
    let again = directory.claim_with(&owner(1, 2), REJECT, None, hash());
    assert!(matches!(again, ClaimReply::Held(_)), "the secret has been used up: {again:?}");
}

#[test]
fn only_the_incumbent_that_did_not_answer_is_replaced() {
    let mut directory = Directory::new();
    let [one, two, three] = [owner(1, 1), owner(2, 1), owner(3, 1)];
    let dead = |owner: &Owner| Policy::Reject { dead: Some(owner.clone()) };
    directory.claim(&one, REJECT);
    assert_eq!(directory.claim(&two, dead(&three)), ClaimReply::Held(one.clone()));
    assert_eq!(directory.claim(&two, dead(&one)), claimed(&[&one]));
    assert_eq!(directory.claim(&three, dead(&one)), ClaimReply::Held(two.clone()), "another was faster");
    directory.release(&two, 0);
    let ClaimReply::Claimed { .. } = directory.claim(&three, dead(&two)) else { panic!("nobody holds it") };
    assert_eq!(directory.find(), [three]);
}

#[test]
fn connections_of_dead_nodes_do_not_count_and_go() {
    let mut directory = Directory::new();
    let [one, two, three] = [owner(1, 1), owner(2, 1), owner(3, 1)];
    directory.claim(&one, REJECT);
    directory.claim(&two, Policy::Replace);
    directory.live = live(&[3]);
    assert_eq!(directory.claim(&three, REJECT), claimed(&[]));
    assert_eq!(directory.fields(), [format!("c:{}", "0000000000000003:0000000100000001")]);

    directory.live = live(&[1]);
    assert_eq!(directory.find(), []);
    assert_eq!(directory.server.keys(), [""; 0]);

    // A connection that is younger than the list may be of a node that has joined since.
    directory.claim(&three, REJECT);
    directory.live = LiveNodes { as_of_ms: directory.server.now_ms(), ..live(&[1]) };
    assert_eq!(directory.claim(&one, REJECT), ClaimReply::Held(three.clone()));
    assert_eq!(directory.find(), slice::from_ref(&three));
    // An entry that is not of this form is nobody's.
    directory.server.admin(&["HSET", ENTRY, "c:0000000000000001:0000000000000007", "rubbish"]);
    assert_eq!(directory.find(), [three]);
    assert_eq!(directory.fields().len(), 1);
}

#[test]
fn the_rest_of_a_bucket_travels_and_expires() {
    let mut directory = Directory::new();
    let [one, two] = [owner(1, 1), owner(2, 1)];
    let spent = |reply: ClaimReply| match reply {
        ClaimReply::Claimed { spent, .. } => spent,
        other => panic!("{other:?}"),
    };
    directory.claim(&one, REJECT);
    assert!(directory.release(&one, 600_000));
    assert_eq!(directory.fields(), ["b"]);
    assert!((590..=600).contains(&directory.server.life(ENTRY)), "as long as the bucket is not full");
    let first = spent(directory.claim(&two, REJECT));
    assert_eq!(first.missing, 600_000);
    assert!(first.age_ms < 60_000, "{first:?}");
    assert_eq!(spent(directory.claim(&two, REJECT)).missing, 600_000, "a repeated claim gets it again");
    directory.release(&two, 5_000);
    assert!((1..=600).contains(&directory.server.life(ENTRY)));

    // The bucket has been full since a time that is long ago.
    directory.server.admin(&["HSET", ENTRY, "b", "700 1 2"]);
    assert_eq!(spent(directory.claim(&one, REJECT)), Spent::default());
    assert!(!directory.fields().contains(&"b".into()));
    directory.release(&one, 0);
    assert_eq!(directory.server.keys(), [""; 0]);
}

#[test]
fn a_user_has_a_bounded_number_of_connections() {
    let mut directory = Directory::new();
    for number in 0..MAX_CONNECTIONS {
        assert_eq!(directory.claim(&owner(1, number), Policy::Allow), claimed(&[]));
    }
    assert_eq!(directory.claim(&owner(2, 0), Policy::Allow), ClaimReply::Full);
    assert_eq!(directory.find().len(), MAX_CONNECTIONS);
    directory.release(&owner(1, 0), 0);
    let ClaimReply::Claimed { replaced, .. } = directory.claim(&owner(2, 0), Policy::Replace) else {
        panic!()
    };
    assert_eq!(replaced.len(), MAX_CONNECTIONS - 1);
}

#[test]
fn a_full_engine_refuses_claims_and_takes_releases() {
    let mut directory = Directory::new();
    let (one, two) = (owner(1, 1), owner(2, 1));
    directory.claim(&one, REJECT);
    let before = directory.server.hash(ENTRY);
    directory.server.admin(&["CONFIG", "SET", "maxmemory", "1"]);
    let (name, keys) = (user("anna"), Keys::new("throng"));
    let claim = Claim { user: &name, owner: &two, session: None, shown: None, policy: Policy::Replace };
    let error = directory.server.call(&claim::call(&keys, &claim, &directory.live)).unwrap_err();
    assert!(error.contains("OOM"), "{error}");
    assert_eq!(directory.server.hash(ENTRY), before);
    assert!(directory.release(&one, 1_000));
    assert_eq!(directory.server.keys(), [""; 0]);
}

#[test]
fn a_private_message_is_delivered_once_per_key() {
    let mut directory = Directory::new();
    let keys = Keys::new("throng");
    let (anna, bob, eve) = (user("anna"), user("bob"), user("eve"));
    let key: Key = "ключ 1".parse().unwrap();
    let attempt = |by, number, from| Attempt { to: &anna, from, key: &key, by: Incarnation(by), number };
    let (first, second) = (attempt(1, 1, &bob), attempt(2, 1, &bob));
    let mut begin = |attempt: &Attempt<'_>| once::begun(&directory.call(&attempt.begin(&keys))).unwrap();
    assert_eq!((begin(&first), begin(&first)), (Begun::First, Begun::First), "a repeated call");
    assert_eq!((begin(&second), begin(&attempt(1, 2, &bob))), (Begun::Pending, Begun::Pending));
    assert_eq!(begin(&attempt(1, 3, &eve)), Begun::First, "the key of another sender");

    let mut store = |call: Call| once::is_stored(&directory.call(&call)).unwrap();
    assert!(!store(second.finish(&keys, 9)) && !store(second.withdraw(&keys)), "it is not its key");
    assert!(store(first.finish(&keys, 3)) && !store(first.withdraw(&keys)));
    let mut begin = |attempt: &Attempt<'_>| once::begun(&directory.call(&attempt.begin(&keys))).unwrap();
    assert_eq!((begin(&second), begin(&first)), (Begun::Repeat(3), Begun::Repeat(3)));

    let third = attempt(1, 3, &eve);
    assert!(once::is_stored(&directory.call(&third.withdraw(&keys))).unwrap());
    assert_eq!(once::begun(&directory.call(&attempt(2, 2, &eve).begin(&keys))).unwrap(), Begun::First);
    for name in directory.server.keys() {
        assert!((600..=660).contains(&directory.server.life(&name)), "{name}");
    }
}

#[test]
fn a_key_is_found_in_the_interval_before_and_forgotten_after_that() {
    let mut directory = Directory::new();
    let keys = Keys::new("throng");
    let (anna, bob, key): (_, _, Key) = (user("anna"), user("bob"), "k".parse().unwrap());
    let attempt = |number| Attempt { to: &anna, from: &bob, key: &key, by: Incarnation(1), number };
    // Whether the interval changes meanwhile or not, the entry is in the one before, or in the one before that.
    for (back, expected) in [(1, Begun::Repeat(2)), (3, Begun::First)] {
        let interval = directory.server.now_ms() / 300_000;
        directory.server.admin(&[
            "HSET",
            &format!("throng:u:{{anna}}:k:{}", interval - back),
            "bob\0k",
            "=2",
        ]);
        let found = once::begun(&directory.call(&attempt(back).begin(&keys))).unwrap();
        assert_eq!(found, expected, "{back}");
        directory.server.admin(&["FLUSHALL"]);
    }
    // An attempt whose node is gone.
    let interval = directory.server.now_ms() / 300_000;
    directory.server.admin(&["HSET", &format!("throng:u:{{anna}}:k:{interval}"), "bob\0k", "?9:1 5"]);
    assert_eq!(once::begun(&directory.call(&attempt(7).begin(&keys))).unwrap(), Begun::Lost);
}

const HOUR_MS: u64 = 3_600_000;

#[test]
fn a_user_is_told_to_be_online_and_offline_once() {
    let mut directory = Directory::new();
    let (one, two) = (owner(1, 1), owner(2, 1));
    assert!(!directory.told(1, Step::Online, 1, HOUR_MS), "nobody is there");
    directory.claim(&one, Policy::Allow);
    assert!(directory.told(1, Step::Online, 2, HOUR_MS));
    assert!(directory.told(1, Step::Online, 2, HOUR_MS), "a repeated call answers the same");
    directory.claim(&two, Policy::Allow);
    assert!(!directory.told(2, Step::Online, 1, HOUR_MS));
    assert!(directory.told(1, Step::Online, 2, HOUR_MS), "its answer may have been lost");
    directory.release(&one, 0);
    assert!(!directory.told(1, Step::Left, 3, HOUR_MS), "the other one is there");
    directory.release(&two, 0);
    assert!(directory.told(2, Step::Left, 2, HOUR_MS) && directory.told(2, Step::Left, 2, HOUR_MS));
    assert_eq!(directory.step(2, Step::Offline, 3, HOUR_MS), Outcome::TooEarly);
    assert!(directory.told(2, Step::Offline, 4, 0) && directory.told(2, Step::Offline, 4, 0));
    assert!(
        !directory.told(2, Step::Offline, 5, 0) && !directory.told(1, Step::Offline, 4, 0),
        "told already"
    );
    directory.claim(&one, Policy::Allow);
    assert!(directory.told(1, Step::Online, 6, HOUR_MS));
}

#[test]
fn a_user_who_moves_to_another_node_stays_online() {
    let mut directory = Directory::new();
    let (one, two) = (owner(1, 1), owner(2, 1));
    directory.claim(&one, REJECT);
    assert!(directory.told(1, Step::Online, 1, HOUR_MS));
    // Taken over, and later left and come back.
    directory.claim(&two, Policy::Replace);
    assert!(!directory.told(2, Step::Online, 1, HOUR_MS));
    directory.release(&one, 0);
    assert!(!directory.told(1, Step::Left, 2, HOUR_MS));
    directory.release(&two, 0);
    assert!(directory.told(2, Step::Left, 2, HOUR_MS));
    directory.claim(&one, REJECT);
    assert!(!directory.told(1, Step::Online, 3, HOUR_MS));
    assert!(!directory.told(2, Step::Offline, 3, 0), "the user is back");
}

#[test]
fn a_user_of_a_dead_node_comes_online_again() {
    let mut directory = Directory::new();
    directory.claim(&owner(1, 1), REJECT);
    assert!(directory.told(1, Step::Online, 1, HOUR_MS));
    directory.live = LiveNodes { as_of_ms: u64::MAX / 2, ..live(&[2, 3]) };
    directory.claim(&owner(2, 1), REJECT);
    assert!(directory.told(2, Step::Online, 1, HOUR_MS));
    directory.claim(&owner(3, 1), Policy::Allow);
    assert!(!directory.told(3, Step::Online, 1, HOUR_MS));
}

#[test]
fn another_node_takes_over_the_users_of_a_dead_one() {
    let mut directory = Directory::new();
    let keys = Keys::new("throng");
    let (dead, other) = (Incarnation(1), Incarnation(2));
    let (node, name): (NodeName, UserId) = ("n1".parse().unwrap(), user("anna"));
    let mut take = |by, step: told_users::Step<'_>| {
        told_users::reply(&directory.call(&told_users::call(&keys, by, &step))).unwrap()
    };
    let users: Vec<UserId> = (100..400).map(|number| user(&format!("user-{number}"))).collect();
    for user in &users {
        assert!(take(dead, told_users::Step::Enter(&node, Some(user))).is_empty());
    }
    take(dead, told_users::Step::Enter(&node, Some(&name)));
    take(dead, told_users::Step::Forget(&name));
    // A list that is not empty stays for another node.
    take(dead, told_users::Step::Leave);
    let first = take(other, told_users::Step::Take(dead));
    assert_eq!((first.len(), take(other, told_users::Step::Take(dead))), (256, first.clone()), "repeated");
    take(other, told_users::Step::Drop(dead, &first));
    let rest = take(other, told_users::Step::Take(dead));
    take(other, told_users::Step::Drop(dead, &rest));
    assert_eq!([first, rest].concat(), users);
    assert!(take(other, told_users::Step::Take(dead)).is_empty());
    let tellers = told_users::tellers_of(&directory.call(&told_users::tellers(&keys))).unwrap();
    assert_eq!(tellers, [(dead, node)], "it is there until somebody ends it");
    let mut take = |by, step: told_users::Step<'_>| {
        told_users::reply(&directory.call(&told_users::call(&keys, by, &step))).unwrap()
    };
    take(other, told_users::Step::End(dead));
    assert_eq!(
        take(Incarnation(3), told_users::Step::Take(other)).len(),
        256,
        "they are in the other list now"
    );
    assert!(told_users::tellers_of(&directory.call(&told_users::tellers(&keys))).unwrap().is_empty());
}
