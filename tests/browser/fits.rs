//! The layout under stress: long names, narrow windows, changing texts of the button, bursts of messages.

use serde_json::json;
use thirtyfour::Key;

use crate::chat::speaker;
use crate::driver::Browser;
use crate::looks::resize;
use crate::page::Page;
use crate::support::server::{Server, UNPINGED};

/// The narrowest window that must work (WCAG 2.2, success criterion 1.4.10).
const NARROW: (u32, u32) = (320, 640);
const DESK: (u32, u32) = (1280, 800);
const UNLIMITED: &[(&str, &str)] = &[("rate_limit.enabled", "false")];

/// An expression that is true when nothing is wider than the window, and no name or text reaches out of the log.
const FITS: &str = "document.documentElement.scrollWidth <= innerWidth
    && $$('#chat > header *, #conversation *').every((e) => {
        const { left, right } = e.getBoundingClientRect();
        return e.matches('.unseen, .follows .meta, .follows .meta *') || left >= 0 && right <= innerWidth;
    }) && $$('#log').every((log) => log.scrollWidth <= log.clientWidth)";

#[tokio::test]
async fn the_longest_names_are_seen_whole() {
    let (server, browser) = (Server::start(UNPINGED), Browser::start().await);
    let (own, other) = ("W".repeat(64), "M".repeat(64));
    let page = Page::enter(&browser, &server, &own, "lobby").await;
    let mut client = speaker(&server, &other, "lobby", 0).await;
    page.say("Mine").await;
    page.reads(&own, "Mine").await;
    client.send_text(json!({"message": "Theirs"}).to_string()).await;
    page.reads(&other, "Theirs").await;
    page.sees("#messages .notice", &format!("{other} joined")).await;
    for size in [DESK, NARROW] {
        resize(&page, size).await;
        page.until("all names are seen whole", FITS).await;
    }
    browser.finish().await;
}

#[tokio::test]
async fn a_narrow_window_shows_everything_in_every_state() {
    let (server, browser) = (Server::start(UNPINGED), Browser::start().await);
    let room = "a-room-with-a-name-that-is-as-long-as-one-may-be-in-this-chat-ok";
    let page = browser.open(&format!("http://{}/", server.address())).await;
    resize(&page, NARROW).await;
    page.until("the entry fits", "document.documentElement.scrollWidth <= innerWidth").await;
    let page = Page::enter(&browser, &server, "alice", room).await;
    resize(&page, NARROW).await;
    page.say(&"word ".repeat(40)).await;
    page.until("nothing sticks out", FITS).await;
    page.click("#panels-toggle").await;
    page.until("nor of the panels", "document.documentElement.scrollWidth <= innerWidth").await;
    page.press(Key::Escape).await;
    server.terminate();
    page.sees("#connection-state", "Connection lost").await;
    page.until("the countdown", "$('#countdown').textContent.startsWith('in ')").await;
    page.until("nothing sticks out without a server", FITS).await;
    browser.finish().await;
}

#[tokio::test]
async fn the_button_keeps_its_width_for_every_text() {
    let (server, browser) = (Server::start(&[]), Browser::start().await);
    let page = Page::enter(&browser, &server, "alice", "lobby").await;
    let position = "const e = document.querySelector('#say button'); return [e.offsetLeft, e.offsetWidth]";
    for size in [DESK, (900, 700), NARROW] {
        resize(&page, size).await;
        page.write("#text", "a").await;
        page.sees_none("#say-count").await;
        let before = page.run(position, vec![]).await;
        page.write("#text", &"many words ".repeat(44)).await;
        page.sees("#say-count", "of 500 characters").await;
        assert_eq!(page.run(position, vec![]).await, before, "{size:?}");
        page.until("nothing sticks out", FITS).await;
    }
    browser.finish().await;
}

#[tokio::test]
async fn typing_after_a_message_is_sent_at_once() {
    let (server, browser) = (Server::start(&[]), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    let bob = Page::enter(&browser, &server, "bob", "lobby").await;
    alice.sees("#member-count", "(2)").await;
    bob.sees("#member-count", "(2)").await;
    for text in ["one", "two", "three"] {
        bob.write("#text", text).await;
        alice.sees("#typing", "bob is typing…").await;
        bob.press(Key::Enter).await;
        alice.reads("bob", text).await;
        alice.sees_none("#typing").await;
    }
    // When the connection is lost, the page must no longer show that bob is typing.
    bob.write("#text", "four").await;
    alice.sees("#typing", "bob is typing…").await;
    let watch = "new MutationObserver(() => {
        if (document.getElementById('connection').className === 'waiting')
            window.atLoss ??= document.getElementById('typing').textContent;
    }).observe(document.getElementById('connection'), { attributes: true })";
    alice.run(watch, vec![]).await;
    bob.press("s").await;
    drop(server);
    alice.sees("#connection-state", "Connection lost").await;
    alice.until("nobody types then", "window.atLoss === ''").await;
    browser.finish().await;
}

/// Reading a length that depends on the layout makes the browser compute it, if anything has changed since.
#[tokio::test]
async fn a_burst_of_messages_is_laid_out_once_per_frame() {
    const BURST: usize = 200;
    let (server, browser) = (Server::start(UNLIMITED), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    let mut bob = speaker(&server, "bob", "lobby", 1).await;
    alice.reads("bob", "bob says 1").await;
    let count = "window.looks = window.frames_ = 0;
        const frame = () => { window.frames_ += 1; requestAnimationFrame(frame); };
        requestAnimationFrame(frame);
        for (const name of ['scrollHeight', 'scrollTop', 'clientHeight']) {
            const { get, set } = Object.getOwnPropertyDescriptor(Element.prototype, name);
            Object.defineProperty(Element.prototype, name, {
                get() { window.looks += name === 'scrollHeight'; return get.call(this); }, set,
            });
        }";
    alice.run(count, vec![]).await;
    for n in 2..=BURST {
        bob.send_text(json!({"message": format!("bob says {n}")}).to_string()).await;
    }
    alice.reads("bob", &format!("bob says {BURST}")).await;
    let counted = alice.run("return [window.looks, window.frames_]", vec![]).await;
    alice.is_at_the_end().await;
    let [looks, frames] = [0, 1].map(|at| counted[at].as_u64().expect("a count"));
    // In each frame one read to scroll to the end, and one when the page has scrolled.
    assert!(looks <= 2 * frames + 2 && looks > 0, "{looks} looks in {frames} frames");
    browser.finish().await;
}
