//! Names in any script, tokens, and the same person in another tab.

use serde_json::json;

use crate::chat::speaker;
use crate::driver::Browser;
use crate::errors::expect_complaint;
use crate::page::Page;
use crate::support::server::{Server, UNPINGED};
use crate::support::token::{SECRET, mint};

/// Fills the form, sends it, and waits until the chat is there.
async fn enter_as<'a>(browser: &'a Browser, server: &Server, name: &str) -> Page<'a> {
    let page = Page::request_entry(browser, server, name, "lobby").await;
    page.sees("#title", "lobby").await;
    page
}

#[tokio::test]
async fn a_name_may_be_of_any_script_and_its_id_is_derived() {
    let (server, browser) = (Server::start(UNPINGED), Browser::start().await);
    let mut bob = speaker(&server, "bob", "lobby", 0).await;
    let page = browser.open(&format!("http://{}/", server.address())).await;
    page.write("#name", "Zoë Weiß").await;
    page.sees("#name-id", "Zoe-Weiss").await;
    page.click("#enter button").await;
    page.sees("#who-am-i", "Zoë Weiß (Zoe-Weiss)").await;
    page.say("Hi").await;
    let said = loop {
        let event = bob.recv_json().await;
        if event["type"] == "message" {
            break event;
        }
    };
    assert_eq!([&said["user"], &said["name"]], [&json!("Zoe-Weiss"), &json!("Zoë Weiß")]);
    page.reload().await;
    page.sees("#who-am-i", "Zoë Weiß (Zoe-Weiss)").await;
    page.reads("Zoë Weiß (Zoe-Weiss)", "Hi").await;
    browser.finish().await;
}

#[tokio::test]
async fn a_second_tab_of_the_same_person_is_let_in() {
    let (server, browser) = (Server::start(UNPINGED), Browser::start().await);
    let first = Page::enter(&browser, &server, "alice", "lobby").await;
    let second = Page::request_entry(&browser, &server, "alice", "lobby").await;
    expect_complaint(&second, "#name", "You are in the chat under this name, in another tab").await;
    second.click("#go-on").await;
    second.sees("#title", "lobby").await;
    first.sees("#connection-state", "You went on in another tab or on another device").await;
    second.say("From here").await;
    second.reads("alice", "From here").await;

    first.click("#again").await;
    first.sees("#connection-state", "Connected").await;
    first.reads("alice", "From here").await;
    second.sees("#connection-state", "You went on in another tab or on another device").await;
    browser.finish().await;
}

#[tokio::test]
async fn a_name_of_somebody_else_is_taken() {
    let (server, browser) = (Server::start(&[]), Browser::start().await);
    let mut holder = speaker(&server, "alice", "lobby", 0).await;
    // The server asks the holder whether it is alive, who answers while it reads.
    let reading = async {
        loop {
            holder.recv_json().await;
        }
    };
    let asking = async {
        let page = Page::request_entry(&browser, &server, "alice", "lobby").await;
        expect_complaint(&page, "#name", "This name is in use at the moment: choose another").await;
        expect_complaint(&page, "#name", "If it is you, open Settings on the other device").await;
        page.until("nothing to go on with", "!$('#go-on')").await;
        page.write("#name", "alice2").await;
        page.click("#enter button").await;
        page.sees("#members", "alice2").await;
    };
    tokio::select! { () = asking => {}, () = reading => {} }
    browser.finish().await;
}

#[tokio::test]
async fn where_the_server_allows_it_both_tabs_are_in() {
    let (server, browser) = (Server::start(&[("chat.duplicate", "allow")]), Browser::start().await);
    let first = Page::enter(&browser, &server, "alice", "lobby").await;
    let second = Page::enter(&browser, &server, "alice", "lobby").await;
    second.say("From the other").await;
    first.reads("alice", "From the other").await;
    first.say("And from the one").await;
    second.reads("alice", "And from the one").await;
    browser.finish().await;
}

#[tokio::test]
async fn a_token_says_who_one_is() {
    let settings = [("auth.required", "true"), ("auth.secret", SECRET)];
    let (server, browser) = (Server::start(&settings), Browser::start().await);
    let token = mint(&["--sub", "alice"]);
    let page = browser.open(&format!("http://{}/", server.address())).await;
    page.click("summary").await;
    page.write("#token", &token).await;
    page.click("#enter button").await;
    page.sees("#title", "lobby").await;
    page.sees("#who-am-i", "alice").await;
    page.reload().await;
    page.sees("#connection-state", "Connected").await;
    page.say("Still me").await;
    page.reads("alice", "Still me").await;
    browser.finish().await;
}

#[tokio::test]
async fn names_are_shown_beside_their_ids() {
    let (server, browser) = (Server::start(UNPINGED), Browser::start().await);
    let page = enter_as(&browser, &server, "李雷").await;
    page.until("an id of its own", "/^李雷 \\(user-[a-z0-9]{8}\\)$/.test($('#who-am-i .who').textContent)")
        .await;
    let other = enter_as(&browser, &server, "Bob").await;
    other.until("a member", "textOf($('#members')).includes('李雷 · user-')").await;
    page.say("你好 <b>").await;
    let said = json!("你好 <b>");
    let shown = format!(
        "((e) => e?.querySelector('.who').textContent.startsWith('李雷 (user-')
        && e.querySelector('.text').textContent === {said})($$('#messages .said').at(-1))"
    );
    other.until("name and id", &shown).await;
    other
        .until(
            "one colour everywhere",
            "new Set($$('#messages .said').slice(-1).concat($$('#members button'))
        .map((e) => e.querySelector('.avatar').className)).size === 1",
        )
        .await;
    browser.finish().await;
}
