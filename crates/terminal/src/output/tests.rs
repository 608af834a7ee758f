//! The lines are as the manual documents them, and none is harmful for a terminal.

use super::*;

fn message(text: &str) -> OutputLine {
    let (room, user) = ("lobby".parse().expect("a name"), "ann".parse().expect("a name"));
    let event = Event::Message { room, user, text: text.into(), offset: 7, id: "x-7".into(), ts_ms: 5 };
    OutputLine::from_event(event).expect("a line")
}

/// Returns each kind of line with the text that the manual documents.
fn one_of_each() -> Vec<(OutputLine, &'static str)> {
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
        (OutputLine::Direct { user: bob(), text: psst(), id: "1".into(), ts: 1 }, "@bob: psst"),
        (OutputLine::Connecting { attempt: 0 }, "-- connecting"),
        (
            OutputLine::Connected { user: ann(), room: lobby(), node: "n".into() },
            "-- connected as ann in lobby",
        ),
        (
            OutputLine::Reconnecting { attempt: 1, delay_ms: 2400, code: Some(1012), reason: restarting() },
            "-- reconnecting in 3 s: Server restarting (1012)",
        ),
        (
            OutputLine::Stopped { code: Some(1008), reason: failed },
            "-- stopped: Authentication failed (1008)",
        ),
        (OutputLine::Recovered { room: lobby(), messages: 12 }, "-- recovered 12 messages in lobby"),
        (OutputLine::Missed { room: lobby(), messages: None }, "-- you missed some messages in lobby"),
        (OutputLine::Gap { room: lobby(), from: 5, to: 9 }, "-- you missed messages 5 to 9 in lobby"),
        (
            OutputLine::Presence { room: lobby(), joined: vec![bob()], left: vec![], members: 2 },
            "-- lobby: bob came, 2 members now",
        ),
        (OutputLine::Joined { room: news(), members: Some(3) }, "-- joined news (3 members)"),
        (OutputLine::Left { room: news() }, "-- left news"),
        (OutputLine::Speaking { room: news() }, "-- speaking in news"),
        (OutputLine::Delivered { user: bob(), text: psst(), connections: 1 }, "-- to bob: psst"),
        (OutputLine::Acked { room: lobby(), offset: 1, duplicate: false }, ""),
        (OutputLine::Who { room: lobby(), members: 2, users: both() }, "-- who in lobby (2): ann, bob"),
        (OutputLine::History { room: lobby(), messages: 2 }, "-- history of lobby: 2 messages"),
        (OutputLine::Limited { retry_after_ms: 250 }, "-- too fast, going on in 1 s"),
        (
            OutputLine::error(code(), nobody, None),
            "! user_not_found: User not found: nobody of this id is connected",
        ),
        (OutputLine::Help { usage: "/quit", meaning: "leave" }, "-- /quit: leave"),
    ]
}

#[test]
fn lines_are_as_the_readme_has_them() {
    let readme = include_str!("../../../../README.md");
    let (_, table) = readme.split_once("\n### In scripts\n").expect("a section");
    let (table, _) = table.split_once("\n### ").expect("its end");
    let rows: Vec<_> = table.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    let mut expected = Vec::new();
    for (output, line) in one_of_each() {
        assert_eq!(output.render(Format::Text).unwrap_or_default(), line);
        let json = output.render(Format::Json).expect("a line");
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
    for (output, line) in [
        (OutputLine::Connecting { attempt: 1 }, "-- connecting, attempt 2"),
        (OutputLine::Recovered { room: lobby(), messages: 1 }, "-- recovered 1 message in lobby"),
        (OutputLine::Missed { room: lobby(), messages: Some(3) }, "-- you missed 3 messages in lobby"),
        (OutputLine::Joined { room: lobby(), members: None }, "-- joined lobby"),
        (
            OutputLine::Presence { room: lobby(), joined: vec![ann()], left: vec![bob()], members: 1 },
            "-- lobby: ann came, bob went, 1 member now",
        ),
        (
            OutputLine::Presence { room: lobby(), joined: vec![], left: vec![], members: 900 },
            "-- lobby: 900 members now",
        ),
        (
            OutputLine::Who { room: lobby(), members: 1500, users: vec![ann()] },
            "-- who in lobby (1500): ann, …",
        ),
    ] {
        assert_eq!(output.to_string(), line);
    }
}

#[test]
fn typing_and_the_online_state_have_no_line() {
    let (room, user) = ("lobby".parse().expect("a name"), "bob".parse().expect("a name"));
    assert_eq!(OutputLine::from_event(Event::Typing { room, user }), None);
    assert_eq!(OutputLine::from_event(Event::State(State::Online)), None);
}

#[test]
fn no_dangerous_character_reaches_the_terminal() {
    let evil = "\x1b[2J\n-- connected as root\u{202e}\u{9b}1m";
    assert_eq!(message(evil).to_string(), "lobby ann: \\x1b[2J\\n-- connected as root\\u{202e}\\u{9b}1m");
    let (code, reason) = (Some(1000), evil.to_owned());
    let node = evil.to_owned();
    for output in [
        OutputLine::Connected { user: "ann".into(), room: "lobby".into(), node },
        OutputLine::Stopped { code, reason: reason.clone() },
        OutputLine::Reconnecting { attempt: 0, delay_ms: 1, code, reason },
        OutputLine::error(evil.into(), evil.into(), None),
        OutputLine::Direct { user: "bob".into(), text: evil.into(), id: evil.into(), ts: 1 },
        OutputLine::Delivered { user: "bob".into(), text: evil.into(), connections: 1 },
    ] {
        for format in [Format::Text, Format::Json] {
            let line = output.render(format).expect("a line");
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
