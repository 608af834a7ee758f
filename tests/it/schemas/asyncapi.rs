//! Tests that `docs/asyncapi.yaml` can be read, that every reference in it leads somewhere, and that it leaves nothing
//! out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::book::{Book, absolute};
use super::kept;
use super::yaml::{self, entries, references};
use crate::support::server::Server;

const TEXT: &str = include_str!("../../../docs/asyncapi.yaml");
const FOLDER: &str = "schemas/";

fn document() -> Value {
    yaml::read(TEXT)
}

/// Returns the name of the schema that a message of a channel, or the component that it refers to, has as its payload.
fn payload<'d>(document: &'d Value, message: &'d Value) -> &'d str {
    let message = match message["$ref"].as_str() {
        Some(reference) => {
            document.pointer(&reference[1..]).unwrap_or_else(|| panic!("{reference}: nothing"))
        }
        None => message,
    };
    assert!(message["summary"].is_string(), "no summary: {message}");
    let payload = message["payload"]["$ref"].as_str().unwrap_or_else(|| panic!("no schema: {message}"));
    payload.strip_prefix(FOLDER).unwrap_or_else(|| panic!("{payload} is not in {FOLDER}"))
}

/// Returns the names of the schemas of all messages of all channels, and of the body of a refusal.
pub(super) fn messages() -> BTreeSet<String> {
    let document = document();
    let channels = entries(&document, "/channels").values();
    let messages = channels.flat_map(|channel| entries(channel, "/messages").values());
    let mut all: BTreeSet<String> = messages.map(|message| payload(&document, message).to_owned()).collect();
    let body = document.pointer("/x-http-refusals/body/$ref").and_then(Value::as_str).expect("a body");
    all.insert(body.strip_prefix(FOLDER).expect("a schema").to_owned());
    all
}

#[test]
fn every_reference_leads_somewhere() {
    let (document, book) = (document(), Book::read());
    assert_eq!(document["asyncapi"], "3.0.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let all = references(&document);
    assert!(all.len() > 100, "{} references were looked at", all.len());
    for reference in all {
        match reference.strip_prefix('#') {
            Some(pointer) => assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere"),
            None => {
                let name = reference.strip_prefix(FOLDER).unwrap_or_else(|| panic!("{reference}: where?"));
                book.definition(name);
            }
        }
    }
}

#[test]
fn every_schema_is_referred_to() {
    let (document, book) = (document(), Book::read());
    let mut reached: BTreeSet<String> = BTreeSet::new();
    let mut open: Vec<String> = references(&document)
        .into_iter()
        .filter_map(|to| to.strip_prefix(FOLDER))
        .map(str::to_owned)
        .collect();
    while let Some(name) = open.pop() {
        let file = name.split('#').next().expect("a file");
        open.extend(references(book.definition(&name)).into_iter().map(|to| absolute(file, to)));
        reached.insert(name);
        open.retain(|name| !reached.contains(name));
    }
    assert_eq!(reached, book.definitions().cloned().collect());
    let messages = messages();
    for file in book.files.keys() {
        let listed: BTreeSet<String> = book.kinds(file).into_iter().collect();
        assert!(listed.is_subset(&messages), "{file}: {:?}", listed.difference(&messages));
        let own = messages.iter().filter(|name| name.starts_with(&format!("{file}#")));
        let is_list = book.files[file].get("oneOf").is_some();
        assert!(
            !is_list || own.into_iter().all(|name| listed.contains(name)),
            "{file} does not list each of its kinds"
        );
    }
}

#[test]
fn every_message_and_every_component_is_used() {
    let document = document();
    let all = references(&document).into_iter().collect::<BTreeSet<_>>();
    for kind in ["parameters", "messages", "schemas", "securitySchemes"] {
        for name in entries(&document, &format!("/components/{kind}")).keys() {
            assert!(
                all.contains(format!("#/components/{kind}/{name}").as_str()),
                "{kind}: {name} is not used"
            );
        }
    }
    let spoken: BTreeSet<&str> = references(&document["operations"]).into_iter().collect();
    for (channel, value) in entries(&document, "/channels") {
        for message in entries(value, "/messages").keys() {
            let reference = format!("#/channels/{channel}/messages/{message}");
            assert!(spoken.contains(reference.as_str()), "{reference} is in no operation");
        }
    }
}

/// The messages that an operation receives are commands, and those that it sends are events.
#[test]
fn operations_go_in_the_right_direction() {
    let document = document();
    let is_event = |reference: &str| {
        let name = payload(&document, document.pointer(&reference[1..]).expect("a message"));
        ["events.json", "close.json"].iter().any(|file| name.contains(file))
    };
    for (name, operation) in entries(&document, "/operations") {
        let channel = operation["channel"]["$ref"].as_str().expect("a channel");
        if !channel.contains("chat") {
            continue;
        }
        let is_received = operation["action"] == "receive";
        assert!(is_received || operation["action"] == "send", "{name}: {}", operation["action"]);
        for reference in references(&operation["messages"]) {
            assert_eq!(is_event(reference), !is_received, "{name}: {reference}");
        }
        for reference in references(&operation["reply"]["messages"]) {
            assert!(is_event(reference), "{name}: {reference}");
        }
    }
}

#[test]
fn the_addresses_are_those_that_the_server_has() {
    let document = document();
    let listed: BTreeSet<&str> = entries(&document, "/channels")
        .values()
        .map(|channel| channel["address"].as_str().expect("an address"))
        .collect();
    let source = include_str!("../../../src/endpoint/route.rs");
    let paths = source.lines().filter_map(|line| line.trim().strip_prefix("\"/ws")?.split('"').next());
    let mut served: BTreeSet<String> = paths.map(|rest| format!("/ws{rest}")).collect();
    served.insert(format!("{}{{user_id}}", throng::testing::endpoint::CHAT_PREFIX));
    assert_eq!(listed, served.iter().map(String::as_str).collect());
    let server = Server::start(&[]);
    for address in listed {
        assert_eq!(server.get(&address.replace("{user_id}", "alice")).status, 426, "{address}");
    }
}

/// Returns the HTTP status that the document gives to each code of a refusal.
pub(super) fn statuses() -> BTreeMap<String, u16> {
    let document = document();
    let mut all = BTreeMap::new();
    for (status, codes) in entries(&document, "/x-http-refusals/statuses") {
        for code in codes.as_array().expect("a list").iter().filter_map(Value::as_str) {
            let before = all.insert(code.to_owned(), status.parse().expect("a status"));
            assert_eq!(before, None, "{code} stands there twice");
        }
    }
    all
}

#[test]
fn the_statuses_of_refusals_are_those_on_the_wire() {
    let statuses = statuses();
    let wire = kept::refusals();
    assert!(wire.len() > 10, "{} refusals were looked at", wire.len());
    for (status, body) in wire {
        let code = body["error"]["code"].as_str().expect("a code");
        assert_eq!(statuses[code], status, "{code}");
    }
}
