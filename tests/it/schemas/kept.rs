//! Reads the snapshots of the wire, and tests that every message in them is of exactly the kind that its `type` names.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::book::{Book, CLOSE, ENDPOINTS, PLAIN_EVENTS, REFUSAL, V1_COMMANDS, V1_EVENTS, name};

/// A message of a snapshot.
#[derive(Debug)]
pub(super) struct Kept {
    /// The file that lists its kind, or the name of its definition.
    pub(super) schema: String,
    pub(super) message: Value,
    /// False for a command that the server refuses as malformed. True for every event.
    pub(super) is_good: bool,
    /// The snapshot and the line that it comes from.
    line: String,
}

/// Values to put in for the masks in `wire-*.txt`, which hide what differs from run to run.
const MASKS: [(&str, &str); 7] = [
    // The one number that must be 0 where the client should not come back.
    ("\"after_ms\":N", "\"after_ms\":0"),
    ("\":N,", "\":1,"),
    ("\":N}", "\":1}"),
    (" N ms", " 1 ms"),
    ("TOKEN", "a.b.c"),
    ("EPOCH", "5q01ku2n3d503"),
    ("SESSION", "0123456789abcdef1032547698badcfe"),
];
/// Codes of the errors that do not depend on the state of the server. `message_too_long` is not among them, because the
/// limit is a setting.
const MALFORMED: [&str; 5] =
    ["invalid_json", "invalid_message", "missing_field", "unknown_type", "invalid_room"];

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Returns the payload of a line, which stands behind the header of its frame in hexadecimal.
fn payload(line: &str) -> &str {
    let is_byte = |word: &str| word.len() == 2 && u8::from_str_radix(word, 16).is_ok();
    let mut rest = line.trim_start();
    while let Some((_, behind)) = rest.split_once(' ').filter(|(word, _)| is_byte(word)) {
        rest = behind;
    }
    rest
}

fn close(text: &str) -> Value {
    let (code, reason) = text.split_once(' ').unwrap_or_else(|| panic!("no close: {text}"));
    json!({"code": code.parse::<u16>().expect("a code"), "reason": reason})
}

/// Reads the encoded events and closes of `*-events.txt`, `errors.txt` and `closes.txt`.
fn encoded(file: &str, text: &str, kept: &mut Vec<Kept>) {
    for line in text.lines().filter(|line| line.starts_with("    ")) {
        let text = payload(line);
        let mut keep = |schema: &str, message| {
            kept.push(Kept {
                schema: schema.into(),
                message,
                is_good: true,
                line: format!("{file}: {line}"),
            });
        };
        if line.starts_with("    88 ") {
            keep(CLOSE, close(text));
            continue;
        }
        let schema = if file == "plain-events.txt" { PLAIN_EVENTS } else { V1_EVENTS };
        keep(schema, parse(text));
    }
}

/// Reads `commands.txt`, which has a command to a line and its outcome on the next.
fn commands(text: &str, kept: &mut Vec<Kept>) {
    let mut lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    while let (Some(command), Some(outcome)) = (lines.next(), lines.next()) {
        let refused = MALFORMED.iter().any(|code| outcome.trim_start().starts_with(&format!("{code}: ")));
        // A schema has nothing to say about a text that is no JSON.
        if let Ok(message) = serde_json::from_str(command) {
            let line = format!("commands.txt: {command}");
            kept.push(Kept { schema: V1_COMMANDS.into(), message, is_good: !refused, line });
        }
    }
}

/// Returns the schema of the commands and those of the events of the endpoint at a path.
fn spoken_at(path: &str) -> (String, Vec<String>) {
    match path.split('?').next() {
        Some("/ws/messages") => (
            name(ENDPOINTS, "validated_command"),
            vec![name(ENDPOINTS, "validated"), name(ENDPOINTS, "invalid")],
        ),
        Some("/ws/with-timeout") => {
            (name(ENDPOINTS, "text"), vec![name(ENDPOINTS, "echoed"), name(ENDPOINTS, "timed_out")])
        }
        Some(path) if path.starts_with("/ws/chat/") => (V1_COMMANDS.into(), vec![V1_EVENTS.into()]),
        _ => panic!("what is spoken at {path}?"),
    }
}

/// Reads a conversation over sockets: `NAME > sent`, `NAME < received`, `NAME x closed`.
fn conversation(book: &Book, file: &str, text: &str, kept: &mut Vec<Kept>) {
    let mut paths: BTreeMap<&str, &str> = BTreeMap::new();
    let lines: Vec<_> = text.lines().collect();
    for (number, line) in lines.iter().enumerate() {
        let Some((who, sign, rest)) = spoken(line) else { continue };
        let unmasked = MASKS.iter().fold(rest.to_owned(), |text, (mask, value)| text.replace(mask, value));
        let mut keep = |schema: String, message, is_good| {
            kept.push(Kept { schema, message, is_good, line: format!("{file}: {line}") });
        };
        match sign {
            'x' => keep(CLOSE.into(), close(&unmasked), true),
            '>' if rest.starts_with("/ws") => drop(paths.insert(who, rest)),
            // A description of bytes that are no command.
            '>' if rest.starts_with('(') => {}
            '>' => {
                let answer =
                    lines.get(number + 1).and_then(|line| spoken(line)).filter(|(_, sign, _)| *sign == '<');
                let is_good = answer.is_none_or(|(_, _, answer)| {
                    !MALFORMED.iter().any(|code| answer.contains(&format!("\"code\":\"{code}\"")))
                        && !answer.contains("\"code\":1007")
                });
                match serde_json::from_str(&unmasked) {
                    Ok(message) => keep(spoken_at(paths[who]).0, message, is_good),
                    Err(error) => assert!(!is_good, "{file}: {line}: {error}"),
                }
            }
            _ => {
                // Some endpoints answer in plain text.
                let heard = serde_json::from_str(&unmasked).unwrap_or(Value::String(unmasked));
                let path = paths.get(who).unwrap_or_else(|| panic!("{file}: {line}: where?"));
                let schemas = spoken_at(path).1;
                let fits = |schema: &&String| schema.contains('#') && book.accepts(schema, &heard);
                let schema = schemas.iter().find(fits).unwrap_or(&schemas[0]);
                keep(schema.clone(), heard, true);
            }
        }
    }
}

fn spoken(line: &str) -> Option<(&str, char, &str)> {
    let (who, rest) = line.split_at(line.find([' ', '(', '#'])?);
    let rest = rest.trim_start();
    let sign = rest.chars().next().filter(|sign| matches!(sign, '>' | '<' | 'x'))?;
    Some((who, sign, rest[1..].strip_prefix(' ')?))
}

/// Returns the refusals of `wire-refusals.txt`: each status with its body.
pub(super) fn refusals() -> Vec<(u16, Value)> {
    let lines = include_str!("../snapshots/wire-refusals.txt").lines();
    let answers = lines.filter_map(|line| {
        let (status, body) = line.split_once(' ')?;
        Some((status.parse().ok()?, parse(body)))
    });
    answers.collect()
}

/// Returns every message of every snapshot.
pub(super) fn all(book: &Book) -> Vec<Kept> {
    let mut kept = Vec::new();
    for (file, text) in [
        ("plain-events.txt", include_str!("../snapshots/plain-events.txt")),
        ("v1-events.txt", include_str!("../snapshots/v1-events.txt")),
        ("errors.txt", include_str!("../snapshots/errors.txt")),
        ("closes.txt", include_str!("../snapshots/closes.txt")),
    ] {
        encoded(file, text, &mut kept);
    }
    commands(include_str!("../snapshots/commands.txt"), &mut kept);
    for (file, text) in [
        ("wire-events.txt", include_str!("../snapshots/wire-events.txt")),
        ("wire-errors.txt", include_str!("../snapshots/wire-errors.txt")),
        ("wire-closes.txt", include_str!("../snapshots/wire-closes.txt")),
    ] {
        conversation(book, file, text, &mut kept);
    }
    kept.extend(refusals().into_iter().map(|(_, message)| {
        let line = format!("wire-refusals.txt: {message}");
        Kept { schema: REFUSAL.into(), message, is_good: true, line }
    }));
    kept
}

impl Kept {
    /// Returns whether the message stands in `wire-events.txt`.
    pub(super) fn is_on_wire(&self) -> bool {
        self.line.starts_with("wire-events.txt: ")
    }

    /// Returns the name of the definition that accepts the message.
    ///
    /// # Errors
    /// Says why no definition does, or why it is not the one that the message names.
    pub(super) fn kind(&self, book: &Book) -> Result<String, String> {
        if !self.schema.contains('#') {
            return book.kind_of(&self.schema, &self.message);
        }
        let faults = book.faults(&self.schema, &self.message);
        if faults.is_empty() { Ok(self.schema.clone()) } else { Err(format!("{}: {faults:?}", self.schema)) }
    }
}

/// Commands in the snapshots that break a rule which a schema cannot express: a field that occurs twice, a whole number
/// that is written as a fraction, deep nesting. The server refuses them and their schema does not.
const BEYOND: usize = 5;

#[test]
fn every_message_of_the_snapshots_is_of_the_kind_that_it_names() {
    let book = Book::read();
    let mut unnoticed = Vec::new();
    for kept in all(&book) {
        match (kept.kind(&book), kept.is_good) {
            (Ok(_), true) | (Err(_), false) => {}
            (Err(error), true) => panic!("{}\n{error}", kept.line),
            (Ok(kind), false) => unnoticed.push(format!("{}\n  is a good {kind}", kept.line)),
        }
    }
    assert_eq!(
        unnoticed.len(),
        BEYOND,
        "refused by the server and not by the schema:\n{}",
        unnoticed.join("\n")
    );
    for line in unnoticed {
        let is_known =
            ["\"type\":\"ping\",\"type\"", "\"id\":\"9\",\"id\"", "\"offset\":7,\"offset\"", "1.0", "[[[["];
        assert!(is_known.iter().any(|part| line.contains(part)), "{line}");
    }
}

#[test]
fn every_line_of_the_snapshots_is_read() {
    let book = Book::read();
    let kept = all(&book);
    let count =
        |text: &str, is_message: fn(&str) -> bool| text.lines().filter(|line| is_message(line)).count();
    for (file, text) in [
        ("plain-events.txt", include_str!("../snapshots/plain-events.txt")),
        ("v1-events.txt", include_str!("../snapshots/v1-events.txt")),
        ("wire-events.txt", include_str!("../snapshots/wire-events.txt")),
        ("wire-closes.txt", include_str!("../snapshots/wire-closes.txt")),
        ("wire-refusals.txt", include_str!("../snapshots/wire-refusals.txt")),
    ] {
        let read = kept.iter().filter(|kept| kept.line.starts_with(&format!("{file}: "))).count();
        let ends = count(text, |line| line.contains(" x "));
        // Every line with an object has a message, and so have the plain texts and the closes.
        let objects = count(text, |line| line.contains('{'));
        let texts = count(text, |line| line.contains("< ") && !line.contains('{'));
        assert_eq!(read, objects + texts + ends, "{file}");
    }
}
