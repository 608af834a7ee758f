//! The page keeps people: a reload loses nothing, the address says where one is, and there is a way out.

use crate::chat::{speak, speaker};
use crate::driver::Browser;
use crate::page::Page;
use crate::support::server::{Server, UNPINGED};

/// Returns the part of the address behind `#`.
async fn place(page: &Page<'_>) -> String {
    page.run("return location.hash", vec![]).await.as_str().expect("a text").to_owned()
}

#[tokio::test]
async fn a_reload_keeps_the_name_the_rooms_the_private_messages_and_what_was_being_written() {
    let (server, browser) = (Server::start(UNPINGED), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    let mut bob = speaker(&server, "bob", "lobby", 3).await;
    alice.reads("bob", "bob says 3").await;
    alice.click("#members button[title='Write to bob']").await;
    alice.say("Between us").await;
    alice.reads("alice", "Between us").await;
    alice.write("#text", "not yet sent").await;
    alice.join("garden").await;
    alice.write("#text", "half a sentence").await;
    assert_eq!(place(&alice).await, "#/room/garden");

    alice.reload().await;
    alice.sees("#connection-state", "Connected").await;
    alice.sees("#title", "garden").await;
    alice.until("the draft", "$('#text').value === 'half a sentence'").await;
    alice.sees("#who-am-i", "alice").await;
    alice.sees_none("#notice").await;
    // Nobody is told of a second alice, and nothing that is said now is missed.
    speak(&mut bob, "bob", 1).await;
    alice.sees("#rooms", "lobby 1 unread").await;
    alice.visit("lobby").await;
    alice.reads("bob", "bob says 1").await;
    assert_eq!(alice.messages().await, ["bob says 1", "bob says 2", "bob says 3", "bob says 1"]);
    alice.click("#directs button").await;
    alice.reads("alice", "Between us").await;
    alice.until("the other draft", "$('#text').value === 'not yet sent'").await;
    browser.finish().await;
}

#[tokio::test]
async fn messages_that_came_during_a_reload_are_marked_as_new() {
    let (server, browser) = (Server::start(UNPINGED), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    let mut bob = speaker(&server, "bob", "lobby", 2).await;
    alice.reads("bob", "bob says 2").await;
    alice.join("garden").await;
    alice.goto("about:blank").await;
    speak(&mut bob, "bob", 2).await;
    alice.back().await;
    alice.sees("#title", "garden").await;
    alice.sees("#rooms", "lobby 2 unread").await;
    alice.visit("lobby").await;
    alice.reads("bob", "bob says 2").await;
    assert_eq!(alice.messages().await, ["bob says 1", "bob says 2", "bob says 1", "bob says 2"]);
    alice.until("the mark", "$$('#messages li').findIndex((e) => e.querySelector('.new')) === 2").await;
    browser.finish().await;
}

#[tokio::test]
async fn unsent_messages_survive_a_reload() {
    let (server, browser) = (Server::start(&[]), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    alice.write_to("nobody-here").await;
    alice.say("Are you there?").await;
    alice.sees("#messages .failed", "Are you there?").await;
    alice.reload().await;
    alice.sees("#title", "Private: nobody-here").await;
    alice.sees("#messages .failed", "Not delivered: no user of this name is connected").await;
    browser.finish().await;
}

#[tokio::test]
async fn the_address_says_where_one_is_and_the_back_button_leads_back() {
    let (server, browser) = (Server::start(UNPINGED), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    let _bob = speaker(&server, "bob", "lobby", 0).await;
    assert_eq!(place(&alice).await, "#/room/lobby");
    alice.join("garden").await;
    alice.write_to("bob").await;
    assert_eq!(place(&alice).await, "#/user/bob");
    for (title, at) in [("garden", "#/room/garden"), ("lobby", "#/room/lobby")] {
        alice.back().await;
        alice.sees("#title", title).await;
        assert_eq!(place(&alice).await, at);
    }
    // An address that somebody was sent leads there, and enters the room.
    alice.run("location.hash = '#/room/kitchen'", vec![]).await;
    alice.sees("#title", "kitchen").await;
    alice.sees("#rooms", "kitchen").await;
    alice.run("location.hash = '#/room/no room/%'", vec![]).await;
    alice.say("Still here").await;
    alice.reads("alice", "Still here").await;
    alice.sees("#title", "kitchen").await;

    let carol = browser.open(&format!("http://{}/?name=carol#/room/garden", server.address())).await;
    carol.click("#enter button").await;
    carol.sees("#title", "garden").await;
    browser.finish().await;
}

#[tokio::test]
async fn the_way_out_leaves_nothing_behind() {
    let (server, browser) = (Server::start(UNPINGED), Browser::start().await);
    let mut bob = speaker(&server, "bob", "lobby", 0).await;
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    alice.write("#text", "a secret").await;
    alice.click("#quit").await;
    alice.is_at_the_door().await;
    assert_eq!(place(&alice).await, "");
    while bob.recv_json().await["message"] != "User alice has left the chat" {}
    alice.reload().await;
    alice.is_at_the_door().await;
    assert_eq!(alice.run("return sessionStorage.length", vec![]).await, 0);
    alice.write("#name", "alison").await;
    alice.click("#enter button").await;
    alice.sees("#title", "lobby").await;
    alice.until("an empty field", "$('#text').value === ''").await;
    alice.sees("#who-am-i", "alison").await;
    browser.finish().await;
}
