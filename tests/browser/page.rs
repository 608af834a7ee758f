//! One person at one window: what they do, and what they see.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use thirtyfour::{By, Key, TypingData, WindowHandle};

use crate::driver::Browser;
use crate::support::PATIENCE;
use crate::support::server::Server;

/// How long until the page is asked again.
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

    /// Somebody who has come in.
    pub(crate) async fn enter(browser: &'a Browser, server: &Server, name: &str, room: &str) -> Self {
        let page = Self::knock(browser, server, name, room).await;
        page.sees("#connection-state", "Connected").await;
        page.sees("#title", room).await;
        page
    }

    /// Somebody who asks to come in.
    pub(crate) async fn knock(browser: &'a Browser, server: &Server, name: &str, room: &str) -> Self {
        let page = browser.open(&format!("http://{}/", server.address())).await;
        page.write("#name", name).await;
        page.write("#first-room", room).await;
        page.click("#enter button").await;
        page
    }

    async fn front(&self) {
        self.browser.session().switch_to_window(self.window.clone()).await.expect("the window is there");
    }

    /// Runs the body of a function in the page; `arguments[0]` and so on are what it is given.
    pub(crate) async fn run(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.front().await;
        let answer = self.browser.session().execute(script, arguments).await;
        answer.unwrap_or_else(|error| panic!("{script}: {error}")).json().clone()
    }

    /// As [`Page::run`], for a script that calls its last argument when it is done.
    pub(crate) async fn run_async(&self, script: &str) -> Value {
        self.front().await;
        let answer = self.browser.session().execute_async(script, vec![]).await;
        answer.unwrap_or_else(|error| panic!("{script}: {error}")).json().clone()
    }

    /// A picture of what is seen.
    pub(crate) async fn screenshot(&self) -> Vec<u8> {
        self.front().await;
        self.browser.session().screenshot_as_png().await.expect("a picture")
    }

    /// Executes a DevTools command here.
    pub(crate) async fn devtools(&self, command: &'static str, parameters: Value) {
        self.front().await;
        self.browser.devtools(command, parameters).await;
    }

    /// Waits until an expression is true, in which `$` finds what can be seen by its selector, `$$` all of it, and
    /// `textOf` the text of an element with single blanks.
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

    /// Fails with what there is to see.
    async fn give_up(&self, what: &str, expression: &str) {
        let text = self.run("return document.body.innerText", vec![]).await;
        let console = self.browser.console().await.join("\n");
        let text = text.as_str().unwrap_or_default();
        panic!("not within {PATIENCE:?}: {what} ({expression})\n{text}\n--- the console ---\n{console}");
    }

    /// Waits until what `css` selects, and can be seen, contains a text.
    pub(crate) async fn sees(&self, css: &str, text: &str) {
        let (css, text) = (json!(css), json!(text));
        self.until("a text", &format!("$$({css}).some((e) => textOf(e).includes({text}))")).await;
    }

    /// Waits until nothing that can be seen is selected by `css`, or has no text.
    pub(crate) async fn sees_none(&self, css: &str) {
        self.until("nothing", &format!("$$({}).every((e) => !e.innerText)", json!(css))).await;
    }

    /// The text that `css` selects, as it is seen.
    pub(crate) async fn text(&self, css: &str) -> String {
        let text = self.run("return document.querySelector(arguments[0]).innerText", vec![json!(css)]).await;
        text.as_str().expect("a text").to_owned()
    }

    /// Clicks, as soon as it can be seen, on the first thing that `css` selects.
    pub(crate) async fn click(&self, css: &str) {
        self.until("to be clicked on", &format!("$({})", json!(css))).await;
        let script = "return [...document.querySelectorAll(arguments[0])].find((e) => e.checkVisibility())";
        self.front().await;
        let found = self.browser.session().execute(script, vec![json!(css)]).await.expect("a selector");
        let element = found.element().unwrap_or_else(|error| panic!("{css}: {error}"));
        element.click().await.unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    /// Puts a text where another may stand.
    pub(crate) async fn write(&self, css: &str, text: &str) {
        self.front().await;
        let field = self.browser.session().find(By::Css(css)).await.expect("a field");
        field.clear().await.expect("a field");
        if text.chars().all(|char| char <= '\u{ffff}') {
            return field.send_keys(text).await.expect("a keyboard");
        }
        // The driver has no keys for these: as from the clipboard.
        field.focus().await.expect("a field");
        self.browser.devtools("Input.insertText", json!({"text": text})).await;
    }

    /// Presses keys, wherever the focus is.
    pub(crate) async fn press(&self, keys: impl Into<TypingData>) {
        self.front().await;
        self.browser.session().action_chain().send_keys(keys).perform().await.expect("a keyboard");
    }

    /// Says something in the conversation that is shown.
    pub(crate) async fn say(&self, text: &str) {
        self.write("#text", text).await;
        self.press(Key::Enter).await;
    }

    /// Waits until the last message in the conversation shown is this one, and no longer under way.
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

    /// The texts of the messages that stand in the conversation shown.
    pub(crate) async fn messages(&self) -> Vec<String> {
        let texts = "return [...document.querySelectorAll('#messages .text')].map((e) => e.textContent)";
        serde_json::from_value(self.run(texts, vec![]).await).expect("texts")
    }
}
