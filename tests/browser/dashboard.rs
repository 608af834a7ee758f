//! The dashboard: its numbers and curves follow the server.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::Key;

use crate::axe::expect_no_violation;
use crate::chat::{speak, speaker};
use crate::driver::Browser;
use crate::looks::{DESK, resize, set_scheme};
use crate::page::Page;
use crate::support::PATIENCE;
use crate::support::feed::Viewer;
use crate::support::server::{Server, Settings, UNPINGED};

/// Returns an expression for the number under a name in the list of facts.
pub(crate) fn fact(name: &str) -> String {
    let name = json!(name);
    format!("$$('#facts > div').find((e) => textOf(e.children[0]) === {name})?.children[1].innerText")
}

/// Opens the dashboard of a server that has made its own key, and waits for its first numbers.
pub(crate) async fn look<'a>(browser: &'a Browser, server: &Server) -> Page<'a> {
    look_with(browser, server, &server.key()).await
}

pub(crate) async fn look_with<'a>(browser: &'a Browser, server: &Server, key: &str) -> Page<'a> {
    let page = browser.open(&format!("http://{}/dashboard#key={key}", server.address())).await;
    page.sees("#state", "Live").await;
    page.until("numbers", "$('#numbers')").await;
    page
}

/// Returns an expression that is true when the curve of a plot was drawn and has a point above its bottom, which the
/// time axis is below.
fn is_drawn(title: &str) -> String {
    format!(
        "((figure) => [...figure.querySelectorAll('path.curve')].some((path) => {{
            const points = (path.getAttribute('d') ?? '').split(/[ML]/).filter(Boolean);
            const ys = points.map((point) => Number(point.split(' ')[1]));
            return ys.length >= 2 && Math.min(...ys) < figure.querySelector('svg').clientHeight - 42;
        }}))($$('#plots figure').find((e) => textOf(e.querySelector('h3')) === {}))",
        json!(title)
    )
}

#[tokio::test]
async fn the_dashboard_moves() {
    let (server, browser) = (Server::start(UNPINGED), Browser::start().await);
    let page = look(&browser, &server).await;
    page.until("nobody", &format!("/^0 of/.test({})", fact("Connections"))).await;
    let mut bob = speaker(&server, "bob", "lobby", 1).await;
    let _carol = speaker(&server, "carol", "garden", 0).await;
    page.until("two people", &format!("/^2 of/.test({})", fact("Connections"))).await;
    page.until("two rooms", &format!("{} === '2'", fact("Rooms"))).await;
    page.until("a curve of connections", &is_drawn("Connections")).await;

    // Numbers and curves follow the messages, once a second.
    let is_moving = format!("parseFloat({}) > 0", fact("Messages"));
    let talk = async {
        loop {
            speak(&mut bob, "bob", 5).await;
        }
    };
    let see = async {
        page.until("messages per second", &is_moving).await;
        page.until("a curve of messages", &is_drawn("Messages per second")).await;
        page.until("a curve of latencies", &is_drawn("Fan-out latency")).await;
    };
    tokio::select! {
        () = talk => unreachable!("it never ends"),
        () = see => {}
    }
    page.until("and rest again", &format!("parseFloat({}) === 0", fact("Messages"))).await;

    bob.close().await;
    // The code of a close frame without one.
    page.sees("#closes", "1005").await;
    page.until("one person", &format!("/^1 of/.test({})", fact("Connections"))).await;
    browser.finish().await;
}

/// 1. People talk, and nobody looks. 2. The page is opened, and its curves show that at once; after a reload, too.
#[tokio::test]
async fn the_curves_begin_before_the_page_was_opened() {
    let (server, browser) = (Server::start(UNPINGED), Browser::start().await);
    let mut bob = speaker(&server, "bob", "lobby", 1).await;
    let samples = |server: &Server| {
        let past = Viewer::open(server).past;
        past["messages"].as_array().expect("a list").iter().filter(|count| count.as_u64() > Some(20)).count()
    };
    for _ in 0..5 {
        // A curve needs two seconds in which somebody spoke.
        speak(&mut bob, "bob", 5).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let deadline = Instant::now() + PATIENCE;
    while samples(&server) < 4 {
        assert!(Instant::now() < deadline, "nothing is kept");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let page = look(&browser, &server).await;
    for _ in 0..2 {
        // All messages were sent before: without the past, the curve is flat for ever.
        page.until("a curve of messages", &is_drawn("Messages per second")).await;
        page.until("a curve of latencies", &is_drawn("Fan-out latency")).await;
        page.until("they rest", &format!("parseFloat({}) === 0", fact("Messages"))).await;
        page.until("nothing was refused", "!document.getElementById('drops').innerText.includes('NaN')")
            .await;
        page.reload().await;
        page.sees("#state", "Live").await;
    }
    browser.finish().await;
}

#[tokio::test]
async fn the_dashboard_reconnects_when_its_server_is_back() {
    const KEY: Settings<'static> = &[("api.keys", "a-key-that-outlives-a-restart")];
    let (server, browser) = (Server::start(KEY), Browser::start().await);
    let page = look_with(&browser, &server, KEY[0].1).await;
    let address = server.address().to_string();
    drop(server);
    page.sees("#state", "reconnecting").await;
    let server = Server::launch(&[], &address, KEY);
    page.sees("#state", "Live").await;
    let _bob = speaker(&server, "bob", "lobby", 0).await;
    page.until("one connection at the moment", &format!("/^1 of/.test({})", fact("Connections"))).await;
    browser.finish().await;
}

/// The key comes with the address in the log, disappears from the address bar, and stays in the tab. Without it, or
/// with a wrong one, the page shows nothing.
#[tokio::test]
async fn the_dashboard_wants_a_key() {
    let (server, browser) = (Server::start(&[]), Browser::start().await);
    let page = look(&browser, &server).await;
    page.until("nothing of the key in the address", "location.href.endsWith('/dashboard')").await;
    page.run("location.reload()", vec![]).await;
    page.sees("#state", "Live").await;
    page.run("location.hash = 'key=not-the-key-of-the-server'", vec![]).await;
    page.sees("#key-error", "does not accept this key").await;
    page.until("no numbers", "document.getElementById('numbers').hidden").await;
    page.run("location.hash = `key=${arguments[0]}`", vec![json!(server.key())]).await;
    page.sees("#state", "Live").await;
    page.until("no question", "document.getElementById('unlock').hidden").await;
    browser.finish().await;
}

/// 1. The operator opens the dashboard with a key that may do everything, and lists rooms and users. 2. A room is shown
///    with its members and messages; a notice reaches them. 3. The user is shown and ended, the room forgotten. 4. The
///    log names the key for each of these.
#[tokio::test]
async fn the_operator_looks_at_rooms_and_users_and_acts() {
    let key = "a-key-of-the-operator";
    let keys = format!("ops={key}");
    let (server, browser) =
        (Server::start(&[&[("api.keys", keys.as_str())], UNPINGED].concat()), Browser::start().await);
    let mut bob = speaker(&server, "bob", "lobby", 1).await;
    let _carol = speaker(&server, "carol", "garden", 0).await;
    let page = look_with(&browser, &server, key).await;
    page.write("#rooms-pattern", "lob*").await;
    page.click("#rooms-form button").await;
    page.sees("#rooms", "lobby").await;
    page.until("one room", "$$('#rooms tr').length === 1").await;
    page.click("#users-form button").await;
    page.until("two users", "$$('#users tr').length === 2").await;

    page.click("#rooms .link").await;
    page.sees("#detail-title", "Room lobby").await;
    page.sees("#detail-facts", "bob says 1").await;
    page.until("the focus", "document.activeElement.id === 'detail-title'").await;
    page.write("#notice-text", "Maintenance at noon").await;
    page.click("#notice-form button").await;
    page.sees("#control-state", "The notice is published").await;
    page.sees("#detail-facts", "Maintenance at noon").await;
    while bob.recv_json().await["message"] != "Maintenance at noon" {}

    page.click("#detail-facts .link").await;
    page.sees("#detail-title", "User bob").await;
    page.sees("#detail-facts", "lobby").await;
    for (size, scheme) in [((320, 640), "light"), (DESK, "dark")] {
        resize(&page, size).await;
        set_scheme(&page, scheme).await;
        page.until("it fits", "document.documentElement.scrollWidth <= innerWidth").await;
        expect_no_violation(&page, &format!("a user, {scheme}, {} pixels wide", size.0)).await;
    }
    page.click("#kick").await;
    page.sees("#kick", "Press again").await;
    page.click("#kick").await;
    page.sees("#control-state", "1 connections were ended").await;
    page.sees("#detail-facts", "offline").await;

    page.click("#rooms .link").await;
    page.click("#forget").await;
    page.click("#forget").await;
    page.sees("#control-state", "The room is forgotten").await;
    for method in ["rooms", "users", "room", "presence", "history", "publish", "user", "disconnect", "forget"]
    {
        server.log().wait_for(method, |line| {
            (&line["message"], &line["method"], &line["key"], &line["outcome"])
                == (&json!("api call"), &json!(method), &json!("ops"), &json!("ok"))
        });
    }
    browser.finish().await;
}

#[tokio::test]
async fn a_key_that_only_reads_may_look_and_not_act() {
    let key = "a-key-that-only-reads";
    let (server, browser) =
        (Server::start(&[&[("api.read_keys", key)], UNPINGED].concat()), Browser::start().await);
    let _bob = speaker(&server, "bob", "lobby", 0).await;
    let page = look_with(&browser, &server, key).await;
    page.write("#user-name", "bob").await;
    page.click("#user-form button").await;
    page.sees("#detail-title", "User bob").await;
    page.click("#kick").await;
    page.click("#kick").await;
    page.sees("#control-state", "this key may only read").await;
    page.until("bob is there", &format!("/^1 of/.test({})", fact("Connections"))).await;
    browser.finish().await;
}

/// Moves the mouse to a place in the window.
async fn point(page: &Page<'_>, (x, y): (f64, f64)) {
    page.devtools("Input.dispatchMouseEvent", json!({"type": "mouseMoved", "x": x, "y": y})).await;
}

/// 1. The axis names minutes and local times. 2. The pointer reads a time and its values. 3. The arrow keys read, too,
///    and tell it to a screen reader. 4. Meanwhile nothing makes the browser lay the page out in between.
#[tokio::test]
async fn curves_have_a_time_axis_and_are_read_by_pointer_and_keys() {
    let (server, browser) = (Server::start(UNPINGED), Browser::start().await);
    let _bob = speaker(&server, "bob", "lobby", 0).await;
    let _carol = speaker(&server, "carol", "garden", 0).await;
    let page = look(&browser, &server).await;
    let head = "textOf($$('#plots .legend thead th')[1])";
    let value = "textOf($$('#plots .legend td')[0])";
    page.until("the newest value", &format!("{head} === 'Now' && {value} === '2'")).await;
    let ticks = "$$('#plots figure:first-child .tick').map(textOf)";
    page.until("minutes", &format!("['now', '−2 min', '−4 min'].every((text) => {ticks}.includes(text))"))
        .await;
    page.until(
        "times",
        &format!("{ticks}.filter((text) => /^\\d\\d:\\d\\d:\\d\\d$/.test(text)).length >= 3"),
    )
    .await;

    let watch = "window.looks = 0;
        const { get } = Object.getOwnPropertyDescriptor(Element.prototype, 'clientWidth');
        Object.defineProperty(Element.prototype, 'clientWidth', {
            get() { window.looks += 1; return get.call(this); },
        });
        const { getBoundingClientRect } = Element.prototype;
        Element.prototype.getBoundingClientRect = function () {
            window.looks += 1;
            return getBoundingClientRect.call(this);
        };
        const chart = document.querySelector('#plots .chart');
        chart.scrollIntoView({ block: 'center' });
        const { right, width, top, height } = getBoundingClientRect.call(chart);
        return [right - width / 100, top + height / 2]";
    let place = page.run(watch, vec![]).await;
    let place = (place[0].as_f64().expect("a number"), place[1].as_f64().expect("a number"));
    page.until(
        "some seconds",
        "document.querySelector('path.curve').getAttribute('d').split('L').length > 5",
    )
    .await;
    point(&page, place).await;
    let is_read = format!("/^\\d\\d:\\d\\d:\\d\\d$/.test({head}) && {value} === '2'");
    page.until("a time and a value", &is_read).await;
    page.until("a line", "$('#plots .cursor').getAttribute('visibility') === 'visible'").await;
    point(&page, (1.0, 1.0)).await;
    page.until("the newest value again", &format!("{head} === 'Now'")).await;

    page.run("document.querySelector('#plots .chart').focus({ preventScroll: true })", vec![]).await;
    page.press(Key::Left).await;
    page.until("a time and a value", &is_read).await;
    let told = "$('#plots .chart').getAttribute('aria-valuetext')";
    page.until("words", &format!("/^\\d\\d:\\d\\d:\\d\\d: connections 2, rooms 2$/.test({told})")).await;
    page.until("a second", "$('#plots .chart').getAttribute('aria-valuenow') === '-1'").await;
    page.press(Key::Home).await;
    page.until("the oldest", "Number($('#plots .chart').getAttribute('aria-valuenow')) < -4").await;
    page.press(Key::Escape).await;
    page.until("the newest value again", &format!("{head} === 'Now'")).await;
    assert_eq!(page.run("return window.looks", vec![]).await, 0, "the page asks for sizes while it draws");
    browser.finish().await;
}

/// Everything is inside of a narrow window, and no two times of an axis touch.
const FITS: &str = "document.documentElement.scrollWidth <= innerWidth
    && $$('header > *, #states > li, #states .todo, #facts > div, #plots figure, #plots .tick').every((e) => {
        const { left, right } = e.getBoundingClientRect();
        return left >= 0 && right <= innerWidth;
    }) && $$('#plots svg').every((svg) => {
        const texts = [...svg.querySelectorAll('.tick')].filter((e) => e.textContent);
        const boxes = texts.map((e) => e.getBoundingClientRect());
        return boxes.length >= 4 && boxes.every((a) => boxes.every((b) => a === b || a.top !== b.top
            || a.right < b.left || b.right < a.left));
    })";

#[tokio::test]
async fn figures_have_a_state_in_words_and_say_what_to_do() {
    const FEW: Settings<'static> = &[("limits.max_connections", "5"), ("heartbeat.interval", "1h")];
    let (server, browser) = (Server::start(FEW), Browser::start().await);
    let page = look(&browser, &server).await;
    let figure = "$$('#states > li').find((e) => textOf(e.children[0]) === 'Connections of the limit')";
    let is = |state: &str| {
        format!("{figure}?.className === '{state}' && textOf({figure}.children[2]) === '{state}'")
    };
    let todo = "limits.max_connections, before clients get 503.";
    page.until("no clients", &is("fine")).await;
    let mut clients = Vec::new();
    for n in 0..4 {
        clients.push(speaker(&server, &format!("guest-{n}"), "lobby", 0).await);
    }
    page.until("nearly full", &is("watch")).await;
    page.sees("#states .watch .todo", todo).await;
    clients.push(speaker(&server, "guest-4", "lobby", 0).await);
    page.until("full", &is("act")).await;
    page.sees("#states .act .todo", todo).await;
    page.sees("#overall", "Act on: Connections of the limit").await;
    for (size, scheme) in [((320, 640), "light"), ((320, 640), "dark"), (DESK, "light")] {
        resize(&page, size).await;
        set_scheme(&page, scheme).await;
        page.until("it fits", FITS).await;
        expect_no_violation(&page, &format!("states, {scheme}, {} pixels wide", size.0)).await;
    }
    for client in clients.drain(..2) {
        client.close().await;
    }
    page.until("space again", &is("fine")).await;
    browser.finish().await;
}

#[tokio::test]
async fn shares_add_up_to_all() {
    let settings = [UNPINGED, &[("workers", "3")]].concat();
    let (server, browser) = (Server::start(&settings), Browser::start().await);
    let page = look(&browser, &server).await;
    let mut clients = Vec::new();
    for n in 0..7 {
        clients.push(speaker(&server, &format!("guest-{n}"), "lobby", 0).await);
    }
    page.until("seven people", &format!("/^7 of/.test({})", fact("Connections"))).await;
    let sum = |body: &str, column: usize| {
        format!(
            "$$('{body} tr').reduce((sum, row) => sum + parseInt(row.cells[{column}].textContent, 10), 0) === 100"
        )
    };
    page.until("shares of the shards", &sum("#shards", 2)).await;
    clients.pop().expect("a client").close().await;
    page.until("shares of the close codes", &sum("#closes", 4)).await;
    browser.finish().await;
}

/// Waits for a file of JSON in a folder; returns its name and its value.
async fn saved(folder: &Path) -> (String, Value) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let files = std::fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file").path());
        if let Some(file) = files.into_iter().find(|file| file.extension().is_some_and(|end| end == "json")) {
            let text = std::fs::read_to_string(&file).expect("a text");
            let name = file.file_name().expect("a name").to_string_lossy().into_owned();
            match serde_json::from_str(&text) {
                Ok(value) => return (name, value),
                // The browser may still be writing it.
                Err(error) => assert!(Instant::now() < deadline, "{name}: {error}"),
            }
        }
        assert!(Instant::now() < deadline, "no file comes");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The file has everything that the curves show. The policy of the page lets the browser save it.
#[tokio::test]
async fn the_samples_are_exported_as_json() {
    let (server, browser) = (Server::start(UNPINGED), Browser::start().await);
    let folder = TempDir::new().expect("a folder");
    let _bob = speaker(&server, "bob", "lobby", 1).await;
    let page = look(&browser, &server).await;
    page.until(
        "some seconds",
        "document.querySelector('path.curve').getAttribute('d').split('L').length > 2",
    )
    .await;
    let to = json!({"behavior": "allow", "downloadPath": folder.path()});
    page.devtools("Browser.setDownloadBehavior", to).await;
    let watch = "const revoke = URL.revokeObjectURL;
        URL.revokeObjectURL = (url) => { window.revoked = url; revoke.call(URL, url); }";
    page.run(watch, vec![]).await;
    page.click("#export").await;
    let (name, page_as_saved) = saved(folder.path()).await;
    assert!(name.starts_with("throng-"), "{name}");
    let times = page_as_saved["times"].as_array().expect("a list");
    assert!(
        times.len() >= 3 && times.iter().all(|time| time.as_str().is_some_and(|time| time.ends_with('Z')))
    );
    let curves = page_as_saved["curves"].as_array().expect("a list");
    assert!(curves.iter().all(|curve| curve["values"].as_array().expect("a list").len() == times.len()));
    let connections = curves.iter().find(|curve| curve["curve"] == "connections").expect("a curve");
    assert_eq!(connections["values"].as_array().expect("a list").last(), Some(&json!(1)));
    assert_eq!(page_as_saved["figures"][0]["state"], "fine");
    page.until("its address is given back", "window.revoked?.startsWith('blob:')").await;
    browser.finish().await;
}
