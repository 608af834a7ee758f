//! One window of the browser: actions of its user, and waits for the things that the page shows.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use thirtyfour::{By, Key, TypingData, WindowHandle};

use crate::driver::Browser;
use crate::support::PATIENCE;
use crate::support::server::Server;

/// Time between two looks at the page.
pub(crate) const POLL: Duration = Duration::from_millis(20);

/// A window of the browser. Every act switches to it first.
pub(crate) struct Page<'a> {
    browser: &'a Browser,
    window: WindowHandle,
}

impl<'a> Page<'a> {
    pub(crate) fn new(browser: &'a Browser, window: WindowHandle) -> Self {
        Self { browser, window }
    }

    /// Opens the chat page and enters a room under a name.
    pub(crate) async fn enter(browser: &'a Browser, server: &Server, name: &str, room: &str) -> Self {
        let page = Self::request_entry(browser, server, name, room).await;
        page.sees("#connection-state", "Connected").await;
        page.sees("#title", room).await;
        page
    }

    /// Opens the chat page, fills the entry form and sends it.
    pub(crate) async fn request_entry(browser: &'a Browser, server: &Server, name: &str, room: &str) -> Self {
        let page = browser.open(&format!("http://{}/", server.address())).await;
        page.write("#name", name).await;
        page.write("#first-room", room).await;
        page.click("#enter button").await;
        page
    }

    async fn front(&self) {
        self.browser.session().switch_to_window(self.window.clone()).await.expect("the window is there");
    }

    /// Runs the body of a function in the page, with `arguments[0]` and so on; returns its result.
    pub(crate) async fn run(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.front().await;
        let answer = self.browser.session().execute(script, arguments).await;
        answer.unwrap_or_else(|error| panic!("{script}: {error}")).json().clone()
    }

    /// Runs a script like [`Page::run`] and waits until it calls its last argument; returns the value of that call.
    pub(crate) async fn run_async(&self, script: &str) -> Value {
        self.front().await;
        let answer = self.browser.session().execute_async(script, vec![]).await;
        answer.unwrap_or_else(|error| panic!("{script}: {error}")).json().clone()
    }

    /// Takes a picture of the window.
    pub(crate) async fn screenshot(&self) -> Vec<u8> {
        self.front().await;
        self.browser.session().screenshot_as_png().await.expect("a picture")
    }

    /// Executes a DevTools command in this window; returns its answer.
    pub(crate) async fn devtools(&self, command: &'static str, parameters: Value) -> Value {
        self.front().await;
        self.browser.devtools(command, parameters).await
    }

    /// Loads the page anew, as the key F5 does.
    pub(crate) async fn reload(&self) {
        self.front().await;
        self.browser.session().refresh().await.expect("the page comes again");
    }

    /// Presses the back button.
    pub(crate) async fn back(&self) {
        self.front().await;
        self.browser.session().back().await.expect("there was something before");
    }

    /// Goes to another address.
    pub(crate) async fn goto(&self, address: &str) {
        self.front().await;
        self.browser.session().goto(address).await.unwrap_or_else(|error| panic!("{address}: {error}"));
    }

    /// Waits until an expression is true. In it, `$` finds the first visible element of a selector, `$$` all of them,
    /// and `textOf` returns the text of an element with single blanks.
    pub(crate) async fn until(&self, what: &str, expression: &str) {
        let script = format!(
            "const $$ = (css) => [...document.querySelectorAll(css)].filter((e) => e.checkVisibility());
             const $ = (css) => $$(css)[0];
             const textOf = (e) => e.textContent.replace(/\\s+/g, ' ').trim();
             return Boolean({expression})"
        );
        let deadline = Instant::now() + PATIENCE;
        while self.run(&script, vec![]).await != true {
            if Instant::now() > deadline {
                self.give_up(what, expression).await;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Fails with the text of the page and of its console.
    async fn give_up(&self, what: &str, expression: &str) {
        let text = self.run("return document.body.innerText", vec![]).await;
        let console = self.browser.console().await.join("\n");
        let text = text.as_str().unwrap_or_default();
        panic!("not within {PATIENCE:?}: {what} ({expression})\n{text}\n--- the console ---\n{console}");
    }

    /// Waits until a visible element that `css` selects contains a text.
    pub(crate) async fn sees(&self, css: &str, text: &str) {
        let (css, text) = (json!(css), json!(text));
        self.until("a text", &format!("$$({css}).some((e) => textOf(e).includes({text}))")).await;
    }

    /// Waits until `css` selects no visible element, or one without text.
    pub(crate) async fn sees_none(&self, css: &str) {
        self.until("nothing", &format!("$$({}).every((e) => !e.innerText)", json!(css))).await;
    }

    /// Returns the visible text of the element that `css` selects.
    pub(crate) async fn text(&self, css: &str) -> String {
        let text = self.run("return document.querySelector(arguments[0]).innerText", vec![json!(css)]).await;
        text.as_str().expect("a text").to_owned()
    }

    /// Clicks on the first element that `css` selects, as soon as it is visible.
    pub(crate) async fn click(&self, css: &str) {
        self.until("to be clicked on", &format!("$({})", json!(css))).await;
        let script = "return [...document.querySelectorAll(arguments[0])].find((e) => e.checkVisibility())";
        self.front().await;
        let found = self.browser.session().execute(script, vec![json!(css)]).await.expect("a selector");
        let element = found.element().unwrap_or_else(|error| panic!("{css}: {error}"));
        element.click().await.unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    /// Replaces the text of a field.
    pub(crate) async fn write(&self, css: &str, text: &str) {
        self.front().await;
        let field = self.browser.session().find(By::Css(css)).await.expect("a field");
        field.clear().await.expect("a field");
        if text.chars().all(|char| char <= '\u{ffff}') {
            return field.send_keys(text).await.expect("a keyboard");
        }
        // The driver has no keys for these characters: they are inserted as from the clipboard.
        field.focus().await.expect("a field");
        self.browser.devtools("Input.insertText", json!({"text": text})).await;
    }

    /// Presses keys in the element that has the focus.
    pub(crate) async fn press(&self, keys: impl Into<TypingData>) {
        self.front().await;
        self.browser.session().action_chain().send_keys(keys).perform().await.expect("a keyboard");
    }

    /// Presses a key while Control is held.
    pub(crate) async fn press_with_control(&self, key: char) {
        self.front().await;
        let keys = self.browser.session().action_chain().key_down(Key::Control).send_keys(key.to_string());
        keys.key_up(Key::Control).perform().await.expect("a keyboard");
    }

    /// Sends a message in the conversation that is shown.
    pub(crate) async fn say(&self, text: &str) {
        self.write("#text", text).await;
        self.press(Key::Enter).await;
    }

    /// Enters another room by its name.
    pub(crate) async fn join(&self, room: &str) {
        self.write("#join-room", room).await;
        self.press(Key::Enter).await;
        self.sees("#title", room).await;
    }

    /// Goes to a room that the user is in already.
    pub(crate) async fn visit(&self, room: &str) {
        self.click(&format!("#rooms li[data-name='{room}'] button")).await;
    }

    /// Opens a private conversation by the name of the other user.
    pub(crate) async fn write_to(&self, user: &str) {
        self.write("#direct-user", user).await;
        self.press(Key::Enter).await;
        self.sees("#title", &format!("Private: {user}")).await;
    }

    /// Waits until the user is at the door: the entry form is shown, and no chat.
    pub(crate) async fn is_at_the_door(&self) {
        self.until("the entry", "$('#enter') && !$('#chat')").await;
    }

    /// Waits until the newest message is seen, because the list is scrolled to its end.
    pub(crate) async fn is_at_the_end(&self) {
        let is_at_end = "((log) => log.scrollHeight - log.scrollTop - log.clientHeight < 2)($('#log'))";
        self.until("the newest is seen", is_at_end).await;
    }

    /// Waits until the last message of the conversation shown is this one, and is no longer under way.
    pub(crate) async fn reads(&self, user: &str, text: &str) {
        let wanted = json!([user, text]).to_string();
        self.until(
            "a message",
            &format!(
                "((last) => last?.className.includes('message') && JSON.stringify([
                    last.querySelector('.who').textContent, last.querySelector('.text').textContent
                ]) === {})([...document.querySelectorAll('#messages li:not(.notice)')].at(-1))",
                json!(wanted)
            ),
        )
        .await;
    }

    /// Returns the texts of the messages in the conversation shown.
    pub(crate) async fn messages(&self) -> Vec<String> {
        let texts = "return [...document.querySelectorAll('#messages .text')].map((e) => e.textContent)";
        serde_json::from_value(self.run(texts, vec![]).await).expect("texts")
    }
}
