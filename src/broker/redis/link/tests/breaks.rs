//! Breaks of a link: each is noticed, answers what was in flight, and is followed by another attempt.

use super::proxy::Proxy;
use super::*;

/// Returns settings with deadlines that a test can wait for.
fn quick(server: &TestServer) -> ServerSettings {
    let mut settings = server.settings();
    settings.timings.answer = Duration::from_millis(300);
    settings
}

#[tokio::test]
async fn a_killed_server_answers_every_call_once_and_comes_back() {
    let mut server = TestServer::start();
    let mut tried = Tried::start(server.settings());
    let before = tried.wait_for_up().await;
    server.pause();
    (0..500).for_each(|tag| tried.link.call(tag, command("PING")));
    // The task sends them before the kill, or answers them as not sent after it.
    tokio::task::yield_now().await;
    server.kill();
    let mut answered = vec![false; 500];
    for _ in 0..500 {
        match tried.next().await {
            Event::Answer { tag, result: Err(CallError::Lost | CallError::NotSent) } => {
                assert!(!std::mem::replace(&mut answered[tag as usize], true), "{tag} is answered twice");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(tried.wait_for_down().await, DownReason::Closed);
    assert_eq!(tried.link.in_flight(), (0, 0));
    server.restart();
    let after = tried.skip_to_up().await;
    assert_ne!(before.run_id, after.run_id);
    assert_ne!(before.replication_id, after.replication_id);
    assert_eq!(tried.ask(command("PING")).await, Ok(Reply::Bytes("PONG".into())));
}

#[tokio::test]
async fn a_server_that_stops_answering_is_left() {
    let server = TestServer::start();
    let mut tried = Tried::start(quick(&server));
    tried.wait_for_up().await;
    server.pause();
    tried.link.call(1, command("PING"));
    tried.link.call_within(2, command("PING"), PATIENCE);
    for _ in 0..2 {
        assert!(matches!(tried.next().await, Event::Answer { tag: 1 | 2, result: Err(CallError::Lost) }));
    }
    assert_eq!(tried.wait_for_down().await, DownReason::AnswerDeadline(Duration::from_millis(300)));
    server.resume();
    tried.skip_to_up().await;
    assert_eq!(tried.ask(command("PING")).await, Ok(text("PONG")));
}

#[tokio::test]
async fn a_slow_call_may_have_a_longer_deadline() {
    let server = TestServer::start();
    let mut tried = Tried::start(quick(&server));
    tried.wait_for_up().await;
    tried.link.call_within(1, command("DEBUG SLEEP 0.6"), PATIENCE);
    assert_eq!(tried.next().await, Event::Answer { tag: 1, result: Ok(text("OK")) });
}

#[tokio::test]
async fn killed_connections_of_subscribers_are_noticed() {
    let server = TestServer::start();
    let mut tried = Tried::up(&server).await;
    server.run("CLIENT KILL TYPE pubsub");
    assert_eq!(tried.wait_for_down().await, DownReason::Closed);
    tried.wait_for_up().await;
    server.run("CLIENT KILL TYPE normal");
    assert_eq!(tried.wait_for_down().await, DownReason::Closed);
    tried.wait_for_up().await;
}

#[tokio::test]
async fn a_connection_that_delivers_nothing_is_noticed() {
    let server = TestServer::start();
    let proxy = Proxy::start(&server).await;
    let mut settings = proxy.settings(&server);
    settings.timings.probe_every = Duration::from_millis(50);
    settings.timings.probe_lost = Duration::from_millis(300);
    let mut tried = Tried::start(settings);
    tried.wait_for_up().await;
    tried.link.subscribe("room".into());
    assert_eq!(tried.next().await, Event::Subscribed { channel: "room".into() });
    proxy.mute(true);
    assert_eq!(tried.wait_for_down().await, DownReason::ProbeLost(Duration::from_millis(300)));
    proxy.mute(false);
    tried.skip_to_up().await;
}

#[tokio::test]
async fn a_server_that_becomes_a_replica_is_left_and_a_new_data_set_is_noticed() {
    let server = TestServer::start();
    let other = TestServer::start();
    let mut settings = server.settings();
    settings.timings.probe_every = Duration::from_millis(50);
    let mut tried = Tried::start(settings);
    let before = tried.wait_for_up().await;
    server.run(&format!("REPLICAOF 127.0.0.1 {}", other.port));
    assert_eq!(tried.wait_for_down().await, DownReason::NotMaster { role: "slave".into() });
    server.run("REPLICAOF NO ONE");
    let after = tried.skip_to_up().await;
    assert_eq!(before.run_id, after.run_id);
    assert_ne!(before.replication_id, after.replication_id);
    // A promotion at once is noticed by the id alone.
    server.run("DEBUG CHANGE-REPL-ID");
    assert_eq!(tried.wait_for_down().await, DownReason::OtherDataSet);
    tried.skip_to_up().await;
}

#[tokio::test]
async fn a_full_queue_of_pushes_drops_the_connection() {
    let server = TestServer::start();
    let mut tried = Tried::start_with(server.settings(), 4_096);
    tried.wait_for_up().await;
    tried.link.subscribe("room".into());
    assert_eq!(tried.next().await, Event::Subscribed { channel: "room".into() });
    // Each push counts with what it takes in memory, so that these do not fit.
    let payload = "x".repeat(1_000);
    for _ in 0..5 {
        server.run(&format!("SPUBLISH room {payload}"));
    }
    let mut pushes = 0;
    let reason = loop {
        match tried.next().await {
            Event::Push { channel, payload } => {
                assert_eq!((&channel[..], payload.len()), (&b"room"[..], 1_000));
                pushes += 1;
            }
            Event::Down(reason) => break reason,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((reason, pushes), (DownReason::PushesFull, 3));
    assert_eq!(tried.events.push_bytes(), 0);
    tried.wait_for_up().await;
}
