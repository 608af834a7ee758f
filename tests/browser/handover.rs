//! The chat goes on on another device, which is another browser, and comes back.

use serde_json::json;

use crate::axe::expect_no_violation;
use crate::chat::{speak, speaker};
use crate::driver::Browser;
use crate::looks::{DESK, PHONE, resize, set_scheme};
use crate::page::Page;
use crate::support::server::{Server, UNPINGED};

const ELSEWHERE: &str = "You went on in another tab or on another device";

/// Opens the settings, and returns the link for another device.
async fn link(page: &Page<'_>) -> String {
    page.click("#settings-open").await;
    page.click("#handover-open").await;
    page.sees("#handover-hint", "The link is a secret").await;
    let link = page.run("return document.getElementById('handover-link').value", vec![]).await;
    link.as_str().expect("a link").to_owned()
}

/// Waits until the page is in the chat, and neither its address nor its history has the secret.
async fn has_arrived(page: &Page<'_>, link: &str) {
    page.sees("#connection-state", "Connected").await;
    page.sees("#title", "garden").await;
    page.until("an address without a secret", "location.hash === '#/room/garden'").await;
    let fragment = json!(link.split('#').nth(1));
    page.until("nothing of it in the page", &format!("!document.body.innerHTML.includes({fragment})")).await;
}

#[tokio::test]
async fn the_chat_goes_on_on_another_device_and_comes_back() {
    let server = Server::start(UNPINGED);
    let (desk_browser, phone_browser) = (Browser::start().await, Browser::start().await);
    let mut bob = speaker(&server, "bob", "garden", 1).await;
    let desk = Page::enter(&desk_browser, &server, "Ada L.", "lobby").await;
    desk.join("garden").await;
    let first = link(&desk).await;
    let phone = phone_browser.open(&first).await;
    has_arrived(&phone, &first).await;
    phone.sees("#who-am-i", "Ada L.").await;
    phone.sees("#rooms", "lobby").await;
    phone.reads("bob", "bob says 1").await;
    desk.sees("#connection-state", ELSEWHERE).await;
    phone.say("From the train").await;
    phone.reads("Ada L. (Ada-L.)", "From the train").await;
    phone.reload().await;
    has_arrived(&phone, &first).await;

    // Without a link the phone keeps the name, and the page says what to do.
    desk.click("#settings-close").await;
    desk.click("#again").await;
    desk.sees("#connection-state", "Your name is in use on another device").await;
    desk.sees("#notice", "Continue on another device").await;
    let back = link(&phone).await;
    desk.goto(&back).await;
    has_arrived(&desk, &back).await;
    phone.sees("#connection-state", ELSEWHERE).await;
    speak(&mut bob, "bob", 1).await;
    desk.reads("bob", "bob says 1").await;

    // A link is good for one move.
    let late = phone_browser.open(&first).await;
    late.sees("#name-error", "open Settings on the other device").await;
    late.until("the secret is gone", "location.hash === ''").await;
    let broken = phone_browser.open(&format!("http://{}/#continue?user=ada", server.address())).await;
    broken.sees("#name-error", "This link is not whole").await;
    broken.until("the secret is gone", "location.hash === ''").await;
    desk_browser.finish().await;
    phone_browser.finish().await;
}

#[tokio::test]
async fn the_link_is_shown_accessibly_and_not_for_longer_than_needed() {
    let (server, browser) = (Server::start(UNPINGED), Browser::start().await);
    let page = Page::enter(&browser, &server, "alice", "lobby").await;
    let link = link(&page).await;
    assert!(
        link.starts_with(&format!("http://{}/#continue?user=alice&session=", server.address())),
        "{link}"
    );
    for size in [DESK, PHONE, (320, 640)] {
        resize(&page, size).await;
        page.until("nothing sticks out", "$('#settings').scrollWidth <= $('#settings').clientWidth").await;
        for scheme in ["light", "dark"] {
            set_scheme(&page, scheme).await;
            expect_no_violation(&page, &format!("the link, {scheme}, {} pixels wide", size.0)).await;
        }
    }
    page.click("#handover-copy").await;
    page.until("an answer", "$('#handover-state').textContent !== ''").await;
    page.click("#settings-close").await;
    page.until("nothing is left", "document.getElementById('handover-link').value === ''").await;
    server.terminate();
    page.sees("#connection-state", "reconnecting").await;
    resize(&page, DESK).await;
    page.click("#settings-open").await;
    page.click("#handover-open").await;
    page.sees("#handover-state", "This works while you are connected").await;
    page.until("no link", "!$('#handover-link')").await;
    browser.finish().await;
}
