//! Reads the documents in YAML as JSON, and finds the references in them.

use std::collections::BTreeSet;

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value};

/// Converts YAML to JSON. The documents have no aliases, no tags, and only strings as keys.
fn json(node: &Yaml<'_>) -> Value {
    match node {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(flag)) => (*flag).into(),
        Yaml::Value(Scalar::Integer(number)) => (*number).into(),
        Yaml::Value(Scalar::String(text)) => text.as_ref().into(),
        Yaml::Sequence(nodes) => nodes.iter().map(json).collect(),
        Yaml::Mapping(nodes) => {
            let entry = |(key, node): (&Yaml<'_>, _)| {
                let key = key.as_str().unwrap_or_else(|| panic!("no string as a key: {key:?}"));
                (key.to_owned(), json(node))
            };
            Value::Object(nodes.iter().map(entry).collect())
        }
        other => panic!("not used in these documents: {other:?}"),
    }
}

/// Reads a text with one document.
pub(super) fn read(text: &str) -> Value {
    let documents = Yaml::load_from_str(text).unwrap_or_else(|error| panic!("{error} in {text:.80}"));
    let [document] = &documents[..] else { panic!("{} documents in one file", documents.len()) };
    json(document)
}

/// Returns every `$ref` in a value.
pub(super) fn references(value: &Value) -> Vec<&str> {
    let mut found = Vec::new();
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str().filter(|_| name == "$ref") {
                    Some(reference) => found.push(reference),
                    None => found.extend(references(value)),
                }
            }
        }
        Value::Array(values) => found.extend(values.iter().flat_map(references)),
        _ => {}
    }
    found
}

/// Returns the fields of the object at a pointer.
pub(super) fn entries<'d>(document: &'d Value, pointer: &str) -> &'d Map<String, Value> {
    document.pointer(pointer).and_then(Value::as_object).unwrap_or_else(|| panic!("no {pointer}"))
}

#[test]
fn a_document_that_is_wrong_is_noticed() {
    assert!(Yaml::load_from_str("a: 1\na: 2\n").is_err(), "a key that stands there twice");
    assert!(Yaml::load_from_str("a: [1\n").is_err());
    let read = json(&Yaml::load_from_str("a: {b: [1, true, null, 'x']}").expect("YAML")[0]);
    assert_eq!(read, serde_json::json!({"a": {"b": [1, true, null, "x"]}}));
    let value = serde_json::json!({"a": [{"$ref": "#/b"}], "$ref": "c", "d": {"$ref": {"$ref": "e"}}});
    assert_eq!(references(&value).into_iter().collect::<BTreeSet<_>>(), ["#/b", "c", "e"].into());
}
