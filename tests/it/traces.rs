//! Traces for OpenTelemetry: a collector, which shares no code with throng, is sent what has ended.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::http::post;
use crate::support::raw::Socket;
use crate::support::receiver::{Answer, Asked, Receiver};
use crate::support::server::{Server, Settings};
use crate::support::speaker::Speaker;

const KEY: &str = "a-key-of-the-tests-1";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn start(collector: &Receiver, more: Settings<'_>) -> Server {
    let (url, keys) = (collector.url(""), format!("backend={KEY}"));
    let own = [("engine", "memory"), ("traces.url", url.as_str()), ("api.keys", keys.as_str())];
    Server::start(&[&own, more].concat())
}

/// Returns the spans that a collector has got.
fn spans(asked: &[Asked]) -> Vec<Value> {
    let all = asked.iter().filter(|asked| asked.is_taken).map(|asked| &asked.body["resourceSpans"][0]);
    all.flat_map(|resource| resource["scopeSpans"][0]["spans"].as_array().expect("spans").clone()).collect()
}

fn named<'s>(spans: &'s [Value], name: &str) -> Vec<&'s Value> {
    spans.iter().filter(|span| span["name"] == name).collect()
}

/// Returns an attribute of a span or resource.
fn attribute<'s>(of: &'s Value, key: &str) -> &'s Value {
    let mut all = of["attributes"].as_array().expect("attributes").iter();
    all.find(|attribute| attribute["key"] == key).map_or(&Value::Null, |found| &found["value"])
}

/// Publishes as another server does that follows the trace, or does not.
fn publish(server: &Server, room: &str, traceparent: &str) {
    let head =
        format!("X-API-Key: {KEY}\r\nContent-Type: application/json\r\ntraceparent: {traceparent}\r\n");
    let body = json!({"room": room, "message": "a secret text"}).to_string();
    post(server.address(), "/api/publish", &head, &body);
}

/// Opens a connection, says something, and closes it.
fn visit(server: &Server, user: &str) {
    let mut speaker = Speaker::alone(server, &format!("{user}?room={user}"));
    speaker.say_quietly(user, "a secret text");
    drop(speaker);
}

#[test]
fn connections_and_calls_become_spans() {
    let collector = Receiver::start(|_| Answer::json(&json!({})));
    let server = start(&collector, &[("node", "node-7")]);
    visit(&server, "alice");
    publish(&server, "a", &format!("00-{TRACE}-{PARENT}-00"));
    publish(&server, "not a room", "00-no-trace-01");
    let asked = collector.wait_for("three spans", |asked| spans(asked).len() >= 3);
    assert_eq!((asked[0].path.as_str(), asked[0].header("content-type")), ("/v1/traces", "application/json"));
    assert!(asked.iter().all(|asked| !asked.raw.contains("secret")), "{asked:?}");
    let resource = &asked[0].body["resourceSpans"][0]["resource"];
    assert_eq!(attribute(resource, "service.name"), &json!({"stringValue": "throng"}));
    assert_eq!(attribute(resource, "service.instance.id"), &json!({"stringValue": "node-7"}));

    let spans = spans(&asked);
    let [connection] = named(&spans, "connection chat")[..] else { panic!("{spans:?}") };
    assert_eq!(attribute(connection, "throng.user"), &json!({"stringValue": "alice"}));
    assert_eq!(attribute(connection, "throng.messages"), &json!({"intValue": "1"}));
    assert_eq!((&connection["kind"], &connection["status"]), (&json!(2), &Value::Null));
    let nanos = |field: &str| connection[field].as_str().expect("text").parse::<u64>().expect("a number");
    assert!(nanos("startTimeUnixNano") <= nanos("endTimeUnixNano"), "{connection}");
    assert_eq!(connection["traceId"].as_str().map(str::len), Some(32));

    let calls = named(&spans, "api publish");
    let (good, bad): (Vec<&Value>, Vec<&Value>) = calls.iter().partition(|span| span["status"].is_null());
    assert_eq!((good.len(), bad.len()), (1, 1), "{spans:?}");
    assert_eq!((&good[0]["traceId"], &good[0]["parentSpanId"]), (&json!(TRACE), &json!(PARENT)));
    assert_eq!(attribute(good[0], "throng.room"), &json!({"stringValue": "a"}));
    // A header of another form names no trace.
    assert_eq!((&bad[0]["status"]["code"], &bad[0]["parentSpanId"]), (&json!(2), &Value::Null));
    // The line that a connection's span is made of is below the level of the log.
    assert!(!server.log().text().contains("connection ended"), "{}", server.log().text());
}

#[test]
fn connections_that_end_with_the_server_are_sent_before_the_process_ends() {
    let collector = Receiver::start(|_| Answer::json(&json!({})));
    let mut server = start(&collector, &[("drain.window", "0ms")]);
    let mut sockets: Vec<Socket> =
        (0..20).map(|n| Socket::open(server.address(), &format!("/ws/chat/user-{n:02}"))).collect();
    server.terminate();
    for socket in &mut sockets {
        socket.skip_to_close();
    }
    server.wait_exit(PATIENCE);
    assert_eq!(named(&spans(&collector.asked()), "connection chat").len(), 20);
}

#[test]
fn a_share_is_kept_and_besides_it_what_a_caller_follows() {
    let collector = Receiver::start(|_| Answer::json(&json!({})));
    let mut server = start(&collector, &[("traces.one_in", "1000")]);
    for _ in 0..5 {
        publish(&server, "a", "");
        publish(&server, "a", &format!("00-{TRACE}-{PARENT}-00"));
        publish(&server, "a", &format!("00-{TRACE}-{PARENT}-01"));
    }
    server.terminate();
    server.wait_exit(PATIENCE);
    let spans = spans(&collector.asked());
    let followed = spans.iter().filter(|span| span["traceId"] == TRACE).count();
    assert_eq!((spans.len(), followed), (6, 5), "the first of all, and five that are followed: {spans:?}");
}

/// 1. The collector refuses for good: that is said once, and said again when it is over.
/// 2. It is silent: nobody waits for it, and the process ends in time.
#[test]
fn a_collector_that_takes_nothing_makes_nobody_wait() {
    let collector = Receiver::start(|_| Answer::Status(400, "", String::new()));
    let mut server = start(&collector, &[]);
    for user in ["alice", "bobby"] {
        visit(&server, user);
    }
    server.log().wait_for("the collector takes no traces: they are dropped", |line| {
        line["message"] == "the collector takes no traces: they are dropped"
    });
    collector.answer(|_| Answer::json(&json!({})));
    visit(&server, "carol");
    server.log().wait_for("the collector takes traces again", |line| {
        line["message"] == "the collector takes traces again"
    });

    collector.answer(|_| Answer::Hang);
    for n in 0..10 {
        visit(&server, &format!("user-{n}"));
    }
    server.terminate();
    // Five seconds for the last spans, and not the ten that an answer may take otherwise.
    assert!(server.wait_exit(Duration::from_secs(9)).success());
}
