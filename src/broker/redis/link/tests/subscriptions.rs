//! Subscriptions, and what comes on their channels.

use std::collections::HashSet;
use std::time::Instant;

use super::proxy::Proxy;
use super::*;

fn channel(number: usize) -> Bytes {
    format!("throng:{{room-{number}}}").into()
}

#[tokio::test]
async fn messages_come_while_a_channel_is_subscribed_to() {
    let server = TestServer::start();
    let mut tried = Tried::up(&server).await;
    tried.link.subscribe(channel(1));
    assert_eq!(tried.next().await, Event::Subscribed { channel: channel(1) });
    tried
        .link
        .call(1, Call::command([Bytes::from("SPUBLISH"), channel(1), Bytes::from_static(b"\0\r\n\xff")]));
    let push = Event::Push { channel: channel(1), payload: Bytes::from_static(b"\0\r\n\xff") };
    let answer = Event::Answer { tag: 1, result: Ok(Reply::Int(1)) };
    let (first, second) = (tried.next().await, tried.next().await);
    assert!(
        (&first, &second) == (&push, &answer) || (&first, &second) == (&answer, &push),
        "{first:?} {second:?}"
    );
    tried.link.unsubscribe(channel(1));
    assert_eq!(tried.next().await, Event::Unsubscribed { channel: channel(1), is_asked: true });
    assert_eq!(
        tried.ask(Call::command([Bytes::from("SPUBLISH"), channel(1), "x".into()])).await,
        Ok(Reply::Int(0))
    );
}

#[tokio::test]
async fn thousands_of_channels_are_confirmed_at_the_pace_of_the_link() {
    let server = TestServer::start();
    let mut tried = Tried::up(&server).await;
    let since = Instant::now();
    (0..5_000).for_each(|number| tried.link.subscribe(channel(number)));
    let mut confirmed = HashSet::new();
    while confirmed.len() < 5_000 {
        match tried.next().await {
            Event::Subscribed { channel } => assert!(confirmed.insert(channel)),
            other => panic!("{other:?}"),
        }
    }
    // 25 chunks of 200, with a pause before each but the first.
    assert!(since.elapsed() >= Duration::from_millis(230), "{:?}", since.elapsed());
    assert!((0..5_000).all(|number| confirmed.contains(&channel(number))));
}

#[tokio::test]
async fn a_subscription_that_is_not_confirmed_in_time_ends_the_link() {
    let server = TestServer::start();
    let mut settings = server.settings();
    settings.timings.answer = Duration::from_millis(300);
    let mut tried = Tried::start(settings);
    tried.wait_for_up().await;
    server.pause();
    tried.link.subscribe(channel(1));
    assert_eq!(tried.wait_for_down().await, DownReason::AnswerDeadline(Duration::from_millis(300)));
    server.resume();
    tried.skip_to_up().await;
}

/// Starts a server of a cluster that serves the channels `hello` (slot 866) and `foo` (12182), but not `world` (9059).
fn start_in_cluster() -> TestServer {
    let options = [("cluster-enabled", "yes"), ("cluster-require-full-coverage", "no")];
    let server = TestServer::start_with(&options);
    server.run("CLUSTER ADDSLOTSRANGE 0 6000 12182 12182");
    server
}

/// Returns settings with a channel for probes that this server serves (slot 5061).
fn in_cluster(mut settings: ServerSettings) -> ServerSettings {
    settings.probe_channel = "probe{bar}".into();
    settings.is_cluster = true;
    settings
}

fn subscribed(name: &'static str) -> Event {
    Event::Subscribed { channel: name.into() }
}

#[tokio::test]
async fn refused_and_lost_channels_of_a_cluster_are_reported() {
    let server = start_in_cluster();
    let mut tried = Tried::start(in_cluster(server.settings()));
    assert!(tried.skip_to_up().await.is_cluster);
    ["hello", "world", "foo"].into_iter().for_each(|name| tried.link.subscribe(name.into()));
    let mut events = vec![tried.next().await, tried.next().await, tried.next().await];
    let refused = events.iter().position(|event| matches!(event, Event::SubscribeRefused { .. })).unwrap();
    match events.remove(refused) {
        Event::SubscribeRefused { channel, error } => {
            assert_eq!((&channel[..], &*error.code), (&b"world"[..], "CLUSTERDOWN"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(events, [subscribed("hello"), subscribed("foo")]);
    server.run("CLUSTER DELSLOTS 12182");
    assert_eq!(tried.next().await, Event::Unsubscribed { channel: "foo".into(), is_asked: false });
    // The connection goes on.
    tried.link.subscribe("hello".into());
    assert_eq!(tried.next().await, subscribed("hello"));
}

#[tokio::test]
async fn an_unasked_end_confuses_no_confirmation() {
    let server = start_in_cluster();
    let proxy = Proxy::start(&server).await;
    let mut tried = Tried::start(in_cluster(proxy.settings(&server)));
    tried.skip_to_up().await;
    let ended = Event::Unsubscribed { channel: "old".into(), is_asked: false };
    server.pause();
    tried.link.subscribe("hello".into());
    tried.link.subscribe("foo".into());
    proxy.wait_for_request("foo").await;
    proxy.inject(b">3\r\n$12\r\nsunsubscribe\r\n$3\r\nold\r\n:0\r\n");
    assert_eq!(tried.next().await, ended);
    server.resume();
    assert_eq!((tried.next().await, tried.next().await), (subscribed("hello"), subscribed("foo")));
    tried.link.unsubscribe("foo".into());
    assert_eq!(tried.next().await, Event::Unsubscribed { channel: "foo".into(), is_asked: true });
}

#[tokio::test]
async fn an_unasked_end_confuses_no_refusal() {
    let server = start_in_cluster();
    let proxy = Proxy::start(&server).await;
    let mut tried = Tried::start(in_cluster(proxy.settings(&server)));
    tried.skip_to_up().await;
    server.pause();
    ["hello", "world", "foo"].into_iter().for_each(|name| tried.link.subscribe(name.into()));
    proxy.wait_for_request("foo").await;
    proxy.inject(b">3\r\n$12\r\nsunsubscribe\r\n$3\r\nold\r\n:0\r\n");
    assert_eq!(tried.next().await, Event::Unsubscribed { channel: "old".into(), is_asked: false });
    server.resume();
    assert_eq!(tried.next().await, subscribed("hello"));
    let refused = tried.next().await;
    assert!(
        matches!(&refused, Event::SubscribeRefused { channel, error }
            if &channel[..] == b"world" && error.code == "CLUSTERDOWN"),
        "{refused:?}"
    );
    assert_eq!(tried.next().await, subscribed("foo"));
}

/// A server that does not keep to the protocol is left, and the link begins anew.
#[tokio::test]
async fn a_confirmation_of_nothing_ends_the_link() {
    let server = TestServer::start();
    let proxy = Proxy::start(&server).await;
    let mut tried = Tried::start(proxy.settings(&server));
    tried.skip_to_up().await;
    proxy.inject(b">3\r\n$10\r\nssubscribe\r\n$3\r\nold\r\n:1\r\n");
    let reason = tried.wait_for_down().await;
    assert!(matches!(&reason, DownReason::NotRedis(_)), "{reason:?}");
    tried.skip_to_up().await;
}
