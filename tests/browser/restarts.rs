//! Restarts of the server: missed messages come afterwards, or the page says plainly that they are lost.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::chat::speaker;
use crate::driver::Browser;
use crate::page::Page;
use crate::support::server::Server;

/// The way in which a server ends.
#[derive(Clone, Copy)]
enum End {
    /// SIGTERM: the server closes its connections.
    Terminate,
    /// SIGKILL: connections break without a close.
    Kill,
}

/// Ends a server; returns the address it had.
fn stop(mut server: Server, end: End) -> String {
    let address = server.address().to_string();
    if let End::Terminate = end {
        server.terminate();
        let status = server.wait_exit(Duration::from_secs(20));
        assert!(status.success(), "{status}");
    }
    address
}

async fn see_it_gone(page: &Page<'_>) {
    page.sees("#connection-state", "Connection lost, reconnecting").await;
    // For an instant between two waits, the page shows that it connects.
    page.until("the next attempt", "/^in \\d+ s$/.test($('#countdown')?.innerText ?? '')").await;
}

/// Lets two people talk, ends the server, sends messages that the two miss, and lets them come back.
async fn both_recover(end: End) {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().to_str().expect("a path in UTF-8");
    let settings = [("history.dir", dir), ("drain.window", "1s")];
    let (server, browser) = (Server::start(&settings), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    let bob = Page::enter(&browser, &server, "bob", "lobby").await;
    alice.say("before").await;
    bob.reads("alice", "before").await;

    let address = stop(server, end);
    see_it_gone(&alice).await;
    see_it_gone(&bob).await;
    alice.say("said while away").await;
    alice.sees("#messages .pending", "said while away").await;
    speak_elsewhere(folder.path(), 3).await;

    let _server = Server::launch(&[], &address, &settings);
    for page in [&alice, &bob] {
        page.sees("#connection-state", "Connected").await;
        page.sees("#notice", "Connected again: recovered").await;
        page.reads("alice", "said while away").await;
        let expected = ["before", "carol says 1", "carol says 2", "carol says 3", "said while away"];
        assert_eq!(page.messages().await, expected);
    }
    // Bob may have come back after Alice's next message.
    alice.sees("#notice", "recovered 3 messages").await;
    bob.until("3 or 4", "/recovered [34] messages/.test($('#notice').innerText)").await;
    alice.click("#notice-close").await;
    alice.sees_none("#notice").await;
    bob.say("after").await;
    alice.reads("bob", "after").await;
    browser.finish().await;
}

/// Starts a server with the same history on another address, sends messages of Carol to its lobby, and ends it.
async fn speak_elsewhere(folder: &Path, count: usize) {
    let server = Server::start(&[("history.dir", folder.to_str().expect("a path in UTF-8"))]);
    drop(speaker(&server, "carol", "lobby", count).await);
    stop(server, End::Terminate);
}

#[tokio::test]
async fn with_a_history_on_disk_a_restart_loses_nothing() {
    both_recover(End::Terminate).await;
}

#[tokio::test]
async fn with_a_history_on_disk_a_crash_loses_nothing() {
    both_recover(End::Kill).await;
}

#[tokio::test]
async fn without_a_history_on_disk_the_page_says_that_something_is_lost() {
    let (server, browser) = (Server::start(&[]), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    let bob = Page::enter(&browser, &server, "bob", "lobby").await;
    alice.say("before").await;
    bob.reads("alice", "before").await;
    let address = stop(server, End::Kill);
    see_it_gone(&alice).await;
    let server = Server::launch(&[], &address, &[]);
    for page in [&alice, &bob] {
        page.sees("#connection-state", "Connected").await;
        page.sees("#notice", "Connected again: you missed some messages").await;
        page.sees("#messages .gap", "You missed some messages here").await;
    }
    let _carol = speaker(&server, "carol", "lobby", 2).await;
    for page in [&alice, &bob] {
        page.reads("carol", "carol says 2").await;
        // The messages that were read before stay above the gap.
        assert_eq!(page.messages().await, ["before", "carol says 1", "carol says 2"]);
    }
    browser.finish().await;
}

/// A reader in the page, by the browser's own means: it keeps what it is told.
const READER: &str = "window.heard = []; window.welcomes = [];
    window.reader = new EventSource('/sse/lobby');
    reader.onmessage = (event) => heard.push([JSON.parse(event.data).message, event.lastEventId]);
    reader.addEventListener('welcome', (event) => welcomes.push(JSON.parse(event.data)));";

/// Lets a page of the server read a room as server-sent events, ends the server, sends messages that the page misses,
/// and lets the browser come back by itself.
async fn a_reader_recovers(end: End) {
    let folder = tempfile::tempdir().expect("a folder");
    let settings =
        [("history.dir", folder.path().to_str().expect("a path in UTF-8")), ("drain.window", "1s")];
    let (server, browser) = (Server::start(&settings), Browser::start().await);
    let page = browser.open(&format!("http://{}/", server.address())).await;
    page.run(READER, vec![]).await;
    page.until("a welcome", "welcomes.length === 1").await;
    let alice = speaker(&server, "alice", "lobby", 2).await;
    page.until("the first messages", "heard.length === 2").await;

    drop(alice);
    let address = stop(server, end);
    page.until("the end", "reader.readyState === EventSource.CONNECTING").await;
    speak_elsewhere(folder.path(), 3).await;
    let server = Server::launch(&[], &address, &settings);
    page.until("it is back", "welcomes.length === 2").await;
    let _dave = speaker(&server, "dave", "lobby", 1).await;
    page.until("the last message", "heard.at(-1)[0] === 'dave says 1'").await;

    let texts =
        ["alice says 1", "alice says 2", "carol says 1", "carol says 2", "carol says 3", "dave says 1"];
    let welcomes = page.run("return welcomes", vec![]).await;
    let epoch = welcomes[0]["epoch"].as_str().expect("an epoch");
    let id = |index: usize| format!("{epoch}:{}", index + 1);
    let expected: Vec<_> = texts.iter().enumerate().map(|(index, text)| json!([text, id(index)])).collect();
    assert_eq!(page.run("return heard", vec![]).await, json!(expected), "{welcomes}");
    // The browser has sent the id of the last message that it had.
    let position = ["epoch", "offset", "recovered"].map(|field| &welcomes[1][field]);
    assert_eq!(position, [&json!(epoch), &json!(2), &json!(true)], "{welcomes}");
    browser.finish().await;
}

#[tokio::test]
async fn a_reader_of_server_sent_events_comes_back_after_a_restart_and_misses_nothing() {
    a_reader_recovers(End::Terminate).await;
}

#[tokio::test]
async fn a_reader_of_server_sent_events_comes_back_after_a_crash_and_misses_nothing() {
    a_reader_recovers(End::Kill).await;
}
