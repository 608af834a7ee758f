//! Settings of the page, what calls the user, the manifest, and how much a browser has to load.

use std::time::Duration;

use serde_json::json;
use thirtyfour::Key;

use crate::axe::expect_no_violation;
use crate::chat::{speak, speaker};
use crate::driver::Browser;
use crate::looks::{PHONE, resize, set_scheme};
use crate::page::Page;
use crate::support::client::Client;
use crate::support::server::{Server, UNPINGED};

/// Most bytes that a browser is sent for the page, all files together.
const MAX_BYTES: u64 = 80 * 1024;

/// Time after which a sound follows another; before it, there is silence.
const BETWEEN_SOUNDS: Duration = Duration::from_millis(1_100);

/// Chooses a value of a setting, as the user does.
async fn choose(page: &Page<'_>, name: &str, value: &str) {
    let script = "const field = document.getElementById(arguments[0]);
        field.value = arguments[1];
        field.dispatchEvent(new Event('change', { bubbles: true }))";
    page.run(script, vec![json!(name), json!(value)]).await;
}

#[tokio::test]
async fn settings_hold_over_a_reload() {
    let (server, browser) = (Server::start(&[]), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    alice.say("Good morning").await;
    alice.reads("alice", "Good morning").await;
    set_scheme(&alice, "light").await;
    alice.click("#settings-open").await;
    expect_no_violation(&alice, "the settings").await;
    choose(&alice, "theme", "dark").await;
    choose(&alice, "density", "compact").await;
    choose(&alice, "clock", "12").await;
    let is_dark = "getComputedStyle(document.body).backgroundColor === 'rgb(20, 22, 28)'";
    let is_twelve = "/^\\d\\d:\\d\\d.[ap]m$/i.test($('#messages time').textContent)";
    alice.until("dark at once", is_dark).await;
    alice.until("with a.m. and p.m.", is_twelve).await;
    expect_no_violation(&alice, "the settings in the dark").await;
    alice.click("#settings-close").await;
    let height = "return document.querySelector('#messages .said').offsetHeight";
    let compact = alice.run(height, vec![]).await.as_u64();
    alice.reload().await;
    alice.reads("alice", "Good morning").await;
    alice.until("still dark", is_dark).await;
    alice.until("with a.m. and p.m.", is_twelve).await;
    alice.click("#settings-open").await;
    choose(&alice, "density", "comfortable").await;
    choose(&alice, "clock", "24").await;
    choose(&alice, "theme", "light").await;
    alice.until("light", "getComputedStyle(document.body).backgroundColor === 'rgb(255, 255, 255)'").await;
    alice.until("without", "/^\\d\\d:\\d\\d$/.test($('#messages time').textContent)").await;
    assert!(alice.run(height, vec![]).await.as_u64() > compact);
    resize(&alice, PHONE).await;
    expect_no_violation(&alice, "the settings on a phone").await;
    alice.press(Key::Escape).await;
    alice.until("closed", "!$('#settings')").await;
    browser.finish().await;
}

/// Sends a private message to alice.
async fn whisper(client: &mut Client, text: &str) {
    client.send_text(json!({"type": "direct", "to": "alice", "message": text}).to_string()).await;
}

#[tokio::test]
async fn private_messages_and_calls_ring_if_one_wants_it() {
    let (server, browser) = (Server::start(UNPINGED), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    let record = "window.shown = []; window.tones = 0;
        window.Notification = class {
            static requestPermission() { return Promise.resolve(window.permission); }
            constructor(title, options) { window.shown.push([title, options.body]); }
            close() {}
        };
        const { start } = OscillatorNode.prototype;
        OscillatorNode.prototype.start = function (at) { window.tones += 1; start.call(this, at); };
        window.permission = 'denied';
        document.hasFocus = () => false;
        Object.defineProperty(document, 'hidden', { get: () => window.isAway ?? false })";
    alice.run(record, vec![]).await;
    alice.click("#settings-open").await;
    alice.click("[name='notify']").await;
    alice.sees("#notify-error", "Your browser does not allow this page to show notifications").await;
    alice.until("not chosen", "!$('[name=notify]').checked").await;
    alice.run("window.permission = 'granted'", vec![]).await;
    alice.click("[name='notify']").await;
    alice.sees_none("#notify-error").await;
    alice.click("[name='sound']").await;
    alice.until("one hears how it sounds", "window.tones === 2").await;
    alice.click("#settings-close").await;
    alice.run("window.isAway = true", vec![]).await;
    tokio::time::sleep(BETWEEN_SOUNDS).await;

    let mut bob = speaker(&server, "bob", "lobby", 1).await;
    speak(&mut bob, "hello @alice: bob", 1).await;
    let headers = [("Sec-WebSocket-Protocol", "throng.v1")];
    let mut carol = Client::connect_with(&server, "/ws/chat/carol?room=garden", &headers).await;
    whisper(&mut carol, "Psst").await;
    let expected = json!([["bob in lobby", "hello @alice: bob says 1"], ["carol", "Psst"]]);
    let is_shown = format!("JSON.stringify(window.shown) === {}", json!(expected.to_string()));
    alice.until("two of three", &is_shown).await;
    alice.until("tones", "window.tones >= 4").await;
    browser.finish().await;
}

#[tokio::test]
async fn the_page_can_be_installed_and_is_small() {
    let (server, browser) = (Server::start(&[]), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    let manifest = alice.devtools("Page.getAppManifest", json!({})).await;
    assert_eq!(manifest["errors"], json!([]), "{manifest}");
    let text = manifest["data"].as_str().expect("a manifest");
    let parsed: serde_json::Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(parsed["name"], "throng");
    // The browser was sent the page and everything that it has loaded.
    let sizes =
        "return performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))
        .map((entry) => [new URL(entry.name).pathname, entry.encodedBodySize, entry.decodedBodySize])";
    let sizes = alice.run(sizes, vec![]).await;
    let sizes: Vec<(String, u64, u64)> = serde_json::from_value(sizes).expect("sizes");
    assert!(
        sizes.iter().any(|(path, ..)| path == "/client.js") && sizes.iter().any(|(path, ..)| path == "/")
    );
    let (sent, whole) = sizes.iter().fold((0, 0), |sum, (_, sent, whole)| (sum.0 + sent, sum.1 + whole));
    println!("{} files, {sent} bytes sent, {whole} bytes unpacked", sizes.len());
    assert!(sent > 0 && sent <= MAX_BYTES, "{sent} bytes: {sizes:#?}");
    browser.finish().await;
}
