//! Rooms that the server lists: people find them, look through them with keys alone, and enter.

use std::time::Instant;

use serde_json::json;
use thirtyfour::{Key, TypingData};

use crate::axe::expect_no_violation;
use crate::chat::{speak, speaker};
use crate::driver::Browser;
use crate::looks::{DESK, PHONE, resize, set_scheme};
use crate::page::{POLL, Page};
use crate::support::PATIENCE;
use crate::support::client::Client;
use crate::support::server::{Server, Settings};

/// The narrowest window that must work.
const NARROW: (u32, u32) = (320, 640);
const LISTED: Settings<'static> = &[("chat.listed_rooms", "open-*"), ("heartbeat.interval", "1h")];

/// Starts a server where people are in listed rooms and in one that is not listed, and waits until the list is whole.
async fn lively() -> (Server, Vec<Client>) {
    let server = Server::start(LISTED);
    let mut people = Vec::new();
    for (user, room, messages) in [
        ("bob", "open-garden", 1),
        ("carol", "open-garden", 2),
        ("dora", "open-attic", 0),
        ("emil", "cellar", 1),
    ] {
        people.push(speaker(&server, user, room, messages).await);
    }
    is_listed(&server, r#""members":2,"last":{"user":"carol","message":"carol says 2""#).await;
    is_listed(&server, "open-attic").await;
    (server, people)
}

/// Waits until the list contains a text.
async fn is_listed(server: &Server, text: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !server.get("/rooms").body.contains(text) {
        assert!(Instant::now() < deadline, "{text} is not listed");
        tokio::time::sleep(POLL).await;
    }
}

#[tokio::test]
async fn a_newcomer_finds_a_room_and_enters_it() {
    let ((server, mut people), browser) = (lively().await, Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    alice.click("#browse-open").await;
    alice.sees("#browse-state", "2 of 2 rooms").await;
    alice.sees("#listed li:first-child", "# open-garden 2 members").await;
    alice.sees("#listed li:first-child .last", "carol: carol says 2").await;
    alice.sees("#listed li:last-child", "# open-attic 1 member").await;
    alice.until("nobody names the cellar", "!document.body.textContent.includes('cellar')").await;
    alice.write("#browse-for", "nothing like it").await;
    alice.sees("#browse-state", "0 of 2 rooms").await;
    alice.write("#browse-for", "#OPEN").await;
    alice.sees("#browse-state", "2 of 2 rooms").await;
    alice.press(TypingData::from(Key::Down) + Key::Enter).await;
    alice.sees("#title", "open-attic").await;
    alice.until("the dialog is gone", "!$('#browse')").await;
    alice.until("one can write", "document.activeElement.id === 'text'").await;

    alice.click("#browse-open").await;
    alice.write("#browse-for", "garden").await;
    alice.sees("#browse-state", "1 of 2 rooms").await;
    alice.click("#listed li").await;
    alice.sees("#title", "open-garden").await;
    alice.reads("carol", "carol says 2").await;
    speak(&mut people[0], "bob", 1).await;
    alice.reads("bob", "bob says 1").await;
    // The list is read anew each time.
    is_listed(&server, r#""members":3"#).await;
    alice.click("#browse-open").await;
    alice.sees("#listed li:first-child", "3 members").await;
    alice.sees("#listed li:first-child", "you are in it").await;
    alice.press(Key::Escape).await;
    alice.until("closed", "!$('#browse')").await;
    alice.until("one can write", "document.activeElement.id === 'text'").await;
    browser.finish().await;
}

#[tokio::test]
async fn without_a_listed_room_there_is_nothing_to_browse() {
    let (server, browser) = (Server::start(LISTED), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    // It has asked for the list.
    let asked = "performance.getEntriesByType('resource').some(({ name, responseEnd }) =>
        name.endsWith('/rooms') && responseEnd > 0)";
    alice.until("the list", asked).await;
    alice.until("no button", "!$('#browse-open')").await;
    let _bob = speaker(&server, "bob", "open-garden", 0).await;
    is_listed(&server, "open-garden").await;
    alice.run("document.dispatchEvent(new Event('visibilitychange'))", vec![]).await;
    alice.click("#browse-open").await;
    alice.sees("#listed", "open-garden").await;
    alice.click("#browse-close").await;
    drop(_bob);
    let deadline = Instant::now() + PATIENCE;
    while server.get("/rooms").body != r#"{"rooms":[]}"# {
        assert!(Instant::now() < deadline, "bob stays");
        tokio::time::sleep(POLL).await;
    }
    alice.click("#browse-open").await;
    alice.sees("#browse-state", "No room is listed").await;
    expect_no_violation(&alice, "an empty list of rooms").await;
    browser.finish().await;
}

#[tokio::test]
async fn the_list_of_rooms_is_accessible_and_fits() {
    let ((server, _people), browser) = (lively().await, Browser::start().await);
    let long = format!("open-{}", "w".repeat(59));
    let mut fay = speaker(&server, "fay", &long, 0).await;
    fay.send_text(json!({"message": "word ".repeat(50)}).to_string()).await;
    is_listed(&server, "word word").await;
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    alice.until("the button", "$('#browse-open')").await;
    alice.run("document.getElementById('browse-open').click()", vec![]).await;
    alice.sees("#browse-state", "3 of 3 rooms").await;
    let fits = "$$('#browse, #browse li, #browse input, #browse button').every((e) => {
        const { left, right, bottom } = e.getBoundingClientRect();
        return left >= 0 && right <= innerWidth && (e.id !== 'browse' || bottom <= innerHeight);
    }) && $('#listed').scrollWidth <= $('#listed').clientWidth";
    for size in [DESK, PHONE, NARROW] {
        resize(&alice, size).await;
        alice.until("nothing sticks out", fits).await;
        for scheme in ["light", "dark"] {
            set_scheme(&alice, scheme).await;
            expect_no_violation(&alice, &format!("the rooms, {scheme}, {} pixels wide", size.0)).await;
        }
    }
    browser.finish().await;
}
