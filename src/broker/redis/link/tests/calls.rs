//! Calls and their answers.

use super::*;

static JOIN: Script = Script::new("join", "return {KEYS[1], ARGV[1], 7, false}");
static COUNT: Script = Script::new("count", "return redis.call('INCRBY', KEYS[1], ARGV[1])");

fn join(argument: &'static [u8]) -> Call {
    Call::Script { script: &JOIN, keys: vec!["k".into()], args: vec![Bytes::from_static(argument)] }
}

fn count() -> Call {
    Call::Script { script: &COUNT, keys: vec!["count".into()], args: vec!["1".into()] }
}

#[tokio::test]
async fn every_kind_of_answer_arrives() {
    let server = TestServer::start();
    let mut tried = Tried::up(&server).await;
    let bytes = b"a\r\n\0\xff";
    let joined =
        Reply::Array(vec![text("k"), Reply::Bytes(Bytes::from_static(bytes)), Reply::Int(7), Reply::Nil]);
    assert_eq!(tried.ask(join(bytes)).await, Ok(joined));
    assert_eq!(tried.ask(command("SET a 1")).await, Ok(text("OK")));
    assert_eq!(tried.ask(command("HSET h f v")).await, Ok(Reply::Int(1)));
    assert_eq!(tried.ask(command("HGETALL h")).await, Ok(Reply::Map(vec![(text("f"), text("v"))])));
    assert_eq!(tried.ask(command("GET nothing")).await, Ok(Reply::Nil));
    assert_eq!(tried.ask(command("ZADD z 1.5 m")).await, Ok(Reply::Int(1)));
    assert_eq!(tried.ask(command("ZSCORE z m")).await, Ok(text("1.5")));
    let Err(CallError::Server(error)) = tried.ask(command("INCR h")).await else { panic!("no error") };
    assert_eq!(error.code, "WRONGTYPE");
    assert_eq!(tried.link.in_flight(), (0, 0));
}

#[tokio::test]
async fn a_script_that_the_server_has_forgotten_is_sent_again() {
    let server = TestServer::start();
    let mut tried = Tried::up(&server).await;
    assert_eq!(tried.ask(count()).await, Ok(Reply::Int(1)));
    server.run("SCRIPT FLUSH");
    assert_eq!(tried.ask(count()).await, Ok(Reply::Int(2)));
    assert_eq!(tried.ask(count()).await, Ok(Reply::Int(3)));
    let stats = String::from_utf8_lossy(
        &redis::from_redis_value::<Vec<u8>>(server.run("INFO commandstats")).unwrap(),
    )
    .into_owned();
    assert!(
        stats.contains("cmdstat_eval:calls=2,"),
        "once with its text for each time it was unknown: {stats}"
    );
}

#[tokio::test]
async fn thousands_of_calls_are_answered_once_each() {
    let server = TestServer::start();
    let mut tried = Tried::up(&server).await;
    let mut answered = vec![false; 10_000];
    for first in (0..10_000).step_by(1_000) {
        (first..first + 1_000).for_each(|tag| tried.link.call(tag, count()));
        for _ in 0..1_000 {
            match tried.next().await {
                Event::Answer { tag, result: Ok(Reply::Int(_)) } => {
                    assert!(!std::mem::replace(&mut answered[tag as usize], true), "{tag} is answered twice");
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(tried.ask(count()).await, Ok(Reply::Int(10_001)));
}

#[tokio::test]
async fn calls_beyond_the_limit_are_refused_at_once() {
    let mut server = TestServer::start();
    let mut tried = Tried::up(&server).await;
    server.pause();
    (0..1_030).for_each(|tag| tried.link.call(tag, count()));
    for tag in 1_024..1_030 {
        assert_eq!(tried.next().await, Event::Answer { tag, result: Err(CallError::Full) });
    }
    server.kill();
    for _ in 0..1_024 {
        assert!(matches!(tried.next().await, Event::Answer { tag: 0..1_024, result: Err(CallError::Lost) }));
    }
    tried.wait_for_down().await;
}

#[tokio::test]
async fn bytes_beyond_the_limit_are_refused_at_once_but_one_call_always_fits() {
    let server = TestServer::start();
    let mut tried = Tried::up(&server).await;
    let set = |bytes: usize| Call::command([Bytes::from("SET"), "k".into(), vec![b'x'; bytes].into()]);
    assert_eq!(tried.ask(set(9 << 20)).await, Ok(text("OK")));
    server.pause();
    tried.link.call(1, set(5 << 20));
    tried.link.call(2, set(5 << 20));
    tried.link.call(3, set(1 << 20));
    assert_eq!(tried.next().await, Event::Answer { tag: 2, result: Err(CallError::Full) });
    server.resume();
    for _ in 0..2 {
        assert!(matches!(tried.next().await, Event::Answer { tag: 1 | 3, result: Ok(_) }));
    }
}

#[tokio::test]
async fn calls_without_a_connection_are_not_sent() {
    let mut server = TestServer::start();
    let mut tried = Tried::up(&server).await;
    server.kill();
    tried.wait_for_down().await;
    assert_eq!(tried.ask(count()).await, Err(CallError::NotSent));
    server.restart();
    tried.skip_to_up().await;
    assert_eq!(tried.ask(count()).await, Ok(Reply::Int(1)));
}

#[tokio::test]
async fn the_end_of_a_link_answers_its_calls() {
    let server = TestServer::start();
    let tried = Tried::up(&server).await;
    server.pause();
    tried.link.call(1, count());
    let Tried { link, mut events, waiting } = tried;
    assert!(waiting.is_empty());
    drop(link);
    let mut last = Vec::new();
    while last.len() < 2 {
        tokio::time::timeout(PATIENCE, events.receive(&mut last, 10)).await.expect("no event came");
    }
    assert!(matches!(
        &last[..],
        [
            (_, Event::Answer { tag: 1, result: Err(CallError::Lost | CallError::NotSent) }),
            (_, Event::Down(DownReason::Ended))
        ]
    ));
}
