//! Tests of the schemas' refusals: of messages that are changed in one point, and of commands that the parser refuses.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use throng::testing::protocol::command::Parser;

use super::book::{Book, PLAIN_COMMANDS, V1_COMMANDS, name};
use super::kept;

/// Returns messages of the snapshots: one for each kind and each set of fields that messages of the kind have.
fn samples(book: &Book) -> BTreeMap<(String, Vec<String>), Value> {
    let kept = kept::all(book).into_iter().filter(|kept| kept.is_good && kept.message.is_object());
    let samples = kept.map(|kept| {
        let kind = kept.kind(book).unwrap_or_else(|error| panic!("{error}"));
        let fields = kept.message.as_object().into_iter().flatten().map(|(field, _)| field.clone());
        ((kind, fields.collect()), kept.message)
    });
    samples.collect()
}

fn with(message: &Value, field: &str, value: Value) -> Value {
    let mut changed = message.clone();
    changed[field] = value;
    changed
}

fn without(message: &Value, field: &str) -> Value {
    let mut changed = message.clone();
    changed.as_object_mut().expect("an object").remove(field);
    changed
}

#[test]
fn a_message_that_lacks_a_field_or_has_one_of_another_type_or_one_too_many_is_refused() {
    let book = Book::read();
    let samples = samples(&book);
    assert!(samples.len() > 30, "{} messages were changed", samples.len());
    for ((kind, fields), message) in &samples {
        let (known, required) = book.fields(kind);
        // `data` is any value.
        let fields = fields.iter().map(String::as_str).filter(|field| *field != "data");
        for field in fields.filter(|field| known.contains(field)) {
            for wrong in [Value::Null, json!([{}]), json!({"a": 1}), json!(-1), json!(0.5), json!("\u{1}é")]
            {
                let is_text = wrong.is_string() && accepts_any_text(&book, kind, field);
                let is_refused = !book.accepts(kind, &with(message, field, wrong.clone()));
                assert!(is_refused != is_text, "{kind}: {field} as {wrong}");
            }
            if required.contains(field) {
                assert!(!book.accepts(kind, &without(message, field)), "{kind} without {field}");
            }
        }
        let more = with(message, "extra", json!(1));
        let is_command = kind.contains("commands") || kind.contains("_command");
        assert_eq!(book.accepts(kind, &more), is_command, "{kind} with a field too many");
        assert!(!book.accepts(kind, &json!([message])), "{kind} in an array");
        assert!(!book.accepts(kind, &message.to_string().into()), "{kind} as a string");
    }
}

/// Returns whether a field takes any text of at most some length.
fn accepts_any_text(book: &Book, kind: &str, field: &str) -> bool {
    let schema = &book.definition(kind)["properties"][field];
    let file = kind.split('#').next().expect("a file");
    let schema = match schema["$ref"].as_str() {
        Some(reference) => book.definition(&super::book::absolute(file, reference)),
        None => schema,
    };
    schema["type"] == "string" && schema.get("pattern").is_none()
}

#[test]
fn nested_values_and_values_out_of_range_are_refused() {
    let book = Book::read();
    let event = |kind: &str| name(super::book::V1_EVENTS, kind);
    let example = |kind: &str| book.definition(&event(kind))["examples"][0].clone();
    let mut welcome = example("welcome");
    welcome["limits"]["extra"] = json!(1);
    assert!(!book.accepts(&event("welcome"), &welcome), "a limit too many");
    let mut welcome = example("welcome");
    welcome["limits"].as_object_mut().expect("limits").remove("burst");
    assert!(!book.accepts(&event("welcome"), &welcome), "half of a rate limit");
    let mut history = example("history");
    history["messages"][0].as_object_mut().expect("a message").remove("ts");
    assert!(!book.accepts(&event("history"), &history), "a message without its time");
    for (kind, field, value) in [
        ("presence", "users", json!(["alice", "a b"])),
        ("presence", "users", json!(["alice", "alice"])),
        ("presence_diff", "joined", json!(["al"])),
        ("gap", "from", json!(0)),
        ("ack", "offset", json!(0)),
        ("ack", "epoch", json!("g000000000000")),
        ("error", "code", json!("no_such_code")),
        ("error", "retry_after_ms", json!(1)),
        ("disconnect", "code", json!(1006)),
        ("left", "re", json!("1".repeat(65))),
    ] {
        assert!(
            !book.accepts(&event(kind), &with(&example(kind), field, value.clone())),
            "{kind}: {field}: {value}"
        );
    }
    assert!(
        !book.accepts(&event("presence_diff"), &without(&example("presence_diff"), "left")),
        "one list of two"
    );
}

/// Returns values for a field of a command. Each field takes a few of them and refuses the others.
fn values() -> Vec<Value> {
    let mut values =
        vec![Value::Null, json!(true), json!([]), json!(["x"]), json!({}), json!(-1), json!(0.5)];
    values.extend([0, 1, 7, 100, 101, 1000, 1001, u64::MAX].map(Value::from));
    values.push(json!(1.8446744073709552e19));
    values.extend(["", "x", "abc", "a b", "ping"].map(Value::from));
    values.extend([64, 65].map(|count| Value::from("ü".repeat(count))));
    values.extend([64, 65].map(|count| Value::from("x".repeat(count))));
    values.push(json!({"epoch": "x", "offset": 7}));
    values.push(json!({"epoch": 7, "offset": 7}));
    values.push(json!({"epoch": "x", "offset": -1, "more": 1}));
    values
}

#[test]
fn the_schema_of_a_command_takes_what_the_parser_takes() {
    let book = Book::read();
    let mut parser = Parser::default();
    let (mut both, mut neither) = (0, 0);
    for (_, sample) in samples(&book).into_iter().filter(|((kind, _), _)| kind.starts_with(V1_COMMANDS)) {
        let (known, _) = book.fields(&book.kind_of(V1_COMMANDS, &sample).expect("a command"));
        for field in known.into_iter().chain(["extra"]) {
            let changed = values().into_iter().map(|value| with(&sample, field, value));
            for command in changed.chain([without(&sample, field)]) {
                let by_schema = book.kind_of(V1_COMMANDS, &command).is_ok();
                let by_parser =
                    parser.parse_v1(command.to_string().as_bytes().to_vec().as_mut_slice()).is_ok();
                // Names are checked after the parser, so the schema may refuse more.
                let is_name = matches!(field, "room" | "to" | "after");
                assert!(
                    by_schema == by_parser || (is_name && by_parser),
                    "{field}: {by_schema} {by_parser}: {command}"
                );
                both += u32::from(by_schema);
                neither += u32::from(!by_parser);
            }
        }
    }
    assert!(both > 100 && neither > 100, "{both} {neither}");
}

#[test]
fn the_schema_of_the_plain_dialect_takes_what_the_parser_takes() {
    let book = Book::read();
    let mut parser = Parser::default();
    let mut verdicts = BTreeSet::new();
    let objects = values().into_iter().map(|value| json!({"message": value}));
    for said in values()
        .into_iter()
        .chain(objects)
        .chain([json!({"text": "hi"}), json!({"message": "hi", "type": 7})])
    {
        let text = said.to_string();
        let mut bytes = text.as_bytes().to_vec();
        let fields = parser.parse(&mut bytes);
        let by_parser =
            fields.is_ok_and(|fields| throng::testing::chat::validate::text(fields.message, 500).is_ok());
        assert_eq!(book.kind_of(PLAIN_COMMANDS, &said).is_ok(), by_parser, "{text}");
        verdicts.insert(by_parser);
    }
    assert_eq!(verdicts.len(), 2, "some are taken and some are not");
}
