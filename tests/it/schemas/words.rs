//! Tests that the words in the schemas are those of the code: commands, events, fields, codes and limits.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use throng::names::{Epoch, Key, RoomName, SessionId, UserId};
use throng::testing::admission::Refusal;
use throng::testing::protocol::close::{EndReason, MAX_REASON_BYTES};
use throng::testing::protocol::command::{MAX_HISTORY_LIMIT, MAX_ID_CHARS, MAX_PRESENCE_LIMIT};
use throng::testing::protocol::event::CommandError;

use super::book::{Book, CLOSE, COMMON, PLAIN_EVENTS, REFUSAL, V1_COMMANDS, V1_EVENTS, name};
use super::{asyncapi, kept};
use crate::support::vocabulary::{self, Fields, errors, reasons};

/// Returns the types of the messages that a file lists, each with its other fields.
fn declared(book: &Book, file: &str) -> Fields {
    let mut all = Fields::new();
    for kind in book.kinds(file) {
        let word = book.definition(&kind).pointer("/properties/type/const").and_then(Value::as_str);
        let (fields, _) = book.fields(&kind);
        let fields = fields.into_iter().filter(|field| *field != "type").map(str::to_owned);
        all.entry(word.expect("a type").to_owned()).or_default().extend(fields);
    }
    all
}

/// Returns the constants that a definition lists, each with its description.
fn constants<'b>(book: &'b Book, name: &str) -> Vec<(&'b Value, &'b str)> {
    let options = book.definition(name)["oneOf"].as_array().expect("a list");
    let described =
        options.iter().map(|option| (&option["const"], option["description"].as_str().expect("words")));
    described.collect()
}

#[test]
fn the_commands_are_those_that_the_server_lists_with_the_fields_that_it_takes() {
    let book = Book::read();
    let declared = declared(&book, V1_COMMANDS);
    let unknown = CommandError::UnknownType.to_string();
    let (_, list) = unknown.split_once("must be ").expect("a list");
    let list: BTreeSet<_> = list.split([',', ' ']).filter(|word| !matches!(*word, "" | "or")).collect();
    assert_eq!(declared.keys().map(String::as_str).collect::<BTreeSet<_>>(), list);
    // `wire-events.txt` has every command with each of its fields.
    let wire = kept::all(&book).into_iter().filter(|kept| kept.schema == V1_COMMANDS && kept.is_on_wire());
    let said: Vec<Value> = wire.map(|kept| kept.message).collect();
    assert_eq!(vocabulary::fields(&said), declared);
}

#[test]
fn the_events_are_those_that_the_server_encodes_with_their_fields() {
    let book = Book::read();
    // `message` is the same in both dialects, and its snapshot stands with the plain ones.
    let mut encoded = vocabulary::events();
    let plain = kept::all(&book).into_iter().filter(|kept| kept.schema == PLAIN_EVENTS);
    let plain = vocabulary::fields(&plain.map(|kept| kept.message).collect::<Vec<_>>());
    encoded.insert("message".into(), plain["message"].clone());
    assert_eq!(declared(&book, V1_EVENTS), encoded);
    let mut ours = declared(&book, PLAIN_EVENTS);
    assert_eq!(ours.remove("direct"), encoded.remove("direct"));
    ours.get_mut("error").expect("errors").remove("retry_after_ms");
    assert_eq!(ours, plain);
}

/// A field is required where every message has it, and only there.
#[test]
fn the_fields_that_are_required_are_those_that_are_always_there() {
    let book = Book::read();
    let mut always: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for kept in kept::all(&book).into_iter().filter(|kept| kept.is_good) {
        let kind = kept.kind(&book).unwrap_or_else(|error| panic!("{error}"));
        let Value::Object(fields) = kept.message else { continue };
        let here: BTreeSet<String> = fields.into_iter().map(|(field, _)| field).collect();
        always.entry(kind).and_modify(|fields| fields.retain(|field| here.contains(field))).or_insert(here);
    }
    assert!(always.len() > 25, "{} kinds were looked at", always.len());
    for (kind, fields) in always {
        let (_, required) = book.fields(&kind);
        assert_eq!(required, fields.iter().map(String::as_str).collect(), "{kind}");
    }
}

#[test]
fn the_error_codes_are_those_of_the_code() {
    let book = Book::read();
    let listed = constants(&book, &name(COMMON, "error_code"));
    let codes: BTreeSet<&str> = listed.iter().filter_map(|(code, _)| code.as_str()).collect();
    assert_eq!(codes.len(), listed.len(), "a code stands there twice");
    assert_eq!(codes, errors().iter().map(|error| error.code()).collect());
    let plain = book.definition(&name(COMMON, "plain_error_code"))["enum"].as_array().expect("codes");
    assert!(plain.iter().all(|code| codes.contains(code.as_str().expect("a code"))), "{plain:?}");
}

#[test]
fn the_close_codes_are_those_of_the_code_with_their_reasons_and_advice() {
    let book = Book::read();
    let listed = constants(&book, &name(CLOSE, "code"));
    let codes: BTreeSet<u64> = listed.iter().filter_map(|(code, _)| code.as_u64()).collect();
    assert_eq!(codes.len(), listed.len(), "a code stands there twice");
    assert_eq!(codes, reasons().iter().map(|reason| u64::from(reason.code())).collect());
    let disconnect = name(V1_EVENTS, "disconnect");
    for reason in reasons() {
        let (code, text) = (reason.code(), reason.text());
        let (_, words) = listed.iter().find(|(listed, _)| **listed == code).expect("a row");
        assert!(words.contains(&format!("`{text}`")), "{code}: no `{text}` in {words:?}");
        let advice = reason.advice();
        let event = |reconnect: bool, after_ms: u64| {
            let mut event = json!({"type": "disconnect", "code": code, "reason": text});
            event["reconnect"] = reconnect.into();
            event["after_ms"] = after_ms.into();
            event
        };
        for after_ms in [*advice.after_ms.start(), *advice.after_ms.end()] {
            assert!(book.accepts(&disconnect, &event(advice.reconnect, after_ms)), "{reason:?}");
        }
        assert!(!book.accepts(&disconnect, &event(!advice.reconnect, 0)), "{reason:?}");
        assert!(!book.accepts(&disconnect, &event(false, 1)), "{reason:?}");
        assert!(!book.accepts(&disconnect, &event(true, 20_001)), "{reason:?}");
    }
}

#[test]
fn the_refusals_are_those_of_the_code_with_their_statuses() {
    let book = Book::read();
    let name = name(REFUSAL, "code");
    let codes: BTreeSet<&str> =
        constants(&book, &name).iter().filter_map(|(code, _)| code.as_str()).collect();
    assert_eq!(codes, Refusal::REASONS.into());
    let statuses = asyncapi::statuses();
    assert_eq!(codes, statuses.keys().map(String::as_str).collect());
    for option in book.definition(&name)["oneOf"].as_array().expect("a list") {
        let code = option["const"].as_str().expect("a code");
        assert_eq!(option["title"], statuses[code].to_string(), "{code}");
    }
    // The refusals that no snapshot has. Another test compares the others with the wire.
    for refusal in [Refusal::ApiKey, Refusal::TooManyViewers, Refusal::MadeWay, Refusal::HeadTooLarge] {
        assert_eq!(statuses[refusal.code()], refusal.status(), "{refusal:?}");
    }
}

#[test]
fn the_limits_are_those_of_the_code() {
    let book = Book::read();
    let number = |name: String, pointer: &str| {
        book.definition(&name)
            .pointer(pointer)
            .and_then(Value::as_u64)
            .unwrap_or_else(|| panic!("{name}: no {pointer}"))
    };
    let command = |kind: &str| name(V1_COMMANDS, kind);
    assert_eq!(number(command("history"), "/properties/limit/maximum"), MAX_HISTORY_LIMIT);
    assert_eq!(number(name(V1_EVENTS, "history"), "/properties/messages/maxItems"), MAX_HISTORY_LIMIT);
    assert_eq!(number(command("presence"), "/properties/limit/maximum"), MAX_PRESENCE_LIMIT);
    assert_eq!(number(name(V1_EVENTS, "presence"), "/properties/users/maxItems"), MAX_PRESENCE_LIMIT);
    assert_eq!(number(command("key"), "/maxLength"), Key::MAX_CHARS as u64);
    assert_eq!(number(name(COMMON, "command_id"), "/maxLength"), MAX_ID_CHARS as u64);
    assert_eq!(number(name(COMMON, "re"), "/maxLength"), MAX_ID_CHARS as u64);
    assert_eq!(number(name(CLOSE, "reason"), "/maxLength"), MAX_REASON_BYTES as u64);
    let longest = |reason: &EndReason| reason.advice().after_ms.end().to_owned();
    let most = reasons().iter().map(longest).max().expect("reasons");
    assert_eq!(number(name(V1_EVENTS, "disconnect"), "/properties/after_ms/maximum"), most);
}

#[test]
fn names_and_positions_are_read_as_the_code_reads_them() {
    let book = Book::read();
    let accepts = |definition: &str, text: &str| book.accepts(&name(COMMON, definition), &text.into());
    let session = |text: &str| {
        let mut welcome = book.definition(&name(V1_EVENTS, "welcome"))["examples"][0].clone();
        welcome["session"] = text.into();
        book.accepts(&name(V1_EVENTS, "welcome"), &welcome)
    };
    let mut good = [0; 4];
    for text in [
        "",
        "a",
        "ab",
        "abc",
        "a_b.c:d@e-9",
        "a b c",
        "käse",
        "a/b/c",
        "abc\n",
        "\nabc",
        "a\"bc",
        &"x".repeat(64),
        &"x".repeat(65),
        "5q01ku2n3d503",
        "fvvvvvvvvvvvv",
        "g000000000000",
        "000000000000w",
        "000000000000A",
        "0000000000000",
        "00000000000000",
        "000000000000",
        "0123456789abcdef1032547698badcfe",
        "0123456789abcdef1032547698badcf",
        "0123456789abcdef1032547698badcfE",
        "0123456789abcdef1032547698badcfe0",
    ] {
        let verdicts = [
            (accepts("user_id", text), text.parse::<UserId>().is_ok()),
            (accepts("room_name", text), text.parse::<RoomName>().is_ok()),
            (accepts("epoch", text), text.parse::<Epoch>().is_ok()),
            (session(text), text.parse::<SessionId>().is_ok()),
        ];
        for (what, (schema, code)) in verdicts.into_iter().enumerate() {
            assert_eq!(schema, code, "{text:?}, {what}");
            good[what] += u32::from(schema);
        }
    }
    assert!(good.iter().all(|count| *count > 0), "{good:?}");
}
