//! Tests of how the schemas are written: known keywords only, a description for every field, every object open or
//! closed on purpose.

use std::collections::BTreeSet;

use serde_json::Value;

use super::book::{Book, CLOSE, PLAIN_COMMANDS, PLAIN_EVENTS, REFUSAL, V1_COMMANDS, V1_EVENTS, absolute};

/// The keywords that the schemas use. A validator ignores a keyword that it does not know, so that a misspelt one would
/// switch a rule off. These mean the same in drafts 7 and 2020-12; `$defs` only holds definitions.
pub(super) const KEYWORDS: &[&str] = &[
    "$defs",
    "$ref",
    "$schema",
    "additionalProperties",
    "anyOf",
    "const",
    "default",
    "description",
    "else",
    "enum",
    "examples",
    "if",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minLength",
    "minimum",
    "not",
    "oneOf",
    "pattern",
    "properties",
    "required",
    "then",
    "title",
    "type",
    "uniqueItems",
];

/// A schema, or a part of one that is a schema itself.
#[derive(Clone, Copy)]
pub(super) struct Part<'b> {
    pub(super) file: &'b str,
    pub(super) schema: &'b Value,
    /// Whether it stands in an `if`, a `then` or an `else`.
    pub(super) is_condition: bool,
    /// The property that it is for.
    pub(super) field: Option<&'b str>,
}

impl<'b> Part<'b> {
    pub(super) fn keywords(self) -> impl Iterator<Item = &'b str> {
        self.schema.as_object().into_iter().flatten().map(|(keyword, _)| keyword.as_str())
    }

    /// Hands the part, and each part of it, to `visit`.
    pub(super) fn walk(self, visit: &mut impl FnMut(Part<'b>)) {
        visit(self);
        let within = |schema| Self { schema, field: None, ..self };
        for (keyword, value) in self.schema.as_object().into_iter().flatten() {
            let fields = value.as_object().into_iter().flatten();
            match keyword.as_str() {
                "properties" => {
                    fields.for_each(|(name, value)| Part { field: Some(name), ..within(value) }.walk(visit));
                }
                "$defs" => fields.for_each(|(_, value)| within(value).walk(visit)),
                "oneOf" | "anyOf" => {
                    value.as_array().into_iter().flatten().for_each(|value| within(value).walk(visit));
                }
                "items" | "not" => within(value).walk(visit),
                "if" | "then" | "else" => Part { is_condition: true, ..within(value) }.walk(visit),
                _ => {}
            }
        }
    }
}

/// Hands every part of every file to `visit`.
fn each(book: &Book, mut visit: impl FnMut(Part<'_>)) {
    for (file, schema) in &book.files {
        Part { file, schema, is_condition: false, field: None }.walk(&mut visit);
    }
}

#[test]
fn every_keyword_is_known_and_used() {
    let book = Book::read();
    let mut used = BTreeSet::new();
    each(&book, |part| used.extend(part.keywords().map(str::to_owned)));
    assert_eq!(used, KEYWORDS.iter().map(|keyword| (*keyword).to_owned()).collect());
}

#[test]
fn drafts_before_2019_which_ignore_what_stands_beside_a_reference_miss_nothing_but_words() {
    each(&Book::read(), |part| {
        if part.schema.get("$ref").is_some() {
            let others: Vec<_> =
                part.keywords().filter(|keyword| !matches!(*keyword, "$ref" | "description")).collect();
            assert!(others.is_empty(), "{}: {others:?} beside {}", part.file, part.schema);
        }
    });
}

#[test]
fn every_field_and_every_definition_is_described() {
    let book = Book::read();
    let is_described = |file: &str, schema: &Value| {
        let target = schema["$ref"].as_str().map(|to| book.definition(&absolute(file, to)));
        let words = schema.get("description").or_else(|| target?.get("description"));
        words.and_then(Value::as_str).is_some_and(|words| words.len() > 3)
    };
    let mut fields = 0;
    each(&book, |part| {
        if let Some(field) = part.field.filter(|_| !part.is_condition) {
            assert!(is_described(part.file, part.schema), "{}: {field} has no description", part.file);
            fields += 1;
        }
    });
    assert!(fields > 100, "{fields} fields were looked at");
    for name in book.definitions() {
        assert!(is_described("", book.definition(name)), "{name} has no description");
    }
}

#[test]
fn every_object_of_an_event_is_closed_and_every_one_of_a_command_open() {
    let mut objects = 0;
    each(&Book::read(), |part| {
        if part.schema["type"] != "object" {
            return;
        }
        // An object whose fields are named by users, all of one kind.
        if part.schema["additionalProperties"].is_object() {
            return;
        }
        let is_open = part.schema["additionalProperties"].as_bool();
        let expected = match part.file {
            PLAIN_COMMANDS | V1_COMMANDS => Some(true),
            PLAIN_EVENTS | V1_EVENTS | CLOSE | REFUSAL => Some(false),
            _ => is_open,
        };
        assert!(
            is_open.is_some() && is_open == expected,
            "{}: additionalProperties of {:.200}",
            part.file,
            part.schema
        );
        objects += 1;
    });
    assert!(objects > 30, "{objects} objects were looked at");
}

#[test]
fn every_example_is_one() {
    let book = Book::read();
    let mut examples = 0;
    for name in book.definitions() {
        for example in book.definition(name)["examples"].as_array().into_iter().flatten() {
            assert_eq!(book.faults(name, example), Vec::<String>::new(), "{name}: {example}");
            examples += 1;
        }
    }
    assert!(examples > 50, "{examples} examples were looked at");
}
