//! Tests of the document by itself, and against the declarations in the code.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use throng::testing::admission::{Check, Refusal};
use throng::testing::api::{Method, PATHS};

use super::document::{Document, Operation};
use crate::schemas::book::{Book, absolute};
use crate::schemas::keywords::{KEYWORDS, Part};
use crate::schemas::yaml::{entries, references};
use crate::support::vocabulary::api_errors;

/// The folder of the schemas, from the document.
const FOLDER: &str = "schemas/";
/// Statuses of the answers that a call with a body has, one without, and one that changes something.
const OF_BODIES: [u16; 3] = [408, 413, 415];
const OF_ALL: [u16; 7] = [200, 400, 401, 403, 404, 429, 503];
const OF_CHANGES: [u16; 1] = [504];
const OF_RELOAD: [u16; 2] = [409, 422];

/// Returns the kind of each call, by its path and its method.
fn methods() -> Vec<(Operation, Method)> {
    let verbs = |(path, method): &(&str, Method)| {
        let of = |verb: &str| {
            (Operation { path: format!("/api/{path}"), verb: verb.trim().to_lowercase() }, *method)
        };
        method.allow().split(',').map(of).collect::<Vec<_>>()
    };
    PATHS.iter().flat_map(verbs).collect()
}

#[test]
fn every_call_of_the_server_is_in_the_document_and_no_other() {
    let document = Document::read();
    let listed: BTreeSet<_> = document.operations().into_iter().collect();
    assert_eq!(listed, methods().into_iter().map(|(operation, _)| operation).collect());
    let reached: BTreeSet<&str> = PATHS.iter().map(|(_, method)| method.name()).collect();
    assert_eq!(reached, Method::ALL.iter().map(|method| method.name()).collect(), "each kind has a path");
}

#[test]
fn every_call_has_its_statuses_its_parameters_and_a_name_of_its_own() {
    let document = Document::read();
    let mut names = BTreeSet::new();
    for (operation, method) in methods() {
        let call = document.at(&operation.pointer());
        let name = call["operationId"].as_str().expect("an operationId");
        assert!(names.insert(name), "{name} stands there twice");
        assert!(
            call["summary"].as_str().is_some_and(|text| text.ends_with('.')),
            "{name}: {}",
            call["summary"]
        );
        assert_eq!(call["tags"] == json!(["questions"]), method.only_reads(), "{name}");
        let has_body = document.body(&operation).is_some();
        assert_eq!(has_body, operation.verb == "post", "{name}");
        let bodies: &[u16] = if has_body { &OF_BODIES } else { &[] };
        let changes: &[u16] = match method {
            Method::Reload => &OF_RELOAD,
            _ if method.only_reads() => &[],
            _ => &OF_CHANGES,
        };
        let expected: BTreeSet<u16> = [&OF_ALL, bodies, changes].concat().into_iter().collect();
        let answers = entries(&document.value, &format!("{}/responses", operation.pointer()));
        let listed = answers.keys().map(|status| status.parse().expect("a status"));
        assert_eq!(listed.collect::<BTreeSet<u16>>(), expected, "{name}");
        for (status, answer) in answers {
            let to = answer["$ref"].as_str().expect("a reference");
            assert_eq!(to == format!("#/components/responses/{status}"), status != "200", "{name}: {to}");
        }
        let of_path =
            document.parameters(&operation).into_iter().map(|pointer| document.at(&pointer).clone());
        let of_path = of_path.filter(|parameter| parameter["in"] == "path").map(|parameter| {
            assert_eq!(parameter["required"], true, "{name}: {parameter}");
            format!("{{{}}}", parameter["name"].as_str().expect("a name"))
        });
        let braced = operation.path.split('/').filter(|part| part.starts_with('{')).map(str::to_owned);
        assert_eq!(of_path.collect::<Vec<_>>(), braced.collect::<Vec<_>>(), "{name}");
    }
}

/// Returns the codes that the document gives to a status.
fn codes(document: &Document, status: u16) -> BTreeSet<String> {
    let listed = document.at(&format!("/components/schemas/code_{status}/oneOf")).as_array().expect("a list");
    listed.iter().map(|code| code["const"].as_str().expect("a code").to_owned()).collect()
}

#[test]
fn every_error_has_its_status() {
    let document = Document::read();
    // Those are answered before the server looks at the path.
    let before =
        [Refusal::Malformed(Check::Host), Refusal::ConnectionsPerAddress, Refusal::HandshakesPerAddress];
    let mut expected: BTreeSet<(u16, String)> =
        api_errors().iter().map(|error| (error.status(), error.code().to_owned())).collect();
    expected.extend(before.iter().map(|refusal| (refusal.status(), refusal.code().to_owned())));
    let mut listed = BTreeSet::new();
    let statuses =
        entries(&document.value, "/components/responses").keys().filter_map(|name| name.parse().ok());
    let statuses: BTreeSet<u16> = statuses.collect();
    for status in &statuses {
        let schema = document.at(&format!("/components/responses/{status}/content/application~1json/schema"));
        let code = schema.pointer("/properties/error/properties/code/$ref").and_then(Value::as_str);
        assert_eq!(code, Some(format!("#/components/schemas/code_{status}").as_str()));
        listed.extend(codes(&document, *status).into_iter().map(|code| (*status, code)));
    }
    assert_eq!(listed, expected);
    let all = document.at("/components/schemas/code/anyOf").as_array().expect("a list");
    let all = all.iter().map(|part| part["$ref"].as_str().expect("a reference").to_owned());
    let each = statuses.iter().map(|status| format!("#/components/schemas/code_{status}"));
    assert_eq!(all.collect::<BTreeSet<_>>(), each.collect());
}

#[test]
fn every_reference_leads_somewhere_and_every_component_is_used() {
    let (document, book) = (Document::read(), Book::read());
    assert_eq!(document.value["openapi"], "3.1.0");
    assert_eq!(document.value["info"]["version"], env!("CARGO_PKG_VERSION"));
    let all: BTreeSet<&str> = references(&document.value).into_iter().collect();
    assert!(all.len() > 100, "{} references were looked at", all.len());
    for reference in &all {
        match reference.strip_prefix('#') {
            Some(pointer) => drop(document.at(pointer)),
            None => drop(book.definition(reference.strip_prefix(FOLDER).expect("a schema"))),
        }
    }
    let shown = entries(&document.value, "/components").iter();
    for (kind, components) in shown.filter(|(kind, _)| *kind != "securitySchemes") {
        for name in components.as_object().expect("components").keys() {
            let reference = format!("#/components/{kind}/{name}");
            assert!(all.contains(reference.as_str()), "{reference} is not used");
        }
    }
    let ways = document.value["security"].as_array().expect("a list").iter();
    let ways = ways.flat_map(|way| way.as_object().expect("a way").keys());
    let schemes = entries(&document.value, "/components/securitySchemes").keys();
    assert_eq!(ways.collect::<BTreeSet<_>>(), schemes.collect());
}

#[test]
fn every_schema_is_closed_and_described_and_has_known_keywords() {
    let (document, book) = (Document::read(), Book::read());
    let is_described = |schema: &Value| {
        let target = schema["$ref"].as_str().map(|to| match to.strip_prefix('#') {
            Some(pointer) => document.at(pointer),
            None => book.definition(&absolute("", to.trim_start_matches(FOLDER))),
        });
        let words = schema.get("description").or_else(|| target?.get("description"));
        words.and_then(Value::as_str).is_some_and(|words| words.len() > 3)
    };
    let (mut objects, mut fields) = (0, 0);
    for pointer in document.schemas() {
        let part = Part { file: pointer, schema: document.at(pointer), is_condition: false, field: None };
        part.walk(&mut |part| {
            for keyword in part.keywords() {
                assert!(KEYWORDS.contains(&keyword) || keyword == "minItems", "{pointer}: {keyword}");
            }
            if part.schema["type"] == "object" {
                // The counters of nodes of several versions may differ.
                let expected = if pointer.ends_with("/counters") { None } else { Some(false) };
                assert_eq!(part.schema["additionalProperties"].as_bool(), expected, "{pointer}");
                objects += 1;
            }
            let is_narrowed = pointer.contains("/responses/") || pointer.ends_with("/direct_command");
            if let Some(field) = part.field.filter(|_| !is_narrowed && !part.is_condition) {
                assert!(is_described(part.schema), "{pointer}: {field} has no description");
                fields += 1;
            }
        });
    }
    assert!(objects > 40 && fields > 80, "{objects} objects with {fields} fields");
    for (name, schema) in entries(&document.value, "/components/schemas") {
        assert!(is_described(schema), "{name} has no description");
    }
}

#[test]
fn a_schema_that_refers_to_nothing_is_noticed() {
    let broken = json!({"components": {"schemas": {"kind": {"$ref": "#/components/schemas/nowhere"}}}});
    assert!(std::panic::catch_unwind(|| Document::of(broken)).is_err());
}
