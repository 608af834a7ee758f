//! The Rust client against the real server, over a link that breaks.

use std::time::Duration;

use tempfile::TempDir;
use throng::client::{BuildError, Event, SendError, State};

use crate::manual::CLIENTS;
use crate::support::bridge::Bridge;
use crate::support::rust_client::{Own, builder, patiently};
use crate::support::server::Server;

fn url(server: &Server) -> String {
    format!("ws://{}", server.address())
}

// Two threads: one waits for the server, the other runs the client.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_client_sends_and_receives_joins_and_leaves_asks_and_closes() {
    let server = Server::start(&[]);
    let mut ann = Own::enter(&url(&server), "ann").await;
    let mut bob = Own::enter(&url(&server), "bob").await;
    let ack = ann.client.say("lobby", "hi \u{1f41d} \"quoted\"").await.unwrap();
    assert_eq!((ack.room.as_str(), ack.offset, ack.duplicate), ("lobby", 1, false));
    assert_eq!(bob.heard().await, "hi \u{1f41d} \"quoted\"");
    assert_eq!(ann.heard().await, "hi \u{1f41d} \"quoted\"");

    let joined = ann.client.join("tea").await.unwrap();
    assert_eq!((joined.offset, joined.recovered, joined.members), (0, false, Some(1)));
    assert_eq!(ann.client.join("tea").await.unwrap().members, None, "already in");
    bob.client.join("tea").await.unwrap();
    let who =
        |event: &Event| if let Event::Typing { user, .. } = event { Some(user.to_string()) } else { None };
    // A typing notice is the first thing to be dropped, so it may take a second try.
    let typing = async {
        loop {
            bob.client.typing("tea");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        () = typing => unreachable!("it never ends"),
        user = ann.until("typing", who) => assert_eq!(user, "bob"),
    }
    let users = bob.client.presence("tea", None, 1).await.unwrap();
    assert_eq!((users.users[0].as_str(), users.members, users.more), ("ann", 2, true));
    assert_eq!(bob.client.presence("tea", Some("ann"), 9).await.unwrap().users[0].as_str(), "bob");

    assert_eq!(ann.client.direct("bob", "psst").await, Ok(1));
    let text = |event: &Event| if let Event::Direct { text, .. } = event { Some(text.clone()) } else { None };
    assert_eq!(bob.until("a private message", text).await, "psst");
    let nobody = ann.client.direct("nobody", "psst").await;
    assert!(
        matches!(nobody, Err(SendError::Refused { ref code, .. }) if code == "user_not_found"),
        "{nobody:?}"
    );

    for n in 0..4 {
        bob.client.say("tea", &format!("cup {n}")).await.unwrap();
    }
    let page = ann.client.history("tea", Some(4), 2).await.unwrap();
    let texts: Vec<_> = page.messages.iter().map(|message| (message.offset, &*message.text)).collect();
    assert_eq!((texts, page.more), (vec![(2, "cup 1"), (3, "cup 2")], true));
    ann.client.leave("tea").await.unwrap();
    ann.client.leave("tea").await.unwrap();
    let refused = ann.client.say("tea", "again").await;
    assert!(
        matches!(refused, Err(SendError::Refused { ref code, .. }) if code == "not_in_room"),
        "{refused:?}"
    );
    let long = ann.client.say("lobby", &"x".repeat(501)).await;
    assert_eq!(long, Err(SendError::TooLong { max: 500 }));
    assert!(matches!(ann.client.join("no such name").await, Err(SendError::BadName(_))));

    patiently("a close", ann.client.close()).await;
    assert_eq!(ann.stopped().await.code, Some(1000));
    assert_eq!(ann.events.next().await, None);
    assert!(matches!(ann.client.say("lobby", "late").await, Err(SendError::Stopped(_))));
    drop(bob);
    crate::support::eventually("a client that is dropped disconnects", || server.connections() == 0.0);
}

/// 1. Ann claims a name, and sends data to the room and to Bob alone; Bob receives both in the bytes that she wrote,
///    and so do those who read the history.
/// 2. The connection breaks: Ann comes back with her name.
/// 3. Data that is no JSON, and a name that must not be shown, go nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_client_has_a_name_and_sends_and_receives_data() {
    const NAME: &str = "Ann \"M\u{fc}ller\" & #1 \u{5c71}";
    const DATA: &str = r#"{ "a" : [1.50, 1E2, "\u00fc"] }"#;
    let server = Server::start(&[]);
    let bridge = Bridge::to(server.address()).await;
    let mut ann = Own::start(builder(&bridge.url(), "ann").name(NAME));
    ann.until("a welcome", |event| matches!(event, Event::Welcome { .. }).then_some(())).await;
    let mut bob = Own::enter(&url(&server), "bob").await;
    ann.client.say_with_data("lobby", "one", DATA).await.unwrap();
    assert_eq!(ann.client.direct_with_data("bob", "two", DATA).await, Ok(1));
    ann.client.say("lobby", "three").await.unwrap();
    bridge.cut();
    bridge.mend(server.address());
    ann.client.say_with_data("lobby", "four", "null").await.unwrap();
    bob.client.say("lobby", "five").await.unwrap();
    let mut received = Vec::new();
    while received.len() < 5 {
        let carried = |event: &Event| match event {
            Event::Message { text, name, data, .. } | Event::Direct { text, name, data, .. } => {
                Some((text.clone(), name.as_ref().map(ToString::to_string), data.clone()))
            }
            _ => None,
        };
        received.push(bob.until("a message", carried).await);
    }
    let name = || Some(NAME.to_owned());
    // A private message may overtake one of the room.
    received.sort();
    let expected = [
        ("five", None, None),
        ("four", name(), Some("null")),
        ("one", name(), Some(DATA)),
        ("three", name(), None),
        ("two", name(), Some(DATA)),
    ];
    assert_eq!(received, expected.map(|(text, name, data)| (text.into(), name, data.map(Into::into))));
    let page = bob.client.history("lobby", None, 10).await.unwrap();
    let first = (page.messages[0].name.as_ref().map(ToString::to_string), page.messages[0].data.as_deref());
    assert_eq!((first, page.messages.len()), ((name(), Some(DATA)), 4));

    for wrong in ["", "nonsense", "{\"a\":1", "1 2"] {
        let answer = ann.client.say_with_data("lobby", "x", wrong).await;
        assert!(matches!(answer, Err(SendError::BadData(_))), "{wrong}: {answer:?}");
    }
    let large = format!("\"{}\"", "x".repeat(5_000));
    let refused = ann.client.direct_with_data("bob", "x", &large).await;
    assert!(
        matches!(refused, Err(SendError::Refused { ref code, .. }) if code == "data_too_long"),
        "{refused:?}"
    );
    for wrong in ["", " ", "a\nb", "a\u{202e}b", &"x".repeat(65)] {
        let error = builder(&url(&server), "eve").name(wrong).connect().err();
        assert!(matches!(error, Some(BuildError::Name(_))), "{wrong:?}: {error:?}");
    }
}

#[tokio::test]
async fn the_client_stops_when_reconnecting_cannot_help() {
    let required = [("auth.secret", crate::support::token::SECRET), ("auth.required", "true")];
    let server = Server::start(&required);
    let mut ann = Own::start(builder(&url(&server), "ann").token("worthless"));
    assert_eq!(ann.stopped().await.code, Some(1008));
    let token = crate::support::token::mint(&["--sub", "ann"]);
    let mut ann = Own::start(builder(&url(&server), "ann").token(&token));
    ann.until("a welcome", |event| matches!(event, Event::Welcome { .. }).then_some(())).await;
    // The same user connects from elsewhere, and the first connection is told not to come back.
    let mut other = Own::start(builder(&url(&server), "ann").token(&token));
    assert_eq!(ann.stopped().await.code, Some(4501));
    other.until("a welcome", |event| matches!(event, Event::Welcome { .. }).then_some(())).await;

    let strict = Server::start(&[&required[..], &[("admission.refuse", "http")]].concat());
    let mut ann = Own::start(builder(&url(&strict), "ann"));
    let ended = ann.stopped().await;
    assert!(ended.code.is_none() && ended.reason.contains("401"), "{ended:?}");
}

fn kept(dir: &TempDir) -> [(&'static str, String); 1] {
    [("history.dir", dir.path().join("history").to_str().expect("UTF-8").to_owned())]
}

fn start_with(settings: &[(&'static str, String)]) -> Server {
    let settings: Vec<_> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
    Server::start(&settings)
}

#[tokio::test]
async fn after_a_restart_messages_are_there_or_reported_lost() {
    let dir = tempfile::tempdir().expect("a folder");
    for settings in [&kept(&dir)[..], &[]] {
        let is_kept = !settings.is_empty();
        let server = start_with(settings);
        let bridge = Bridge::to(server.address()).await;
        let mut ann = Own::enter(&bridge.url(), "ann").await;
        let bob = Own::enter(&bridge.url(), "bob").await;
        ann.client.join("tea").await.unwrap();
        bob.client.join("tea").await.unwrap();
        for room in ["lobby", "tea"] {
            bob.client.say(room, &format!("{room} before")).await.unwrap();
            assert_eq!(ann.heard().await, format!("{room} before"));
        }
        // Ann's link is cut, and the server ends after further messages that she misses.
        bridge.cut();
        ann.away().await;
        let away = Own::enter(&url(&server), "eve").await;
        away.client.join("tea").await.unwrap();
        for room in ["lobby", "tea"] {
            away.client.say(room, &format!("{room} meanwhile")).await.unwrap();
        }
        drop(server);
        let server = start_with(settings);
        bridge.mend(server.address());
        for room in ["lobby", "tea"] {
            let told = ann.until("how it was", |event| match event {
                Event::Message { text, .. } => Some(text.clone()),
                Event::Missed { room, .. } => Some(format!("{room} missed")),
                _ => None,
            });
            let expected = if is_kept { format!("{room} meanwhile") } else { format!("{room} missed") };
            assert_eq!(told.await, expected);
        }
        let recovered = |event: &Event| match event {
            Event::Recovered { messages, .. } => Some(*messages),
            _ => None,
        };
        if is_kept {
            // The first room's recovery came before the second room's messages.
            assert_eq!(ann.until("the end of the replay", recovered).await, 1);
        }
        bob.client.say("lobby", "after").await.unwrap();
        assert_eq!(ann.heard().await, "after");
    }
}

#[tokio::test]
async fn an_unacknowledged_message_is_sent_again_and_appended_once() {
    let server = Server::start(&[]);
    let bridge = Bridge::to(server.address()).await;
    let mut ann = Own::enter(&bridge.url(), "ann").await;
    let mut bob = Own::enter(&url(&server), "bob").await;
    for n in 0..5 {
        // The message arrives, its ack does not.
        bridge.mute();
        let (room, direct) = (format!("said {n}"), format!("whispered {n}"));
        let client = ann.client.clone();
        let saying = tokio::spawn(async move { client.say("lobby", &room).await });
        assert_eq!(bob.heard().await, format!("said {n}"));
        let client = ann.client.clone();
        let whispering = tokio::spawn(async move { client.direct("bob", &direct).await });
        bridge.cut();
        ann.away().await;
        bridge.mend(server.address());
        let ack = patiently("an ack", saying).await.unwrap().unwrap();
        assert_eq!((ack.offset, ack.duplicate), (n + 1, true));
        assert_eq!(patiently("an ack", whispering).await.unwrap(), Ok(1));
        assert_eq!(ann.heard().await, format!("said {n}"));
    }
    let page = bob.client.history("lobby", None, 100).await.unwrap();
    assert_eq!(page.messages.len(), 5, "{page:?}");
    assert!(bridge.carried() >= 6);
}

#[tokio::test]
async fn messages_wait_up_to_a_limit_while_the_client_is_disconnected() {
    let server = Server::start(&[]);
    let bridge = Bridge::to(server.address()).await;
    bridge.cut();
    let mut ann = Own::start(builder(&bridge.url(), "ann").queue(3));
    ann.away().await;
    let mut waiting = tokio::task::JoinSet::new();
    for n in 0..4 {
        let client = ann.client.clone();
        waiting.spawn(async move { client.say("lobby", &format!("{n}")).await });
    }
    // Three of the four fit, and the order of the calls is open.
    assert_eq!(
        patiently("an answer", waiting.join_next()).await.unwrap().unwrap(),
        Err(SendError::QueueFull)
    );
    assert_eq!(ann.client.history("lobby", None, 1).await, Err(SendError::Disconnected));
    bridge.mend(server.address());
    let mut offsets = Vec::new();
    while let Some(answer) = patiently("an answer", waiting.join_next()).await {
        offsets.push(answer.unwrap().unwrap().offset);
    }
    offsets.sort_unstable();
    assert_eq!(offsets, [1, 2, 3]);
}

#[tokio::test]
async fn a_slow_reader_loses_nothing() {
    // More messages than the client, the sockets and the server buffer: the client is dropped as a slow consumer.
    let messages = 600;
    let text = "x".repeat(4_000);
    let queue = [("queue.max_messages", "64"), ("history.messages", "1000"), ("history.bytes", "64MiB")];
    let settings =
        [&queue[..], &[("chat.max_message_chars", "4000"), ("socket.send_buffer", "16KiB")]].concat();
    let server = Server::start(&settings);
    let mut slow = Own::start(builder(&url(&server), "slow").events(4));
    slow.until("a welcome", |event| matches!(event, Event::Welcome { .. }).then_some(())).await;
    let fast = Own::enter(&url(&server), "fast").await;
    drop(fast.events);
    for n in 0..messages {
        fast.client.say("lobby", &format!("{n} {text}")[..4_000]).await.unwrap();
    }
    assert!(server.metric("throng_slow_consumers_dropped_total", "") >= 1.0);
    for n in 0..messages {
        let heard = slow.heard().await;
        assert_eq!(heard.split(' ').next(), Some(n.to_string().as_str()));
    }
    fast.client.close().await;
}

/// Starts a server that answers every handshake and then sends `text`; returns its URL and the count of handshakes.
async fn babbler(text: &'static str) -> (String, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tokio::spawn(async move {
                #[expect(clippy::result_large_err, reason = "the signature is the library's")]
                let accept = |_: &Request, mut response: Response| {
                    let protocol = "throng.v1".parse().expect("a header's value");
                    response.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
                    Ok(response)
                };
                let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(socket, accept).await else {
                    return;
                };
                let _ = socket.send(Message::text(text)).await;
                while let Some(Ok(_)) = socket.next().await {}
            });
        }
    });
    (format!("ws://{address}"), asked)
}

#[tokio::test]
async fn a_server_that_sends_nonsense_is_asked_again_with_growing_delays() {
    for text in [
        "nonsense",
        "[]",
        r#"{"type":"welcome"}"#,
        r#"{"type":"welcome","session":"x","user":"ann","room":"lobby","epoch":"000000000000a","offset":-1}"#,
        r#"{"type":"message","room":"lobby","user":"bob","message":7,"offset":1,"id":"i","ts":1}"#,
    ] {
        let (url, asked) = babbler(text).await;
        let mut ann = Own::start(builder(&url, "ann"));
        let mut ceiling = None;
        for attempt in 1..=5 {
            let waiting = |event: &Event| match event {
                Event::State(State::Waiting { attempt, delay, reason }) => {
                    Some((*attempt, *delay, reason.clone()))
                }
                Event::State(State::Connecting { .. }) => None,
                other => panic!("{other:?}"),
            };
            let (counted, delay, reason) = ann.until("a wait", waiting).await;
            assert_eq!(
                (counted, &*reason.reason),
                (attempt, "the server sent a frame that is no event of throng.v1"),
                "{text}"
            );
            assert!(ceiling.is_none_or(|ceiling| delay <= ceiling));
            ceiling = Some(Duration::from_millis(200));
        }
        let asked = asked.load(std::sync::atomic::Ordering::Relaxed);
        assert!((5..=6).contains(&asked), "{asked} connections for five waits");
        patiently("a close", ann.client.close()).await;
    }
}

// Regression: 1. The program sends more messages at once than the burst allows. 2. The client sent each message behind
// the burst too early once, each of which was a strike, and the connection was closed with 4002, over and over.
#[tokio::test]
async fn a_backlog_goes_through_with_the_default_limits_of_rate() {
    let server = Server::start(&[("rate_limit.enabled", "true")]);
    let mut ann = Own::enter(&url(&server), "ann").await;
    let mut saying = tokio::task::JoinSet::new();
    for n in 0..120 {
        let client = ann.client.clone();
        saying.spawn(async move { client.say("lobby", &n.to_string()).await });
    }
    for _ in 0..120 {
        let nothing_lost = |event: &Event| match event {
            Event::State(_) | Event::Gap { .. } => panic!("{event:?}"),
            Event::Message { .. } => Some(()),
            _ => None,
        };
        ann.until("a message", nothing_lost).await;
    }
    while let Some(answer) = patiently("an answer", saying.join_next()).await {
        answer.unwrap().unwrap();
    }
}

#[test]
fn the_program_in_the_manual_is_the_one_that_is_compiled() {
    let source = include_str!("../../crates/client/src/lib.rs");
    let docs = source.lines().filter_map(|line| line.strip_prefix("//!"));
    let lines = docs.map(|line| line.strip_prefix(' ').unwrap_or(line));
    // Lines that begin with `#` are hidden from readers of the documentation.
    let example = lines.skip_while(|line| *line != "```no_run").skip(1).take_while(|line| *line != "```");
    let shown: String =
        example.filter(|line| !line.starts_with("# ")).map(|line| format!("{line}\n")).collect();
    assert!(shown.contains("Client::builder"), "{shown}");
    let blocks = CLIENTS.blocks("rust");
    let program = blocks.first().expect("a program in Rust");
    let without_blanks = |text: &str| text.replace("\n\n", "\n");
    assert_eq!(without_blanks(program), without_blanks(&shown));
}
