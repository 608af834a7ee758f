//! The chat page: people talk in rooms and in private, with a mouse or with keys alone.

use futures_util::future::join_all;
use serde_json::json;
use thirtyfour::{Key, TypingData};

use crate::driver::Browser;
use crate::page::Page;
use crate::support::client::Client;
use crate::support::server::{Server, UNPINGED};

/// Starts a client that sends `count` messages to a room and stays: `NAME says 1` and so on.
pub(crate) async fn speaker(server: &Server, name: &str, room: &str, count: usize) -> Client {
    let mut client = Client::connect(server, &format!("/ws/chat/{name}?room={room}")).await;
    speak(&mut client, name, count).await;
    client
}

/// Sends `count` messages, and waits until they have come back.
pub(crate) async fn speak(client: &mut Client, name: &str, count: usize) {
    for n in 1..=count {
        let text = format!("{name} says {n}");
        client.send_text(json!({"message": text}).to_string()).await;
        while client.recv_json().await["message"] != text {}
    }
}

#[tokio::test]
async fn two_people_talk_and_see_each_other_come_and_go() {
    let (server, browser) = (Server::start(&[]), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    let bob = Page::enter(&browser, &server, "bob", "lobby").await;
    alice.sees("#messages .notice", "bob joined").await;
    alice.sees("#members", "bob").await;
    bob.sees("#member-count", "(2)").await;

    alice.say("Hello, Bob").await;
    bob.reads("alice", "Hello, Bob").await;
    bob.say("Hello, Alice – wie geht’s? 👋").await;
    alice.reads("bob", "Hello, Alice – wie geht’s? 👋").await;
    bob.say("A second line under one name").await;
    alice.reads("bob", "A second line under one name").await;
    alice.until("one name for two messages", "$$('#messages .said').at(-1).matches('.follows')").await;
    assert_eq!(alice.messages().await, bob.messages().await);

    bob.click("#leave").await;
    bob.is_at_the_door().await;
    alice.sees("#messages .notice", "bob left").await;
    alice.sees("#member-count", "(1)").await;
    browser.finish().await;
}

#[tokio::test]
async fn a_typing_user_is_shown_until_the_message_comes() {
    let (server, browser) = (Server::start(&[]), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    let bob = Page::enter(&browser, &server, "bob", "lobby").await;
    // Wait until nothing else is on its way to alice.
    alice.sees("#member-count", "(2)").await;
    bob.sees("#member-count", "(2)").await;
    bob.write("#text", "I am just wri").await;
    alice.sees("#typing", "bob is typing…").await;
    bob.sees_none("#typing").await;
    bob.press(TypingData::from("ting") + Key::Enter).await;
    alice.reads("bob", "I am just writing").await;
    alice.sees_none("#typing").await;
    browser.finish().await;
}

#[tokio::test]
async fn a_private_message_reaches_one_person_alone() {
    let (server, browser) = (Server::start(&[]), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    let bob = Page::enter(&browser, &server, "bob", "lobby").await;
    let carol = Page::enter(&browser, &server, "carol", "lobby").await;
    alice.sees("#members", "bob").await;
    alice.click("#members button[title='Write to bob']").await;
    alice.sees("#title", "Private: bob").await;
    alice.say("Between us").await;
    alice.reads("alice", "Between us").await;

    bob.sees("#directs .unread", "1 unread").await;
    bob.click("#directs button").await;
    bob.reads("alice", "Between us").await;
    bob.say("Sure").await;
    alice.reads("bob", "Sure").await;
    // The private message would be there before this later message.
    bob.click("#rooms button").await;
    bob.say("Good morning, all").await;
    carol.reads("bob", "Good morning, all").await;
    assert_eq!(carol.messages().await, ["Good morning, all"]);
    assert_eq!(carol.text("#directs").await, "");

    carol.write_to("nobody-here").await;
    carol.say("Are you there?").await;
    carol.sees("#messages .failed .state", "Not delivered: no user of this name is connected").await;
    browser.finish().await;
}

#[tokio::test]
async fn another_room_counts_unread_messages() {
    let (server, browser) = (Server::start(UNPINGED), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    alice.join("garden").await;
    let mut bob = speaker(&server, "bob", "lobby", 3).await;
    alice.sees("#rooms", "lobby 3 unread").await;
    alice.until("the count in the title", "document.title === '(3) throng'").await;

    alice.click("#rooms button:not([aria-current])").await;
    alice.reads("bob", "bob says 3").await;
    alice.until("nothing unread", "!$('#rooms .unread') && document.title === 'throng'").await;
    speak(&mut bob, "bob", 1).await;
    alice.reads("bob", "bob says 1").await;
    alice.until("nothing unread", "!$('#rooms .unread') && document.title === 'throng'").await;
    browser.finish().await;
}

#[tokio::test]
async fn history_loads_when_the_reader_scrolls_up() {
    let (server, browser) = (Server::start(&[]), Browser::start().await);
    let _bob = speaker(&server, "bob", "lobby", 120).await;
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    alice.reads("bob", "bob says 120").await;
    let numbers = |from: usize| (from..=120).map(|n| format!("bob says {n}")).collect::<Vec<_>>();
    assert_eq!(alice.messages().await, numbers(71));
    alice.is_at_the_end().await;

    let up = "const log = document.getElementById('log'); log.scrollTop = 0; return log.scrollHeight";
    for from in [21, 1] {
        let height = alice.run(up, vec![]).await;
        let is_there = format!("$$('#messages .said').length === {}", 120 - from + 1);
        alice.until("an older page", &is_there).await;
        assert_eq!(alice.messages().await, numbers(from));
        // Messages that load above the view must not move it.
        let moved = format!("Math.abs($('#log').scrollTop - ($('#log').scrollHeight - {height})) < 80");
        alice.until("messages that were read stay where they are", &moved).await;
    }
    alice.until("no more to ask for", "!$('#earlier')").await;
    browser.finish().await;
}

#[tokio::test]
async fn keys_alone_do_everything() {
    let (server, browser) = (Server::start(UNPINGED), Browser::start().await);
    let mut bob = speaker(&server, "bob", "lobby", 0).await;
    let alice = browser.open(&format!("http://{}/", server.address())).await;
    let focus = |id: &str| format!("document.activeElement.id === {}", json!(id));
    alice.until("the name first", &focus("name")).await;
    alice.press("alice").await;
    alice.press(Key::Tab).await;
    alice.until("then the room", &focus("first-room")).await;
    alice.press(Key::Enter).await;
    alice.until("in the chat, where one writes", &focus("text")).await;
    let is_marked = "((style) => style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2)(
        getComputedStyle(document.activeElement))";
    alice.until("the focus can be seen", is_marked).await;
    alice.press(TypingData::from("One line") + Key::Enter + "Another").await;
    alice.press(Key::Enter).await;
    alice.reads("alice", "Another").await;
    assert_eq!(alice.messages().await, ["One line", "Another"]);

    // One round through the page with Tab: the focus reaches everything that can be clicked on, and shows it.
    let order = tab_through(&alice).await;
    let expected = ["Enter the room", "Write to this person", "bob", "#leave", "Send", "#log", "#text"];
    for name in expected {
        assert!(order.iter().any(|met| met.contains(name)), "no {name} in {order:?}");
    }
    let index = |name: &str| order.iter().position(|met| met.contains(name));
    assert!(index("Enter the room") < index("#leave") && index("#log") < index("#text"), "{order:?}");

    alice.run("[...document.querySelectorAll('#members button')][0].focus()", vec![]).await;
    alice.press(Key::Enter).await;
    alice.until("where one writes", &focus("text")).await;
    alice.press(TypingData::from("Psst") + Key::Enter).await;
    while bob.recv_json().await["type"] != "direct" {}
    browser.finish().await;
}

/// Presses Tab until the focus is back where it was; returns the elements that had it, by id or text.
async fn tab_through(page: &Page<'_>) -> Vec<String> {
    const MOST: usize = 40;
    let script = "const at = document.activeElement, style = getComputedStyle(at);
        const isMarked = style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2;
        const name = at.id ? '#' + at.id : at.textContent;
        return at === document.body ? 'body' : isMarked ? name : 'unmarked ' + name";
    let mut met = Vec::new();
    for _ in 0..MOST {
        page.press(Key::Tab).await;
        let name = page.run(script, vec![]).await.as_str().expect("a name").to_owned();
        assert!(!name.starts_with("unmarked"), "{name}");
        let is_round = met.contains(&name);
        met.push(name);
        if is_round {
            return met;
        }
    }
    panic!("no way round: {met:?}");
}

#[tokio::test]
async fn texts_are_never_html() {
    let (server, browser) = (Server::start(&[]), Browser::start().await);
    let alice = Page::enter(&browser, &server, "alice", "lobby").await;
    let bob = Page::enter(&browser, &server, "bob", "lobby").await;
    let attacks = [
        "<img src=x onerror=\"document.title='caught'; window.caught = 1\">",
        "<script>window.caught = 1</script>",
        "<svg/onload=window.caught=1>",
        "&lt;b&gt;bold&lt;/b&gt; <b>bold</b>",
        "javascript:window.caught=1",
    ];
    for attack in attacks {
        alice.say(attack).await;
        bob.reads("alice", attack).await;
        alice.reads("alice", attack).await;
    }
    for page in [&alice, &bob] {
        assert_eq!(page.messages().await, attacks);
        page.until("not an element of it", "$$('#messages :is(img, script, svg, b, a)').length === 0").await;
        page.until("nothing has run", "!window.caught && !document.title.includes('caught')").await;
    }
    // The Content-Security-Policy alone would stop them, too: it refuses a handler that gets into the page.
    let smuggled = "window.refused = 0;
        document.addEventListener('securitypolicyviolation', () => { window.refused += 1; });
        const image = document.createElement('img');
        image.setAttribute('onerror', 'window.caught = 1');
        image.src = 'missing.png';
        document.body.append(image)";
    bob.run(smuggled, vec![]).await;
    bob.until("a refusal", "window.refused > 0").await;
    bob.until("nothing has run", "!window.caught").await;
    let complaints = browser.complaints().await;
    let is_ours = |text: &String| text.contains("Content Security Policy") || text.contains("missing.png");
    assert!(!complaints.is_empty() && complaints.iter().all(is_ours), "in the console: {complaints:#?}");
    browser.finish().await;
}

#[tokio::test]
async fn three_windows_of_one_user_agree() {
    let (server, browser) = (Server::start(&[]), Browser::start().await);
    let mut pages = Vec::new();
    for name in ["alice", "bob", "carol"] {
        pages.push(Page::enter(&browser, &server, name, "lobby").await);
    }
    let mut others = join_all(["dave", "erin"].map(|name| speaker(&server, name, "lobby", 0))).await;
    let (dave, erin) = others.split_at_mut(1);
    tokio::join!(speak(&mut dave[0], "dave", 20), speak(&mut erin[0], "erin", 20), async {
        for page in &pages {
            page.say("Me too").await;
        }
    });
    for page in &pages {
        page.until("all of it", "$$('#messages .message').length === 43").await;
    }
    let orders = [pages[0].messages().await, pages[1].messages().await, pages[2].messages().await];
    assert!(orders[0] == orders[1] && orders[1] == orders[2], "{orders:#?}");
    browser.finish().await;
}
