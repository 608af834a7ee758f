//! Writing: completion, commands, emoji by name, unsent messages, several lines, and going places with Ctrl+K.

use serde_json::json;
use thirtyfour::{Key, TypingData};

use crate::axe::expect_no_violation;
use crate::chat::speaker;
use crate::driver::Browser;
use crate::page::Page;
use crate::support::server::{Server, UNPINGED};

/// Types into the field for messages, key by key.
async fn types(page: &Page<'_>, text: &str) {
    page.write("#text", text).await;
}

/// Waits until the field for messages has this text.
async fn has_written(page: &Page<'_>, text: &str) {
    page.until("a text in the field", &format!("$('#text').value === {}", json!(text))).await;
}

#[tokio::test]
async fn names_complete_behind_an_at_sign() {
    let (server, browser) = (Server::start(UNPINGED), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    let _bert = speaker(&server, "bert", "lobby", 0).await;
    let _bob = speaker(&server, "bob", "lobby", 0).await;
    alice.sees("#members", "bob").await;
    types(&alice, "Hello @b").await;
    alice.until("two choices", "$$('#completions li').length === 2").await;
    expect_no_violation(&alice, "choices").await;
    alice.press(Key::Down).await;
    let is_second = "$('#text').getAttribute('aria-activedescendant') === $$('#completions li')[1].id
        && $$('#completions li')[1].getAttribute('aria-selected') === 'true'";
    alice.until("the second is chosen", is_second).await;
    let second =
        alice.run("return document.querySelectorAll('#completions li')[1].textContent", vec![]).await;
    let name = if second.as_str().expect("a text").ends_with("bob") { "bob" } else { "bert" };
    alice.press(Key::Enter).await;
    has_written(&alice, &format!("Hello @{name} ")).await;
    alice.sees_none("#completions").await;
    // Escape closes the choices alone, and Enter sends then.
    alice.press("and @bo").await;
    alice.until("one choice", "$$('#completions li').length === 1").await;
    alice.press(Key::Escape).await;
    alice.sees_none("#completions").await;
    alice.press(Key::Enter).await;
    alice.reads("alice", &format!("Hello @{name} and @bo")).await;
    browser.finish().await;
}

#[tokio::test]
async fn commands_do_the_same_as_in_the_terminal() {
    let (server, browser) = (Server::start(UNPINGED), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    let mut bob = speaker(&server, "bob", "lobby", 70).await;
    alice.reads("bob", "bob says 70").await;
    types(&alice, "/jo").await;
    alice.sees("#completions", "/join ROOM").await;
    alice.press(Key::Tab).await;
    has_written(&alice, "/join ").await;
    alice.press(TypingData::from("garden") + Key::Enter).await;
    alice.sees("#title", "garden").await;
    alice.say("/room lobby").await;
    alice.sees("#title", "lobby").await;
    alice.say("/who").await;
    alice.sees("#messages .notice", "alice, bob").await;
    alice.say("/leave garden").await;
    alice.until("one room", "$$('#rooms li').length === 1").await;
    alice.say("//no command").await;
    alice.reads("alice", "/no command").await;
    alice.say("/help").await;
    alice.sees("#messages .notice", "/msg USER TEXT – say something to one user alone").await;
    alice.say("/msg bob Psst").await;
    alice.sees("#title", "Private: bob").await;
    alice.reads("alice", "Psst").await;
    while bob.recv_json().await["type"] != "direct" {}

    for (line, answer) in [
        ("/who", "This is not a room"),
        ("/shrug it", "No such command: /shrug"),
        ("/join a b", "Usage: /join ROOM"),
        ("/msg bob", "Usage: /msg USER TEXT"),
        ("/history 101", "/history takes a number from 1 to 100"),
        ("/join a/b", "A room has 1 to 64"),
        ("/room nowhere", "You are not in nowhere"),
    ] {
        alice.say(line).await;
        alice.sees("#say-error", answer).await;
        has_written(&alice, line).await;
    }
    types(&alice, "/quit").await;
    alice.press(Key::Enter).await;
    alice.is_at_the_door().await;
    browser.finish().await;
}

#[tokio::test]
async fn the_command_for_history_loads_as_many_as_it_says() {
    let (server, browser) = (Server::start(UNPINGED), Browser::start().await);
    let _bob = speaker(&server, "bob", "lobby", 90).await;
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    alice.until("a page", "$$('#messages .said').length === 50").await;
    alice.say("/history 7").await;
    alice.until("seven more", "$$('#messages .said').length === 57").await;
    browser.finish().await;
}

#[tokio::test]
async fn emoji_have_names() {
    let (server, browser) = (Server::start(&[]), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    types(&alice, "Hi :wave: and :roc").await;
    has_written(&alice, "Hi 👋 and :roc").await;
    alice.sees("#completions", "🚀 :rocket:").await;
    alice.press(Key::Enter).await;
    has_written(&alice, "Hi 👋 and 🚀").await;
    alice.press(Key::Enter).await;
    alice.reads("alice", "Hi 👋 and 🚀").await;
    let text = "at 10:20:30, `:wave:`, :no_such_thing: and :tada:";
    alice.run("document.getElementById('text').value = arguments[0]", vec![json!(text)]).await;
    alice.press(Key::Enter).await;
    alice.reads("alice", "at 10:20:30, :wave:, :no_such_thing: and 🎉").await;
    browser.finish().await;
}

#[tokio::test]
async fn unsent_messages_come_back_with_arrow_up() {
    let (server, browser) = (Server::start(&[]), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    alice.say("/msg nobody-here Are you there?").await;
    alice.sees("#messages .failed", "Are you there?").await;
    alice.press(Key::Up).await;
    has_written(&alice, "Are you there?").await;
    alice.until("no line of it", "!$('#messages .failed')").await;
    alice.press(Key::Up).await;
    has_written(&alice, "Are you there?").await;
    browser.finish().await;
}

#[tokio::test]
async fn several_pasted_lines_are_one_message() {
    let (server, browser) = (Server::start(&[]), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    types(&alice, "Look: ").await;
    let paste = "const data = new DataTransfer();
        data.setData('text/plain', '\\r\\none\\r\\n  two\\r\\nthree\\r\\n');
        document.getElementById('text').dispatchEvent(
            new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }))";
    let before = alice.run("return document.getElementById('text').offsetHeight", vec![]).await;
    alice.run(paste, vec![]).await;
    has_written(&alice, "Look: one\n  two\nthree").await;
    let grown = format!("$('#text').offsetHeight > {before}");
    alice.until("a field for three lines", &grown).await;
    alice.press(Key::Enter).await;
    alice.reads("alice", "Look: one\n  two\nthree").await;
    assert_eq!(alice.messages().await.len(), 1);
    browser.finish().await;
}

#[tokio::test]
async fn control_k_goes_to_rooms_and_people() {
    let (server, browser) = (Server::start(UNPINGED), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    let _bob = speaker(&server, "bob", "lobby", 0).await;
    alice.sees("#members", "bob").await;
    alice.press_with_control('k').await;
    alice.until("where one writes", "document.activeElement.id === 'switch-to'").await;
    alice.sees("#places", "# lobby").await;
    expect_no_violation(&alice, "the switcher").await;
    alice.press("garden").await;
    alice.sees("#places", "Enter the room garden").await;
    alice.press(Key::Enter).await;
    alice.sees("#title", "garden").await;
    alice.until("where one writes", "document.activeElement.id === 'text'").await;
    alice.press_with_control('k').await;
    alice.press("lob").await;
    alice.sees("#places", "# lobby").await;
    alice.press(Key::Enter).await;
    alice.sees("#title", "lobby").await;
    alice.click("#switch-open").await;
    alice.press("bo").await;
    alice.until("bob first", "textOf($$('#places li')[0]).endsWith('bob')").await;
    alice.click("#places li").await;
    alice.sees("#title", "Private: bob").await;
    alice.press_with_control('k').await;
    alice.until("it is open", "$('#switcher')").await;
    alice.press(Key::Escape).await;
    alice.until("it is closed", "!$('#switcher') && document.activeElement.id === 'text'").await;
    browser.finish().await;
}
