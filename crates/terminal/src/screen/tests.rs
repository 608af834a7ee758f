//! The screen as a whole: events and typed lines go in, the drawn rows come out.

use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::{Color, Modifier};
use unicode_width::UnicodeWidthStr as _;

use super::conversation::MAX_ITEMS;
use super::draw::draw;
use super::edit::LineEditor;
use super::view::{Action, View};
use crate::escape::is_dangerous;
use crate::requests::{Request, Response};
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

/// Returns a private message, whose id is its text.
fn direct(sender: UserId, text: &str, ts_ms: u64) -> Event {
    Event::Direct { user: sender, text: text.into(), id: text.into(), ts_ms, name: None, data: None }
}

fn said(room_name: &str, sender: &str, text: &str, offset: u64) -> Event {
    let (room, user, text, id) = (room(room_name), user(sender), text.into(), format!("x-{offset}"));
    Event::Message { room, user, text, offset, id, ts_ms: offset, name: None, data: None }
}

fn welcome(room_name: &str) -> Event {
    let (room, user, node) = (room(room_name), user("ann"), "n1".into());
    Event::Welcome { room, user, node, epoch: epoch(), offset: 0, recovered: false }
}

fn page(room_name: &str, offsets: std::ops::RangeInclusive<u64>, more: bool) -> Response {
    let message = |offset| {
        let (room, user, text) = (room(room_name), user("old"), format!("number {offset}"));
        Message { room, user, text, offset, id: String::new(), ts_ms: offset, name: None, data: None }
    };
    Response::History(History { epoch: epoch(), messages: offsets.map(message).collect(), more })
}

/// Returns the view of ann, who is in the lobby with bob.
fn connected(now: Instant) -> View {
    let mut view = View::new(user("ann"));
    let asked = view.handle_event(welcome("lobby"), now);
    let history = Request::History { room: room("lobby"), before: None, limit: 50 };
    assert_eq!(asked, [Request::Users { room: room("lobby") }, history.clone()]);
    let who = Presence { users: vec![user("ann"), user("bob")], members: 2, more: false };
    assert_eq!(view.handle_response(asked[0].clone(), Ok(Response::Users(who)), 0), []);
    let nothing = History { epoch: epoch(), messages: Vec::new(), more: false };
    assert_eq!(view.handle_response(history, Ok(Response::History(nothing)), 0), []);
    view
}

fn join(view: &mut View, name: &str) {
    let Action::Request(request) = view.handle_line(&format!("/join {name}")) else { panic!("a command") };
    let (room, offset, recovered, members) = (room(name), 0, false, Some(1));
    let joined = throng_client::Joined { room, epoch: epoch(), offset, recovered, members };
    view.handle_response(request, Ok(Response::Joined(joined)), 0);
}

fn backend(view: &View, edit: &LineEditor, now: Instant, (width, height): (u16, u16)) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a screen");
    let clock = |ms| format!("00:{:02}", ms % 60);
    terminal.draw(|frame| _ = draw(frame, view, edit, now, &clock)).expect("drawn");
    terminal.backend().clone()
}

/// Returns the rows of the screen as text, without blanks at their ends.
fn shown(view: &View, now: Instant, size: (u16, u16)) -> Vec<String> {
    rows(&backend(view, &LineEditor::default(), now, size))
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
    view.handle_event(said("lobby", "bob", "hi", 1), now);
    view.handle_event(
        said("lobby", "ann", "日本 and a text that is too long for one row of a screen like this", 2),
        now,
    );
    let joined = vec![user("carol")];
    view.handle_event(Event::PresenceDiff { room: room("lobby"), joined, left: vec![], members: 3 }, now);
    join(&mut view, "news");
    view.select_relative(-1);
    view.handle_event(said("news", "bob", "unread", 1), now);
    view.handle_event(said("news", "bob", "unread", 2), now);
    let direct = direct(user("bob"), "psst", 3);
    view.handle_event(direct, now);
    view.handle_event(Event::Typing { room: room("lobby"), user: user("bob") }, now);
    let mut edit = LineEditor::default();
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
    assert!(buffer[(60, 10)].modifier.contains(Modifier::REVERSED), "the status bar must reach the edge");
    assert!(buffer[(28, 6)].modifier.contains(Modifier::BOLD), "the sender must be bold");
}

#[test]
fn the_state_is_always_visible_and_counts_down() {
    let now = Instant::now();
    let mut view = View::new(user("ann"));
    assert_eq!(state_line(&view, now), " connecting");
    let reason = Ended { code: Some(1012), reason: "Server restarting".into() };
    let delay = Duration::from_millis(2500);
    view.handle_event(Event::State(State::Waiting { attempt: 1, delay, reason: reason.clone() }), now);
    assert_eq!(state_line(&view, now), " reconnecting in 3 s: Server restarting (1012)");
    // The next tick is when one second less is left. There is none once the wait is over.
    let tick = view.next_tick(now).expect("a second");
    assert_eq!(tick - now, Duration::from_millis(500));
    assert_eq!(state_line(&view, tick), " reconnecting in 2 s: Server restarting (1012)");
    assert_eq!(view.next_tick(tick), Some(tick + Duration::from_secs(1)));
    assert_eq!(view.next_tick(now + delay), None);
    view.handle_event(Event::State(State::Connecting { attempt: 1 }), now);
    assert_eq!((state_line(&view, now), view.next_tick(now)), (" connecting, attempt 2".into(), None));
    view.handle_event(welcome("lobby"), now);
    assert_eq!(state_line(&view, now), " connected as ann");
    view.handle_event(Event::State(State::Stopped { reason }), now);
    assert_eq!(state_line(&view, now), " stopped: Server restarting (1012) (Ctrl-C leaves)");
}

#[test]
fn recovered_and_missed_messages_are_shown_in_the_room_and_the_status_bar() {
    let now = Instant::now();
    let mut view = connected(now);
    for (event, notice) in [
        (Event::Recovered { room: room("lobby"), messages: 12 }, "recovered 12 messages"),
        (Event::Missed { room: room("lobby"), messages: Some(1) }, "you missed 1 message"),
        (Event::Missed { room: room("lobby"), messages: None }, "you missed some messages"),
        (Event::Gap { room: room("lobby"), from: 3, to: 5 }, "you missed messages 3 to 5"),
    ] {
        view.handle_event(event, now);
        let rows = shown(&view, now, (80, 10));
        assert_eq!(rows[8], format!(" connected as ann | {notice} in lobby"));
        // The notice also stands in the room, and stays there.
        assert!(rows[6].ends_with(&format!("   -- {notice}")), "{rows:#?}");
    }
    assert_eq!(
        view.handle_line("hello"),
        Action::Request(Request::Say { room: room("lobby"), text: "hello".into() })
    );
    assert_eq!(state_line(&view, now), " connected as ann");
}

#[test]
fn scrolling_up_fetches_older_messages_and_new_ones_do_not_move_the_view() {
    let now = Instant::now();
    let mut view = View::new(user("ann"));
    let asked = view.handle_event(welcome("lobby"), now);
    // A message arrives before the answer that contains it, too.
    view.handle_event(said("lobby", "bob", "live", 100), now);
    view.handle_response(asked[1].clone(), Ok(page("lobby", 91..=100, true)), 0);
    assert_eq!(view.conversations[0].timeline.len(), 10, "each message must appear once");
    assert_eq!(
        shown(&view, now, (40, 7))[..4].join("|"),
        "00:37 old: number 97|00:38 old: number 98|00:39 old: number 99|00:40 bob: live"
    );
    let request = view.scroll_up(4).expect("near the start");
    assert_eq!(request, Request::History { room: room("lobby"), before: Some(91), limit: 50 });
    assert_eq!(view.scroll_up(4), None, "the request is under way already");
    let before = shown(&view, now, (40, 7));
    view.handle_event(said("lobby", "bob", "more", 101), now);
    assert_eq!(shown(&view, now, (40, 7))[..4], before[..4], "the view must stay where it was");
    assert!(before[5].ends_with("| 8 below"), "{before:?}");
    // The connection was lost meanwhile: scrolling asks again.
    view.handle_response(request, Err(SendError::Disconnected), 0);
    let request = view.scroll_up(1).expect("asked again");
    view.handle_response(request, Ok(page("lobby", 41..=90, false)), 0);
    view.scroll_up(1000);
    assert_eq!(shown(&view, now, (40, 7))[3], "00:41 old: number 41");
    assert_eq!(view.scroll_up(4), None, "there are no older messages");
    view.scroll_down(1000);
    assert_eq!(shown(&view, now, (40, 7))[3], "00:41 bob: more");
}

#[test]
fn conversations_are_selected_and_left() {
    let now = Instant::now();
    let mut view = connected(now);
    join(&mut view, "news");
    view.handle_event(direct(user("bob"), "psst", 3), now);
    let names = |view: &View| {
        let names = view.conversations.iter().map(|it| format!("{} {}", it.name, it.unread));
        (names.collect::<Vec<_>>().join(", "), view.current)
    };
    assert_eq!(names(&view), ("lobby 0, news 0, @bob 1".into(), 1));
    view.select_relative(1);
    assert_eq!(names(&view), ("lobby 0, news 0, @bob 0".into(), 2));
    // In a conversation with one user, a text is sent to that user alone.
    let request = Request::Direct { user: user("bob"), text: "yes?".into() };
    assert_eq!(view.handle_line("yes?"), Action::Request(request.clone()));
    view.handle_response(request, Ok(Response::Delivered(1)), 7);
    assert!(shown(&view, now, (40, 7))[3].ends_with("00:07 ann: yes?"));
    assert_eq!(view.handle_line("/leave"), Action::Nothing);
    assert_eq!(names(&view), ("lobby 0, news 0".into(), 1));
    let Action::Request(request) = view.handle_line("/leave") else { panic!("a command") };
    view.handle_response(request, Ok(Response::Left), 0);
    assert_eq!(names(&view), ("lobby 0".into(), 0));
    // The response about a room that was left does not bring it back.
    let who = Presence { users: vec![], members: 0, more: false };
    view.handle_response(Request::Users { room: room("news") }, Ok(Response::Users(who)), 0);
    assert_eq!(names(&view), ("lobby 0".into(), 0));
    let Action::Request(request) = view.handle_line("/leave") else { panic!("a command") };
    view.handle_response(request, Ok(Response::Left), 0);
    assert_eq!(view.handle_line("anybody?"), Action::Nothing);
    assert_eq!(state_line(&view, now), " connected as ann | you are in no room: /join one");
    view.select_relative(1);
}

#[test]
fn errors_are_shown_where_they_happened() {
    let now = Instant::now();
    let mut view = connected(now);
    let refused =
        || SendError::Refused { code: "rate_limited".into(), message: "Slow".into(), retry_after: None };
    view.handle_line("/shrug");
    view.handle_response(Request::Say { room: room("lobby"), text: "one".into() }, Err(refused()), 0);
    view.handle_response(
        Request::Direct { user: user("bob"), text: "two".into() },
        Err(SendError::TooLong { max: 9 }),
        0,
    );
    view.handle_response(Request::Join { room: room("news") }, Err(refused()), 0);
    view.handle_line("/room news");
    let rows = shown(&view, now, (130, 8));
    let notices: Vec<_> = rows[..5].iter().filter_map(|row| row.split(" -- ").nth(1)).collect();
    assert_eq!(
        notices,
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
fn no_dangerous_character_reaches_the_terminal() {
    let now = Instant::now();
    let mut view = connected(now);
    let evil = "\x1b[2J\u{9b}1m\u{202e}\n";
    let ended = || Ended { code: None, reason: evil.into() };
    let ack = Ack { room: room("lobby"), epoch: epoch(), offset: 1, duplicate: false };
    view.handle_response(
        Request::Say { room: room("lobby"), text: evil.into() },
        Ok(Response::Acked(ack)),
        0,
    );
    view.handle_event(said("lobby", "bob", evil, 1), now);
    view.handle_event(direct(user("bob"), evil, 1), now);
    view.handle_event(Event::Refused { code: evil.into(), message: evil.into(), retry_after: None }, now);
    view.handle_event(Event::Expelled { room: room("lobby"), code: evil.into(), message: evil.into() }, now);
    view.handle_response(
        Request::Direct { user: user("bob"), text: evil.into() },
        Ok(Response::Delivered(1)),
        0,
    );
    for state in [
        State::Waiting { attempt: 0, delay: Duration::from_secs(1), reason: ended() },
        State::Stopped { reason: ended() },
    ] {
        view.handle_event(Event::State(state), now);
        for _ in 0..view.conversations.len() {
            view.select_relative(1);
            let rows = shown(&view, now, (100, 20));
            assert!(!rows.concat().contains(is_dangerous), "{rows:?}");
            assert!(rows.concat().contains("\\x1b[2J"), "{rows:?}");
        }
    }
}

/// A requested list and the events may overtake each other: the changes from events are kept.
#[test]
fn a_requested_list_does_not_undo_events() {
    let now = Instant::now();
    let mut view = connected(now);
    let changed = |view: &mut View, joined: &[&str], left: &[&str], members| {
        let users = |names: &[&str]| names.iter().map(|name| user(name)).collect();
        let (joined, left) = (users(joined), users(left));
        view.handle_event(Event::PresenceDiff { room: room("lobby"), joined, left, members }, now)
    };
    let answered = |view: &mut View, names: &[&str]| {
        let users: Vec<_> = names.iter().map(|name| user(name)).collect();
        let page = Presence { members: users.len() as u64, users, more: false };
        view.handle_response(Request::Users { room: room("lobby") }, Ok(Response::Users(page)), 0);
    };
    let shown = |view: &View| {
        let users: Vec<_> = view.conversations[0].users.iter().map(ToString::to_string).collect();
        (users.join(" "), view.conversations[0].members)
    };
    assert_eq!(changed(&mut view, &["carol"], &["bob"], 2), []);
    answered(&mut view, &["ann", "bob"]);
    assert_eq!(shown(&view), ("ann carol".into(), 2));
    // An event without names makes the view request the list. Changes count from then on.
    let asks = [Request::Users { room: room("lobby") }];
    assert_eq!(changed(&mut view, &[], &[], 3), asks);
    answered(&mut view, &["ann", "bob", "dora"]);
    assert_eq!(shown(&view), ("ann bob dora".into(), 3));
    assert_eq!(changed(&mut view, &[], &[], 5_000), []);
    assert_eq!(shown(&view), (String::new(), 5_000), "too many users to list");
    // After a reconnect, earlier changes mean nothing.
    assert_eq!(changed(&mut view, &["eve"], &[], 5_001), []);
    assert_eq!(view.handle_event(Event::Recovered { room: room("lobby"), messages: 0 }, now), asks);
    answered(&mut view, &["ann"]);
    assert_eq!(shown(&view), ("ann".into(), 1));
    // More changes than are kept make the view request the list.
    let many: Vec<_> = (0..=1000).map(|n| format!("user-{n}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert_eq!(changed(&mut view, &many, &[], 900), asks);
}

#[test]
fn everything_that_grows_has_a_limit() {
    let now = Instant::now();
    let mut view = connected(now);
    for number in 0..2 * MAX_ITEMS as u64 {
        view.handle_event(said("lobby", "bob", "x", number + 1), now);
        let writer = user(&format!("user-{number}"));
        view.handle_event(Event::Typing { room: room("lobby"), user: writer.clone() }, now);
        let joined = vec![writer.clone(), user(&format!("also-{number}"))];
        view.handle_event(Event::PresenceDiff { room: room("lobby"), joined, left: vec![], members: 9 }, now);
        view.handle_event(direct(writer, "x", 0), now);
    }
    assert_eq!(view.conversations[0].timeline.len(), MAX_ITEMS);
    assert_eq!(view.conversations[0].users.len(), 1000);
    assert_eq!(view.conversations.len(), 1 + 50);
    assert_eq!(view.scroll_up(MAX_ITEMS), None, "there must be no space for older messages");
    assert!(shown(&view, now, (80, 10))[7].ends_with("user-0, user-1, user-2 are typing …"));
    assert_eq!(shown(&view, now + Duration::from_secs(5), (80, 10))[7], "");
}

#[test]
fn no_size_is_too_small() {
    let now = Instant::now();
    let mut view = connected(now);
    view.handle_event(said("lobby", "bob", "日本語 👩‍👩‍👧 and more", 1), now);
    view.handle_event(Event::Typing { room: room("lobby"), user: user("bob") }, now);
    let mut edit = LineEditor::default();
    edit.insert("日本語 👩‍👩‍👧");
    for (width, height) in (0..12).flat_map(|width| (0..6).map(move |height| (width, height))) {
        backend(&view, &edit, now, (width, height));
        backend(&view, &edit, now, (width * 20, height));
    }
}
