//! A storm of reconnects: a thousand clients lose their server in the same instant.

use std::time::Duration;

use throng::client::{Backoff, Client, Event, State};

use crate::support::rust_client::{Own, builder, within};
use crate::support::server::Server;
use crate::support::sized;

/// Messages that are sent before the server dies.
const BEFORE: usize = 10;
/// Messages that are sent in all.
const TOTAL: usize = 30;
/// Upper bound of the first delay before a reconnect, which is random.
const BASE: Duration = Duration::from_secs(2);

/// Returns a port that no other test gets: it is below those that the system assigns by itself.
fn quiet_port() -> u16 {
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (first..32_000).find(is_free).expect("a free port")
}

/// Longest wait for one step: a thousand handshakes without optimisation, beside other tests.
const PATIENCE: Duration = Duration::from_secs(120);

/// The things that a client has seen.
#[derive(Debug, Default)]
struct Seen {
    texts: Vec<String>,
    first_delay: Option<Duration>,
}

/// Waits for `future` at most [`PATIENCE`].
#[track_caller]
fn patiently<F: Future>(future: F) -> impl Future<Output = F::Output> {
    within(PATIENCE, "a step", future)
}

/// Reads until all messages are there; none may be missing or come twice.
async fn member(url: String, n: usize, ready: tokio::sync::mpsc::Sender<()>) -> Seen {
    let backoff = Backoff::new(BASE, Duration::from_secs(4), Duration::from_secs(30));
    let builder = Client::builder(&url).user(&format!("user-{n}")).room("lobby").backoff(backoff).events(64);
    let mut own = Own::start(builder);
    let mut seen = Seen::default();
    while seen.texts.len() < TOTAL {
        match own.events.next().await.expect("it never stops") {
            Event::State(State::Waiting { delay, .. }) => drop(seen.first_delay.get_or_insert(delay)),
            Event::Message { text, .. } => seen.texts.push(text),
            Event::Gap { .. } | Event::Missed { .. } => panic!("user-{n} lost something"),
            Event::Welcome { .. } if seen.first_delay.is_none() => {
                ready.send(()).await.expect("the test waits")
            }
            _ => {}
        }
    }
    own.client.close().await;
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_come_back_spread_out_and_with_every_message_once() {
    let clients = sized(1_000, 5_000);
    let dir = tempfile::tempdir().expect("a folder");
    // Presence is not the subject of this test.
    let quiet = [("presence.notice_limit", "0"), ("presence.interval", "1h")];
    let history = dir.path().join("history");
    let settings = [&quiet[..], &[("history.dir", history.to_str().expect("UTF-8"))]].concat();
    let listen = format!("127.0.0.1:{}", quiet_port());
    let server = Server::launch(&[], &listen, &settings);
    let url = format!("ws://{listen}");
    let (ready, mut welcomed) = tokio::sync::mpsc::channel(clients);
    let members: Vec<_> = (0..clients).map(|n| tokio::spawn(member(url.clone(), n, ready.clone()))).collect();
    for _ in 0..clients {
        patiently(welcomed.recv()).await.expect("a member");
    }
    let publisher = Own::start(builder(&url, "publisher"));
    drop(publisher.events);
    let text = |n: &usize| format!("message {n}");
    for n in 0..BEFORE {
        patiently(publisher.client.say("lobby", &text(&n))).await.expect("it is said");
    }
    drop(server);
    // Some messages wait for the server, and some are sent while clients come back.
    let speaking = tokio::spawn(async move {
        for n in BEFORE..TOTAL {
            patiently(publisher.client.say("lobby", &text(&n))).await.expect("it is said");
        }
        publisher.client.close().await;
    });
    let server = Server::launch(&[], &listen, &settings);
    let said: Vec<_> = (0..TOTAL).map(|n| text(&n)).collect();
    let mut slices = [0_usize; 10];
    for member in members {
        let seen = patiently(member).await.expect("no panic");
        assert_eq!(seen.texts, said);
        let delay = seen.first_delay.expect("it was thrown out");
        assert!(delay <= BASE, "{delay:?}");
        slices[((delay.as_secs_f64() / BASE.as_secs_f64() * 10.0) as usize).min(9)] += 1;
    }
    assert!(slices.iter().all(|count| (clients / 25..=clients / 4).contains(count)), "{slices:?}");
    patiently(speaking).await.expect("no panic");
    drop(server);
}
