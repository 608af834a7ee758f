//! The pages in a real browser: headless Chromium, in which the driver presses keys and moves the mouse.
//!
//! Each test has a server and a browser of its own; two people are two windows of that browser. `tests/run` installs
//! the packages that the tests need (Debian's chromium and chromium-driver, and npm for axe-core).
//! `THRONG_SCREENSHOTS=1` takes the pictures of the documentation anew.

#[path = "browser/axe.rs"]
mod axe;
#[path = "browser/browse.rs"]
mod browse;
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
#[path = "browser/handover.rs"]
mod handover;
#[path = "browser/looks.rs"]
mod looks;
#[path = "browser/many.rs"]
mod many;
#[path = "browser/names.rs"]
mod names;
#[path = "browser/nodes.rs"]
mod nodes;
#[path = "browser/page.rs"]
mod page;
#[path = "browser/reads.rs"]
mod reads;
#[path = "browser/restarts.rs"]
mod restarts;
#[path = "browser/settings.rs"]
mod settings;
#[path = "browser/stays.rs"]
mod stays;
#[path = "it/support/mod.rs"]
#[expect(dead_code, reason = "shared with the integration tests, which need more of it")]
mod support;
#[path = "browser/writes.rs"]
mod writes;
