//! The look of the pages: axe-core checks both colour schemes and a phone, and tests take the documentation's pictures.

use std::path::Path;

use serde_json::json;
use thirtyfour::Key;

use crate::axe::expect_no_violation;
use crate::chat::{speak, speaker};
use crate::dashboard::look;
use crate::driver::Browser;
use crate::page::Page;
use crate::support::client::Client;
use crate::support::server::{Server, UNPINGED};

/// Width and height of a common phone, in CSS pixels.
pub(crate) const PHONE: (u32, u32) = (390, 844);
pub(crate) const DESK: (u32, u32) = (1200, 760);
const TABLET: (u32, u32) = (900, 700);

/// Sets the width and height of the window.
pub(crate) async fn resize(page: &Page<'_>, (width, height): (u32, u32)) {
    let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
    page.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
    page.until("the new width", &format!("innerWidth === {width}")).await;
}

pub(crate) async fn set_scheme(page: &Page<'_>, scheme: &str) {
    let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
    page.devtools("Emulation.setEmulatedMedia", features).await;
}

/// Asserts that axe-core finds no violation and nothing is wider than the page, in light and dark, on a desktop, a
/// tablet and a phone.
async fn examine(page: &Page<'_>, what: &str) {
    let fits =
        "document.documentElement.scrollWidth <= innerWidth && document.body.scrollHeight <= innerHeight";
    resize(page, TABLET).await;
    page.until("nothing sticks out", fits).await;
    for size in [DESK, PHONE] {
        resize(page, size).await;
        page.until("nothing sticks out", fits).await;
        for scheme in ["light", "dark"] {
            set_scheme(page, scheme).await;
            expect_no_violation(page, &format!("{what}, {scheme}, {} pixels wide", size.0)).await;
        }
    }
    resize(page, DESK).await;
    set_scheme(page, "light").await;
}

async fn tell(client: &mut Client, text: &str) {
    client.send_text(json!({"message": text}).to_string()).await;
    while client.recv_json().await["message"] != text {}
}

/// Fills the chat of ada: several people talk in two rooms, with unread messages and a private one.
async fn lively<'a>(browser: &'a Browser, server: &Server) -> (Page<'a>, [Client; 4]) {
    let ada = Page::enter(browser, server, "ada", "lobby").await;
    let mut grace = speaker(server, "grace", "lobby", 0).await;
    let mut linus = speaker(server, "linus", "lobby", 0).await;
    let mut barbara = speaker(server, "barbara", "lobby", 0).await;
    ada.sees("#member-count", "(4)").await;
    tell(&mut grace, "Good morning! The release went out at eight.").await;
    tell(&mut grace, "Nobody noticed, which is how I like it.").await;
    tell(&mut linus, "I noticed: my reconnect took 300 ms and I missed nothing.").await;
    ada.say("Same here: “recovered 12 messages”, and that was that.").await;
    ada.reads("ada", "Same here: “recovered 12 messages”, and that was that.").await;
    tell(&mut barbara, "Is <b>bold</b> still not a thing in here?").await;
    tell(&mut linus, "Texts stay texts. It is a feature.").await;
    ada.say("And a good one.").await;
    ada.reads("ada", "And a good one.").await;

    ada.write_to("grace").await;
    ada.say("Coffee at ten?").await;
    ada.reads("ada", "Coffee at ten?").await;
    ada.join("kitchen").await;
    ada.click("#rooms button").await;
    ada.sees("#title", "lobby").await;
    let mut cook = speaker(server, "dennis", "kitchen", 0).await;
    tell(&mut cook, "There is cake.").await;
    tell(&mut cook, "There was cake.").await;
    ada.sees("#rooms .unread", "2").await;
    (ada, [grace, linus, barbara, cook])
}

fn wants_pictures() -> bool {
    std::env::var_os("THRONG_SCREENSHOTS").is_some_and(|value| value == "1")
}

/// Writes a picture to `docs/pictures/` if pictures are wanted. The times of day in it are always the same.
async fn picture(page: &Page<'_>, name: &str) {
    if !wants_pictures() {
        return;
    }
    let times = "[...document.querySelectorAll('time')].forEach((time, n) => {
        time.textContent = `09:${String(12 + n).padStart(2, '0')}`; })";
    page.run(times, vec![]).await;
    let png = page.screenshot().await;
    assert!(png.len() < 150_000, "{name}: {} bytes are a lot for a page of the manual", png.len());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pictures").join(name);
    std::fs::write(&path, png).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

#[tokio::test]
async fn the_entry_form_is_accessible() {
    let (server, browser) = (Server::start(&[]), Browser::start().await);
    let page = browser.open(&format!("http://{}/", server.address())).await;
    examine(&page, "the entry").await;
    page.write("#name", " ").await;
    page.click("#enter button").await;
    page.sees("#name-error", "A name has").await;
    page.click("summary").await;
    examine(&page, "the entry with a complaint").await;
    browser.finish().await;
}

#[tokio::test]
async fn the_chat_is_accessible() {
    let (server, browser) = (Server::start(UNPINGED), Browser::start().await);
    let (ada, _others) = lively(&browser, &server).await;
    examine(&ada, "the chat").await;
    resize(&ada, DESK).await;
    picture(&ada, "chat.png").await;

    resize(&ada, PHONE).await;
    ada.sees("#unread-elsewhere", "2").await;
    picture(&ada, "chat-phone.png").await;
    ada.click("#panels-toggle").await;
    ada.sees("#members", "grace").await;
    for scheme in ["light", "dark"] {
        set_scheme(&ada, scheme).await;
        expect_no_violation(&ada, &format!("the panels on a phone, {scheme}")).await;
    }
    ada.press(Key::Escape).await;
    ada.until("the panels are gone", "!$('#panels')").await;
    ada.click("#panels-toggle").await;
    ada.click("#directs button").await;
    ada.reads("ada", "Coffee at ten?").await;
    ada.until("the panels are gone", "!$('#panels')").await;
    browser.finish().await;
}

#[tokio::test]
async fn a_lost_connection_is_shown_accessibly() {
    let (server, browser) = (Server::start(UNPINGED), Browser::start().await);
    let (ada, _others) = lively(&browser, &server).await;
    let address = server.address().to_string();
    drop(server);
    ada.sees("#connection-state", "reconnecting").await;
    ada.say("Hello?").await;
    ada.sees("#messages .pending", "sending…").await;
    examine(&ada, "the chat without a server").await;
    let _server = Server::launch(&[], &address, &[]);
    ada.sees("#notice", "you missed some messages").await;
    ada.reads("ada", "Hello?").await;
    examine(&ada, "the chat after a loss").await;
    browser.finish().await;
}

#[tokio::test]
async fn the_dashboard_is_accessible() {
    let (server, browser) = (Server::start(UNPINGED), Browser::start().await);
    let page = look(&browser, &server).await;
    let mut others = Vec::new();
    for (n, room) in ["lobby", "lobby", "lobby", "kitchen"].iter().enumerate() {
        others.push(speaker(&server, &format!("guest-{n}"), room, 1).await);
    }
    page.until("four people", "$('#facts').innerText.includes('4 of')").await;
    let fits = "document.documentElement.scrollWidth <= innerWidth";
    for size in [DESK, PHONE] {
        resize(&page, size).await;
        page.until("nothing sticks out", fits).await;
        for scheme in ["light", "dark"] {
            set_scheme(&page, scheme).await;
            expect_no_violation(&page, &format!("the dashboard, {scheme}, {} pixels wide", size.0)).await;
        }
    }
    if wants_pictures() {
        set_scheme(&page, "light").await;
        resize(&page, DESK).await;
        for burst in [12, 30, 21, 45, 9, 33, 27, 60, 40, 18, 36, 24] {
            for guest in &mut others {
                speak(guest, "a guest", burst).await;
            }
            next_second(&page).await;
        }
        picture(&page, "dashboard.png").await;
    }
    browser.finish().await;
}

/// Waits for the next update of the numbers.
async fn next_second(page: &Page<'_>) {
    let uptime = "return [...document.querySelectorAll('#facts > div')].find((e) =>
        e.children[0].textContent === 'Uptime').children[1].textContent";
    let now = page.run(uptime, vec![]).await;
    let up = "$$('#facts > div').find((e) => textOf(e.children[0]) === 'Uptime').children[1].textContent";
    page.until("the next second", &format!("{up} !== {now}")).await;
}
