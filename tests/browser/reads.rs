//! How messages look: links, code, days, the line above new messages, and the way to the newest.

use serde_json::json;

use crate::chat::{speak, speaker};
use crate::driver::Browser;
use crate::page::Page;
use crate::support::server::{Server, UNPINGED};

const UNLIMITED: &[(&str, &str)] = &[("rate_limit.enabled", "false"), ("heartbeat.interval", "1h")];

#[tokio::test]
async fn links_lead_to_the_web_alone() {
    let (server, browser) = (Server::start(&[]), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    let text = "See https://example.org/a_(b)?c=d#e, (http://example.org/x) or https://example.org. Not \
                javascript:alert(1), ftp://example.org or https:// alone.";
    alice.say(text).await;
    alice.reads("alice", text).await;
    let links = "return [...document.querySelectorAll('#messages a')].map((a) => [a.href, a.textContent])";
    let expected = json!([
        ["https://example.org/a_(b)?c=d#e", "https://example.org/a_(b)?c=d#e"],
        ["http://example.org/x", "http://example.org/x"],
        ["https://example.org/", "https://example.org"],
    ]);
    assert_eq!(alice.run(links, vec![]).await, expected);
    let is_guarded =
        "$$('#messages a').every((a) => a.rel === 'noopener noreferrer nofollow' && a.target === '_blank')";
    alice.until("no way back from them", is_guarded).await;
    browser.finish().await;
}

#[tokio::test]
async fn code_is_shown_as_it_is() {
    let (server, browser) = (Server::start(&[]), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    let mut bob = speaker(&server, "bob", "lobby", 0).await;
    let text =
        "Try `a < b && <b>` or\n```rust\nfn main() {\n    @bob https://example.org\n}\n```\nand ` alone";
    bob.send_text(json!({"message": text}).to_string()).await;
    alice.until("two pieces", "$$('#messages .text code').length === 2").await;
    let pieces = "return [...document.querySelectorAll('#messages .text code')].map((e) => e.textContent)";
    let expected = json!(["a < b && <b>", "fn main() {\n    @bob https://example.org\n}"]);
    assert_eq!(alice.run(pieces, vec![]).await, expected);
    alice.until("nothing else in code", "!$('.text code *') && !$('.text a') && !$('.text .at')").await;
    alice.until("a block", "$$('#messages .text > pre > code').length === 1").await;
    browser.finish().await;
}

#[tokio::test]
async fn a_call_by_name_stands_out() {
    let (server, browser) = (Server::start(UNPINGED), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    alice.join("garden").await;
    let mut bob = speaker(&server, "bob", "lobby", 0).await;
    for text in ["mail@alice is no call, nor is @alice2", "hey @alice: are you there, @carol?"] {
        bob.send_text(json!({"message": text}).to_string()).await;
    }
    alice.sees("#rooms", "lobby 2 unread @").await;
    alice.visit("lobby").await;
    alice
        .until("one call", "$$('#messages .call').length === 1 && $$('#messages .at.me').length === 1")
        .await;
    alice.until("three names", "$$('#messages .at').map(textOf).join() === '@alice2,@alice,@carol'").await;
    browser.finish().await;
}

#[tokio::test]
async fn a_line_shows_where_the_new_messages_begin_and_another_where_a_day_does() {
    let (server, browser) = (Server::start(UNPINGED), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    let mut bob = speaker(&server, "bob", "lobby", 2).await;
    alice.reads("bob", "bob says 2").await;
    alice.until("no line", "!$('.new') && !$('.day')").await;
    alice.join("garden").await;
    speak(&mut bob, "bob", 2).await;
    alice.sees("#rooms", "lobby 2 unread").await;
    alice
        .until("a mark on the icon", "document.getElementById('icon').href.endsWith('/icon-unread.svg')")
        .await;
    alice.visit("lobby").await;
    alice
        .until("above the third", "$$('#messages .said').findIndex((e) => e.querySelector('.new')) === 2")
        .await;
    alice.until("no mark", "document.getElementById('icon').href.endsWith('/icon.svg')").await;
    alice.say("An answer").await;
    alice.reads("alice", "An answer").await;
    alice.until("no line any more", "!$('.new')").await;

    // The browser's clock goes to the next day.
    let tomorrow = "const now = Date.now.bind(Date); const RealDate = Date;
        window.Date = class extends RealDate {
            constructor(...parts) { super(...(parts.length ? parts : [now() + 86_400_000])); }
            static now() { return now() + 86_400_000; }
        }";
    alice.run(tomorrow, vec![]).await;
    alice.visit("garden").await;
    alice.visit("lobby").await;
    alice.until("a day", "$$('.day').length === 1 && textOf($('.day')) === 'Yesterday'").await;
    browser.finish().await;
}

#[tokio::test]
async fn a_reader_of_older_messages_is_told_of_new_ones_and_stays() {
    let (server, browser) = (Server::start(UNLIMITED), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    let mut bob = speaker(&server, "bob", "lobby", 60).await;
    alice.reads("bob", "bob says 60").await;
    alice.until("no button", "!$('#newest')").await;
    let middle = "const log = document.getElementById('log'); log.scrollTop = 300; return log.scrollTop";
    let top = alice.run(middle, vec![]).await;
    alice.sees("#newest", "↓ Newest").await;
    speak(&mut bob, "bob", 2).await;
    alice.sees("#newest", "↓ 2 new messages").await;
    assert_eq!(alice.run("return document.getElementById('log').scrollTop", vec![]).await, top);
    alice.click("#newest").await;
    alice.until("no button", "!$('#newest')").await;
    alice.is_at_the_end().await;
    browser.finish().await;
}

#[tokio::test]
async fn the_column_is_as_wide_as_one_reads_well() {
    let (server, browser) = (Server::start(&[]), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    let mut bob = speaker(&server, "bob", "lobby", 1).await;
    speak(&mut bob, &"words ".repeat(60), 1).await;
    alice.say("Mine").await;
    alice.reads("alice", "Mine").await;
    let is_column = "((boxes) => boxes.every(({ left, width }) => left === boxes[0].left && width <= 720))(
        $$('#messages .said').map((e) => e.getBoundingClientRect()))";
    alice.until("one column", is_column).await;
    browser.finish().await;
}
