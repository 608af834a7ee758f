//! The pages in a real browser: Chromium, headless, told by its driver what a person would do with keys and a mouse.
//!
//! Each test has a server and a browser of its own; two people are two windows of that browser. `tests/run` installs
//! what is needed (chromium and chromium-driver of Debian, and npm for axe-core). With `THRONG_SCREENSHOTS=1` the
//! pictures of the manual are taken anew.

#[path = "browser/axe.rs"]
mod axe;
#[path = "browser/chat.rs"]
mod chat;
#[path = "browser/dashboard.rs"]
mod dashboard;
#[path = "browser/driver.rs"]
mod driver;
#[path = "browser/errors.rs"]
mod errors;
#[path = "browser/fits.rs"]
mod fits;
#[path = "browser/looks.rs"]
mod looks;
#[path = "browser/page.rs"]
mod page;
#[path = "browser/restarts.rs"]
mod restarts;
#[path = "it/support/mod.rs"]
#[expect(dead_code, reason = "shared with the integration tests, which need more of it")]
mod support;
