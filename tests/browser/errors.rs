//! Errors on the chat page: each is shown in plain words, where it happened.

use serde_json::json;

use crate::driver::Browser;
use crate::page::Page;
use crate::support::server::Server;

/// Waits until the field is marked as invalid, and its description for screen readers contains this text.
pub(crate) async fn expect_complaint(page: &Page<'_>, field: &str, text: &str) {
    let condition = format!(
        "((field) => field?.getAttribute('aria-invalid') === 'true' && field === document.activeElement
            && field.getAttribute('aria-describedby').split(' ').map((id) => document.getElementById(id))
                .some((e) => e.checkVisibility() && textOf(e).includes({})))($({}))",
        json!(text),
        json!(field)
    );
    page.until("a complaint at the field", &condition).await;
}

#[tokio::test]
async fn an_invalid_name_is_refused_at_its_field() {
    let (server, browser) = (Server::start(&[]), Browser::start().await);
    let page = Page::request_entry(&browser, &server, " ", "lobby").await;
    expect_complaint(&page, "#name", "A name has 1 to 64 characters").await;
    page.write("#name", &"ü".repeat(65)).await;
    page.click("#enter button").await;
    expect_complaint(&page, "#name", "A name has 1 to 64 characters").await;
    page.write("#name", "alice").await;
    page.write("#first-room", "no room/for this").await;
    page.click("#enter button").await;
    expect_complaint(&page, "#first-room", "A room has 1 to 64 characters").await;
    page.write("#first-room", "lobby").await;
    page.click("#enter button").await;
    page.sees("#title", "lobby").await;
    browser.finish().await;
}

#[tokio::test]
async fn without_a_token_the_field_for_it_says_so() {
    let server =
        Server::start(&[("auth.required", "true"), ("auth.secret", "a secret of thirty-two bytes, or so")]);
    let browser = Browser::start().await;
    let page = Page::request_entry(&browser, &server, "alice", "lobby").await;
    expect_complaint(&page, "#token", "This server requires a token").await;
    browser.finish().await;
}

#[tokio::test]
async fn a_flood_is_refused_with_a_text_and_recovers_by_itself() {
    let limits =
        [("rate_limit.enabled", "true"), ("rate_limit.messages_per_second", "1"), ("rate_limit.burst", "2")];
    let (server, browser) = (Server::start(&limits), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    let texts: Vec<_> = (1..=5).map(|n| format!("flood {n}")).collect();
    // A script sends faster than the driver can type.
    let flood = "for (const text of arguments[0]) {
        document.getElementById('text').value = text;
        document.getElementById('say').requestSubmit();
    }";
    alice.run(flood, vec![json!(texts)]).await;
    alice.sees("#say-error", "You write too fast. Sending goes on in 1 s").await;
    alice.sees("#messages .pending", "sending…").await;
    // Every message arrives, in its order.
    alice.reads("alice", "flood 5").await;
    alice.sees_none("#say-error").await;
    assert_eq!(alice.messages().await, texts);
    browser.finish().await;
}

#[tokio::test]
async fn a_text_that_is_too_long_stays_in_its_field() {
    let (server, browser) = (Server::start(&[("chat.max_message_chars", "50")]), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    let long = "ä👋".repeat(30);
    alice.write("#text", &"a".repeat(45)).await;
    alice.sees("#say-count", "45 of 50 characters").await;
    alice.say(&long).await;
    expect_complaint(&alice, "#text", "Too long: 60 characters where 50 are allowed. Nothing was sent").await;
    assert_eq!(alice.run("return document.getElementById('text').value", vec![]).await, long);
    assert_eq!(alice.messages().await, [""; 0]);
    let short: String = long.chars().take(50).collect();
    alice.say(&short).await;
    alice.reads("alice", &short).await;
    alice.sees_none("#say-error").await;
    browser.finish().await;
}

#[tokio::test]
async fn the_page_waits_for_a_server_that_is_not_there() {
    let (server, browser) = (Server::start(&[]), Browser::start().await);
    let page = browser.open(&format!("http://{}/", server.address())).await;
    let listen = server.address().to_string();
    drop(server);
    page.write("#name", "alice").await;
    page.click("#enter button").await;
    page.sees("#entry-state", "The server does not answer.").await;
    page.sees("#entry-countdown", "Next try in").await;
    let _server = Server::launch(&[], &listen, &[]);
    page.sees("#title", "lobby").await;
    browser.finish().await;
}
