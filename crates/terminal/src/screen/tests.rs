//! What happens is seen: events in, the drawn screen out.

use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::{Color, Modifier};
use unicode_width::UnicodeWidthStr as _;

use super::draw::draw;
use super::edit::Edit;
use super::place::MAX_ENTRIES;
use super::view::{Act, View};
use crate::errands::{Answer, Errand};
use crate::escape::is_dangerous;
use throng_client::{Ack, Ended, Event, History, Message, Presence, SendError, State};
use throng_names::{Epoch, RoomName, UserId};

fn room(name: &str) -> RoomName {
    name.parse().expect("a name")
}

fn user(name: &str) -> UserId {
    name.parse().expect("a name")
}

fn epoch() -> Epoch {
    "0000000000001".parse().expect("an epoch")
}

fn said(place: &str, who: &str, text: &str, offset: u64) -> Event {
    let id = format!("x-{offset}");
    Event::Message { room: room(place), user: user(who), text: text.into(), offset, id, ts_ms: offset }
}

fn welcome(place: &str) -> Event {
    let (room, user, node) = (room(place), user("ann"), "n1".into());
    Event::Welcome { room, user, node, epoch: epoch(), offset: 0, recovered: false }
}

fn page(place: &str, offsets: std::ops::RangeInclusive<u64>, more: bool) -> Answer {
    let message = |offset| Message {
        room: room(place),
        user: user("old"),
        text: format!("number {offset}"),
        offset,
        id: String::new(),
        ts_ms: offset,
    };
    Answer::History(History { epoch: epoch(), messages: offsets.map(message).collect(), more })
}

/// A view of somebody who is in the lobby with bob.
fn connected(now: Instant) -> View {
    let mut view = View::new(user("ann"));
    let asked = view.hear(welcome("lobby"), now);
    let history = Errand::History { room: room("lobby"), before: None, limit: 50 };
    assert_eq!(asked, [Errand::Who { room: room("lobby") }, history.clone()]);
    let who = Presence { users: vec![user("ann"), user("bob")], members: 2, more: false };
    assert_eq!(view.done(asked[0].clone(), Ok(Answer::Who(who)), 0), []);
    let nothing = History { epoch: epoch(), messages: Vec::new(), more: false };
    assert_eq!(view.done(history, Ok(Answer::History(nothing)), 0), []);
    view
}

fn join(view: &mut View, name: &str) {
    let Act::Ask(errand) = view.typed(&format!("/join {name}")) else { panic!("a command") };
    let (room, offset, recovered, members) = (room(name), 0, false, Some(1));
    let joined = throng_client::Joined { room, epoch: epoch(), offset, recovered, members };
    view.done(errand, Ok(Answer::Joined(joined)), 0);
}

fn backend(view: &View, edit: &Edit, now: Instant, (width, height): (u16, u16)) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a screen");
    let clock = |ms| format!("00:{:02}", ms % 60);
    terminal.draw(|frame| _ = draw(frame, view, edit, now, &clock)).expect("drawn");
    terminal.backend().clone()
}

/// The screen's rows as text, without the blanks at their ends.
fn shown(view: &View, now: Instant, size: (u16, u16)) -> Vec<String> {
    rows(&backend(view, &Edit::default(), now, size))
}

fn rows(backend: &TestBackend) -> Vec<String> {
    let buffer = backend.buffer();
    let row = |y| {
        let (mut text, mut x) = (String::new(), 0);
        while x < buffer.area.width {
            let symbol = buffer[(x, y)].symbol();
            text.push_str(symbol);
            x += u16::try_from(symbol.width().max(1)).expect("a column");
        }
        text.trim_end().to_owned()
    };
    (0..buffer.area.height).map(row).collect()
}

fn state_line(view: &View, now: Instant) -> String {
    shown(view, now, (80, 10))[8].clone()
}

#[test]
fn a_whole_screen() {
    let now = Instant::now();
    let mut view = connected(now);
    view.hear(said("lobby", "bob", "hi", 1), now);
    view.hear(
        said("lobby", "ann", "日本 and a text that is too long for one row of a screen like this", 2),
        now,
    );
    let joined = vec![user("carol")];
    view.hear(Event::PresenceDiff { room: room("lobby"), joined, left: vec![], members: 3 }, now);
    join(&mut view, "news");
    view.turn(-1);
    view.hear(said("news", "bob", "unread", 1), now);
    view.hear(said("news", "bob", "unread", 2), now);
    let direct = Event::Direct { user: user("bob"), text: "psst".into(), id: "d".into(), ts_ms: 3 };
    view.hear(direct, now);
    view.hear(Event::Typing { room: room("lobby"), user: user("bob") }, now);
    let mut edit = Edit::default();
    edit.insert("not yet said");
    let drawn = backend(&view, &edit, now, (66, 12));
    assert_eq!(
        rows(&drawn),
        [
            ">lobby              │",
            " news (2)           │",
            " @bob (1)           │",
            "                    │",
            " 3 members          │",
            " ann                │",
            " bob                │ 00:01 bob: hi",
            " carol              │ 00:02 ann: 日本 and a text that is too long",
            "                    │       for one row of a screen like this",
            "                      bob is typing …",
            " connected as ann",
            "> not yet said",
        ]
    );
    let mut drawn = drawn;
    drawn.assert_cursor_position((14, 11));
    let buffer = drawn.buffer();
    assert_eq!(buffer[(1, 10)].fg, Color::Green);
    assert!(buffer[(60, 10)].modifier.contains(Modifier::REVERSED), "the bar goes to the edge");
    assert!(buffer[(28, 6)].modifier.contains(Modifier::BOLD), "who said it");
}

#[test]
fn the_state_is_always_in_sight_and_counts_down() {
    let now = Instant::now();
    let mut view = View::new(user("ann"));
    assert_eq!(state_line(&view, now), " connecting");
    let reason = Ended { code: Some(1012), reason: "Server restarting".into() };
    let delay = Duration::from_millis(2500);
    view.hear(Event::State(State::Waiting { attempt: 1, delay, reason: reason.clone() }), now);
    assert_eq!(state_line(&view, now), " reconnecting in 3 s: Server restarting (1012)");
    // The next change is when a second less is left, and when nothing is, there is none.
    let tick = view.next_tick(now).expect("a second");
    assert_eq!(tick - now, Duration::from_millis(500));
    assert_eq!(state_line(&view, tick), " reconnecting in 2 s: Server restarting (1012)");
    assert_eq!(view.next_tick(tick), Some(tick + Duration::from_secs(1)));
    assert_eq!(view.next_tick(now + delay), None);
    view.hear(Event::State(State::Connecting { attempt: 1 }), now);
    assert_eq!((state_line(&view, now), view.next_tick(now)), (" connecting, attempt 2".into(), None));
    view.hear(welcome("lobby"), now);
    assert_eq!(state_line(&view, now), " connected as ann");
    view.hear(Event::State(State::Stopped { reason }), now);
    assert_eq!(state_line(&view, now), " stopped: Server restarting (1012) (Ctrl-C leaves)");
}

#[test]
fn what_was_recovered_and_what_was_missed_is_said_twice() {
    let now = Instant::now();
    let mut view = connected(now);
    for (event, remark) in [
        (Event::Recovered { room: room("lobby"), messages: 12 }, "recovered 12 messages"),
        (Event::Missed { room: room("lobby"), messages: Some(1) }, "you missed 1 message"),
        (Event::Missed { room: room("lobby"), messages: None }, "you missed some messages"),
        (Event::Gap { room: room("lobby"), from: 3, to: 5 }, "you missed messages 3 to 5"),
    ] {
        view.hear(event, now);
        let rows = shown(&view, now, (80, 10));
        assert_eq!(rows[8], format!(" connected as ann | {remark} in lobby"));
        // Where it is missing, too, and there it stays.
        assert!(rows[6].ends_with(&format!("   -- {remark}")), "{rows:#?}");
    }
    assert_eq!(view.typed("hello"), Act::Ask(Errand::Say { room: room("lobby"), text: "hello".into() }));
    assert_eq!(state_line(&view, now), " connected as ann");
}

#[test]
fn older_messages_come_when_one_scrolls_up_and_reading_is_not_disturbed() {
    let now = Instant::now();
    let mut view = View::new(user("ann"));
    let asked = view.hear(welcome("lobby"), now);
    // Said while the answer was on its way, and part of it.
    view.hear(said("lobby", "bob", "live", 100), now);
    view.done(asked[1].clone(), Ok(page("lobby", 91..=100, true)), 0);
    assert_eq!(view.places[0].entries.len(), 10, "each once");
    assert_eq!(
        shown(&view, now, (40, 7))[..4].join("|"),
        "00:37 old: number 97|00:38 old: number 98|00:39 old: number 99|00:40 bob: live"
    );
    let errand = view.scroll_up(4).expect("near the start");
    assert_eq!(errand, Errand::History { room: room("lobby"), before: Some(91), limit: 50 });
    assert_eq!(view.scroll_up(4), None, "asked for already");
    let before = shown(&view, now, (40, 7));
    view.hear(said("lobby", "bob", "more", 101), now);
    assert_eq!(shown(&view, now, (40, 7))[..4], before[..4], "it stays where it was");
    assert!(before[5].ends_with("| 8 below"), "{before:?}");
    // The connection fell meanwhile: the next attempt asks again.
    view.done(errand, Err(SendError::Disconnected), 0);
    let errand = view.scroll_up(1).expect("asked again");
    view.done(errand, Ok(page("lobby", 41..=90, false)), 0);
    view.scroll_up(1000);
    assert_eq!(shown(&view, now, (40, 7))[3], "00:41 old: number 41");
    assert_eq!(view.scroll_up(4), None, "there is nothing before it");
    view.scroll_down(1000);
    assert_eq!(shown(&view, now, (40, 7))[3], "00:41 bob: more");
}

#[test]
fn rooms_and_conversations_are_turned_to_and_left() {
    let now = Instant::now();
    let mut view = connected(now);
    join(&mut view, "news");
    view.hear(Event::Direct { user: user("bob"), text: "psst".into(), id: "d".into(), ts_ms: 3 }, now);
    let names = |view: &View| {
        let names = view.places.iter().map(|place| format!("{} {}", place.name, place.unread));
        (names.collect::<Vec<_>>().join(", "), view.current)
    };
    assert_eq!(names(&view), ("lobby 0, news 0, @bob 1".into(), 1));
    view.turn(1);
    assert_eq!(names(&view), ("lobby 0, news 0, @bob 0".into(), 2));
    // In a conversation, what is said is for that user alone.
    let errand = Errand::Tell { user: user("bob"), text: "yes?".into() };
    assert_eq!(view.typed("yes?"), Act::Ask(errand.clone()));
    view.done(errand, Ok(Answer::Told(1)), 7);
    assert!(shown(&view, now, (40, 7))[3].ends_with("00:07 ann: yes?"));
    assert_eq!(view.typed("/leave"), Act::Nothing);
    assert_eq!(names(&view), ("lobby 0, news 0".into(), 1));
    let Act::Ask(errand) = view.typed("/leave") else { panic!("a command") };
    view.done(errand, Ok(Answer::Left), 0);
    assert_eq!(names(&view), ("lobby 0".into(), 0));
    // An answer about a room that was left does not bring it back.
    let who = Presence { users: vec![], members: 0, more: false };
    view.done(Errand::Who { room: room("news") }, Ok(Answer::Who(who)), 0);
    assert_eq!(names(&view), ("lobby 0".into(), 0));
    let Act::Ask(errand) = view.typed("/leave") else { panic!("a command") };
    view.done(errand, Ok(Answer::Left), 0);
    assert_eq!(view.typed("anybody?"), Act::Nothing);
    assert_eq!(state_line(&view, now), " connected as ann | you are in no room: /join one");
    view.turn(1);
}

#[test]
fn errors_stand_where_they_happened() {
    let now = Instant::now();
    let mut view = connected(now);
    let refused =
        || SendError::Refused { code: "rate_limited".into(), message: "Slow".into(), retry_after: None };
    view.typed("/shrug");
    view.done(Errand::Say { room: room("lobby"), text: "one".into() }, Err(refused()), 0);
    view.done(Errand::Tell { user: user("bob"), text: "two".into() }, Err(SendError::TooLong { max: 9 }), 0);
    view.done(Errand::Join { room: room("news") }, Err(refused()), 0);
    view.typed("/room news");
    let rows = shown(&view, now, (130, 8));
    let told: Vec<_> = rows[..5].iter().filter_map(|row| row.split(" -- ").nth(1)).collect();
    assert_eq!(
        told,
        [
            "no such command: /shrug (/help lists them; // says a text that begins with a slash)",
            "not said: one: Slow (rate_limited)",
            "not said to bob: two: the message has more than 9 characters",
            "cannot join news: Slow (rate_limited)",
            "you are not in news: /join news",
        ]
    );
}

#[test]
fn nothing_that_others_write_reaches_the_terminal_raw() {
    let now = Instant::now();
    let mut view = connected(now);
    let evil = "\x1b[2J\u{9b}1m\u{202e}\n";
    let ended = || Ended { code: None, reason: evil.into() };
    let ack = Ack { room: room("lobby"), epoch: epoch(), offset: 1, duplicate: false };
    view.done(Errand::Say { room: room("lobby"), text: evil.into() }, Ok(Answer::Said(ack)), 0);
    view.hear(said("lobby", "bob", evil, 1), now);
    view.hear(Event::Direct { user: user("bob"), text: evil.into(), id: evil.into(), ts_ms: 1 }, now);
    view.hear(Event::Refused { code: evil.into(), message: evil.into(), retry_after: None }, now);
    view.hear(Event::Expelled { room: room("lobby"), code: evil.into(), message: evil.into() }, now);
    view.done(Errand::Tell { user: user("bob"), text: evil.into() }, Ok(Answer::Told(1)), 0);
    for state in [
        State::Waiting { attempt: 0, delay: Duration::from_secs(1), reason: ended() },
        State::Stopped { reason: ended() },
    ] {
        view.hear(Event::State(state), now);
        for _ in 0..view.places.len() {
            view.turn(1);
            let rows = shown(&view, now, (100, 20));
            assert!(!rows.concat().contains(is_dangerous), "{rows:?}");
            assert!(rows.concat().contains("\\x1b[2J"), "{rows:?}");
        }
    }
}

/// The list and the news may pass each other: whoever was heard to come or go is shown so.
#[test]
fn a_list_undoes_no_news() {
    let now = Instant::now();
    let mut view = connected(now);
    let heard = |view: &mut View, joined: &[&str], left: &[&str], members| {
        let users = |names: &[&str]| names.iter().map(|name| user(name)).collect();
        let (joined, left) = (users(joined), users(left));
        view.hear(Event::PresenceDiff { room: room("lobby"), joined, left, members }, now)
    };
    let answered = |view: &mut View, names: &[&str]| {
        let users: Vec<_> = names.iter().map(|name| user(name)).collect();
        let page = Presence { members: users.len() as u64, users, more: false };
        view.done(Errand::Who { room: room("lobby") }, Ok(Answer::Who(page)), 0);
    };
    let shown = |view: &View| {
        let users: Vec<_> = view.places[0].users.iter().map(ToString::to_string).collect();
        (users.join(" "), view.places[0].members)
    };
    assert_eq!(heard(&mut view, &["carol"], &["bob"], 2), []);
    answered(&mut view, &["ann", "bob"]);
    assert_eq!(shown(&view), ("ann carol".into(), 2));
    // Told nothing, it asks, and knows only what is said from then on.
    let asks = [Errand::Who { room: room("lobby") }];
    assert_eq!(heard(&mut view, &[], &[], 3), asks);
    answered(&mut view, &["ann", "bob", "dora"]);
    assert_eq!(shown(&view), ("ann bob dora".into(), 3));
    assert_eq!(heard(&mut view, &[], &[], 5_000), []);
    assert_eq!(shown(&view), (String::new(), 5_000), "too many to know");
    // It comes back: what was heard before says nothing.
    assert_eq!(heard(&mut view, &["eve"], &[], 5_001), []);
    assert_eq!(view.hear(Event::Recovered { room: room("lobby"), messages: 0 }, now), asks);
    answered(&mut view, &["ann"]);
    assert_eq!(shown(&view), ("ann".into(), 1));
    // More moves than are kept.
    let many: Vec<_> = (0..=1000).map(|n| format!("user-{n}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert_eq!(heard(&mut view, &many, &[], 900), asks);
}

#[test]
fn nothing_grows_without_a_limit() {
    let now = Instant::now();
    let mut view = connected(now);
    for number in 0..2 * MAX_ENTRIES as u64 {
        view.hear(said("lobby", "bob", "x", number + 1), now);
        let writer = user(&format!("user-{number}"));
        view.hear(Event::Typing { room: room("lobby"), user: writer.clone() }, now);
        let joined = vec![writer.clone(), user(&format!("also-{number}"))];
        view.hear(Event::PresenceDiff { room: room("lobby"), joined, left: vec![], members: 9 }, now);
        view.hear(Event::Direct { user: writer, text: "x".into(), id: "x".into(), ts_ms: 0 }, now);
    }
    assert_eq!(view.places[0].entries.len(), MAX_ENTRIES);
    assert_eq!(view.places[0].users.len(), 1000);
    assert_eq!(view.places.len(), 1 + 50);
    assert_eq!(view.scroll_up(MAX_ENTRIES), None, "there is no space for older ones");
    assert!(shown(&view, now, (80, 10))[7].ends_with("user-0, user-1, user-2 are typing …"));
    assert_eq!(shown(&view, now + Duration::from_secs(5), (80, 10))[7], "");
}

#[test]
fn no_size_is_too_small() {
    let now = Instant::now();
    let mut view = connected(now);
    view.hear(said("lobby", "bob", "日本語 👩‍👩‍👧 and more", 1), now);
    view.hear(Event::Typing { room: room("lobby"), user: user("bob") }, now);
    let mut edit = Edit::default();
    edit.insert("日本語 👩‍👩‍👧");
    for (width, height) in (0..12).flat_map(|width| (0..6).map(move |height| (width, height))) {
        backend(&view, &edit, now, (width, height));
        backend(&view, &edit, now, (width * 20, height));
    }
}
