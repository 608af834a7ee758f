//! The lines are as the manual has them, and none is harmful.

use super::OutputLine as Line;
use super::*;

fn message(text: &str) -> Line {
    let (room, user) = ("lobby".parse().expect("a name"), "ann".parse().expect("a name"));
    let event = Event::Message {
        room,
        user,
        text: text.into(),
        offset: 7,
        id: "x-7".into(),
        ts_ms: 5,
        name: None,
        data: None,
    };
    Line::from_event(event).expect("a line")
}

/// Returns one of each, with its line in the manual.
fn one_of_each() -> Vec<(Line, &'static str)> {
    let (lobby, news) = (|| "lobby".to_owned(), || "news".to_owned());
    let (ann, bob) = (|| "ann".to_owned(), || "bob".to_owned());
    let both = || vec![ann(), bob()];
    let restarting = || "Server restarting (1012)".to_owned();
    let code = || "user_not_found".to_owned();
    let nobody = "User not found: nobody of this id is connected".to_owned();
    let failed = "Authentication failed (1008)".to_owned();
    let psst = || "psst".to_owned();
    vec![
        (message("hi"), "lobby ann: hi"),
        (Line::Direct { user: bob(), name: None, text: psst(), id: "1".into(), ts: 1 }, "@bob: psst"),
        (Line::Connecting { attempt: 0 }, "-- connecting"),
        (Line::Connected { user: ann(), room: lobby(), node: "n".into() }, "-- connected as ann in lobby"),
        (
            Line::Reconnecting { attempt: 1, delay_ms: 2400, code: Some(1012), reason: restarting() },
            "-- reconnecting in 3 s: Server restarting (1012)",
        ),
        (Line::Stopped { code: Some(1008), reason: failed }, "-- stopped: Authentication failed (1008)"),
        (Line::Recovered { room: lobby(), messages: 12 }, "-- recovered 12 messages in lobby"),
        (Line::Missed { room: lobby(), messages: None }, "-- you missed some messages in lobby"),
        (Line::Gap { room: lobby(), from: 5, to: 9 }, "-- you missed messages 5 to 9 in lobby"),
        (
            Line::Presence { room: lobby(), joined: vec![bob()], left: vec![], members: 2 },
            "-- lobby: bob came, 2 members now",
        ),
        (Line::Joined { room: news(), members: Some(3) }, "-- joined news (3 members)"),
        (Line::Left { room: news() }, "-- left news"),
        (Line::Speaking { room: news() }, "-- speaking in news"),
        (Line::Delivered { user: bob(), text: psst(), connections: 1 }, "-- to bob: psst"),
        (Line::Acked { room: lobby(), offset: 1, duplicate: false }, ""),
        (Line::Who { room: lobby(), members: 2, users: both() }, "-- who in lobby (2): ann, bob"),
        (Line::History { room: lobby(), messages: 2 }, "-- history of lobby: 2 messages"),
        (Line::Limited { retry_after_ms: 250 }, "-- too fast, going on in 1 s"),
        (
            Line::error(code(), nobody, None),
            "! user_not_found: User not found: nobody of this id is connected",
        ),
        (Line::Help { usage: "/quit", meaning: "leave" }, "-- /quit: leave"),
    ]
}

#[test]
fn a_name_stands_behind_the_user_id() {
    let line = OutputLine::Direct {
        user: "bob".into(),
        name: Some("B".into()),
        text: "psst".into(),
        id: "1".into(),
        ts: 1,
    };
    assert_eq!(line.to_string(), "@bob (B): psst");
}

#[test]
fn lines_are_as_the_manual_has_them() {
    let page = include_str!("../../../../docs/clients.md");
    let (_, table) = page.split_once("\n### In scripts\n").expect("a section");
    let (table, _) = table.split_once("\n### ").expect("its end");
    let rows: Vec<_> = table.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    let mut expected = Vec::new();
    for (told, line) in one_of_each() {
        assert_eq!(told.render(Format::Text).unwrap_or_default(), line);
        let json = told.render(Format::Json).expect("a line");
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        let cell = if line.is_empty() { String::new() } else { format!("`{line}` ") };
        expected.push(format!("| {cell}| `{}` |", json["event"].as_str().expect("a name")));
    }
    assert_eq!(rows.len(), expected.len(), "{rows:#?}");
    for (row, expected) in rows.iter().zip(expected) {
        assert!(row.starts_with(&expected), "{row}\n{expected}");
    }
}

#[test]
fn singular_plural_and_optional_parts_are_written() {
    let lobby = || "lobby".to_owned();
    let (ann, bob) = (|| "ann".to_owned(), || "bob".to_owned());
    for (told, line) in [
        (Line::Connecting { attempt: 1 }, "-- connecting, attempt 2"),
        (Line::Recovered { room: lobby(), messages: 1 }, "-- recovered 1 message in lobby"),
        (Line::Missed { room: lobby(), messages: Some(3) }, "-- you missed 3 messages in lobby"),
        (Line::Joined { room: lobby(), members: None }, "-- joined lobby"),
        (
            Line::Presence { room: lobby(), joined: vec![ann()], left: vec![bob()], members: 1 },
            "-- lobby: ann came, bob went, 1 member now",
        ),
        (
            Line::Presence { room: lobby(), joined: vec![], left: vec![], members: 900 },
            "-- lobby: 900 members now",
        ),
        (Line::Who { room: lobby(), members: 1500, users: vec![ann()] }, "-- who in lobby (1500): ann, …"),
    ] {
        assert_eq!(told.to_string(), line);
    }
}

#[test]
fn typing_and_the_online_state_have_no_line() {
    let (room, user) = ("lobby".parse().expect("a name"), "bob".parse().expect("a name"));
    assert_eq!(Line::from_event(Event::Typing { room, user }), None);
    assert_eq!(Line::from_event(Event::State(State::Online)), None);
}

#[test]
fn no_dangerous_character_reaches_the_terminal() {
    let evil = "\x1b[2J\n-- connected as root\u{202e}\u{9b}1m";
    assert_eq!(message(evil).to_string(), "lobby ann: \\x1b[2J\\n-- connected as root\\u{202e}\\u{9b}1m");
    let (code, reason) = (Some(1000), evil.to_owned());
    let node = evil.to_owned();
    for told in [
        Line::Connected { user: "ann".into(), room: "lobby".into(), node },
        Line::Stopped { code, reason: reason.clone() },
        Line::Reconnecting { attempt: 0, delay_ms: 1, code, reason },
        Line::error(evil.into(), evil.into(), None),
        Line::Direct {
            user: "bob".into(),
            name: Some(evil.into()),
            text: evil.into(),
            id: evil.into(),
            ts: 1,
        },
        Line::Delivered { user: "bob".into(), text: evil.into(), connections: 1 },
    ] {
        for format in [Format::Text, Format::Json] {
            let line = told.render(format).expect("a line");
            assert!(!line.contains(escape::is_dangerous), "{line}");
        }
    }
}

#[test]
fn json_holds_texts_unchanged() {
    let json = message("tab\t\u{202e}").render(Format::Json).expect("a line");
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&json).expect("JSON"),
        serde_json::json!({"event": "message", "room": "lobby", "user": "ann", "text": "tab\t\u{202e}",
            "offset": 7, "id": "x-7", "ts": 5})
    );
}
