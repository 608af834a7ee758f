//! The schemas in `docs/schemas/`, read and compiled.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use jsonschema::{Draft, Registry, Validator};
use serde_json::{Value, json};

/// Commands and events of the chat, by dialect. These files list the kinds of messages under `oneOf`.
pub(super) const PLAIN_COMMANDS: &str = "plain-commands.json";
pub(super) const PLAIN_EVENTS: &str = "plain-events.json";
pub(super) const V1_COMMANDS: &str = "v1-commands.json";
pub(super) const V1_EVENTS: &str = "v1-events.json";
/// Frames of the other endpoints. The file has definitions and no list.
pub(super) const ENDPOINTS: &str = "endpoints.json";
pub(super) const CLOSE: &str = "close.json";
pub(super) const REFUSAL: &str = "refusal.json";
/// Values that several messages share. The file has definitions and no list.
pub(super) const COMMON: &str = "common.json";

/// Base of the addresses under which the validator knows the files. It resolves relative references, without I/O.
const BASE: &str = "schemas:///";

/// Every file of schemas, and a compiled validator for each definition. A definition is named as a reference from
/// another file would have it: `v1-events.json#/$defs/ack`.
pub(super) struct Book {
    pub(super) files: BTreeMap<String, Value>,
    validators: BTreeMap<String, Validator>,
}

/// Returns the name of a definition of a file.
pub(super) fn name(file: &str, definition: &str) -> String {
    format!("{file}#/$defs/{definition}")
}

impl Book {
    /// Reads and compiles all of `docs/schemas/`.
    pub(super) fn read() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schemas");
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(&folder).expect("the folder of schemas") {
            let path = entry.expect("an entry").path();
            let file = path.file_name().and_then(|name| name.to_str()).expect("a name in UTF-8").to_owned();
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
            let schema = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
            files.insert(file, schema);
        }
        Self::of(files)
    }

    /// Compiles these files.
    pub(super) fn of(files: BTreeMap<String, Value>) -> Self {
        let resources = files.iter().map(|(file, schema)| (format!("{BASE}{file}"), schema.clone()));
        let registry = Registry::new().extend(resources).expect("good names");
        let registry = registry.prepare().expect("references to what exists");
        let mut validators = BTreeMap::new();
        for (file, schema) in &files {
            assert!(jsonschema::meta::is_valid(schema), "{file} is no schema");
            for definition in schema["$defs"].as_object().expect("definitions").keys() {
                let name = name(file, definition);
                let reference = json!({"$ref": format!("{BASE}{name}")});
                let options = jsonschema::options().with_draft(Draft::Draft202012).with_registry(&registry);
                let validator = options.build(&reference).unwrap_or_else(|error| panic!("{name}: {error}"));
                validators.insert(name, validator);
            }
        }
        Self { files, validators }
    }

    /// Returns the faults that a definition finds in a value: none when it accepts the value.
    pub(super) fn faults(&self, name: &str, value: &Value) -> Vec<String> {
        let validator = self.validators.get(name).unwrap_or_else(|| panic!("no schema {name}"));
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }

    pub(super) fn accepts(&self, name: &str, value: &Value) -> bool {
        self.faults(name, value).is_empty()
    }

    /// Returns the definition of this name.
    pub(super) fn definition(&self, name: &str) -> &Value {
        let (file, pointer) = name.split_once('#').unwrap_or_else(|| panic!("no name: {name}"));
        let schema = self.files.get(file).unwrap_or_else(|| panic!("{name}: no such file"));
        schema.pointer(pointer).unwrap_or_else(|| panic!("{name}: no such definition"))
    }

    /// Returns the names of all definitions.
    pub(super) fn definitions(&self) -> impl Iterator<Item = &String> {
        self.validators.keys()
    }

    /// Returns the names of the kinds of messages that a file lists.
    pub(super) fn kinds(&self, file: &str) -> Vec<String> {
        let listed = self.files[file]["oneOf"].as_array().into_iter().flatten();
        listed.map(|kind| absolute(file, kind["$ref"].as_str().expect("a reference"))).collect()
    }

    /// Returns the one kind of a file that accepts the message. It must be a kind of the message's `type`.
    ///
    /// # Errors
    /// Says what each kind of that type finds wrong, or that none or several accept the message.
    pub(super) fn kind_of(&self, file: &str, message: &Value) -> Result<String, String> {
        let kinds = self.kinds(file);
        let accepting: Vec<_> = kinds.iter().filter(|kind| self.accepts(kind, message)).collect();
        match accepting[..] {
            [kind] if self.is_named(kind, message) => Ok(kind.clone()),
            [] => {
                let named = kinds.iter().filter(|kind| self.is_named(kind, message));
                let faults: Vec<_> =
                    named.map(|kind| format!("{kind}: {:?}", self.faults(kind, message))).collect();
                Err(format!("{file} refuses {message:.300}: {faults:?}"))
            }
            _ => Err(format!("{file} takes {message:.300} for {accepting:?}")),
        }
    }

    /// Returns whether a kind is for messages of this `type`. A kind without a `type` is for all messages.
    fn is_named(&self, kind: &str, message: &Value) -> bool {
        let wanted = self.definition(kind).pointer("/properties/type/const");
        wanted.is_none_or(|wanted| message["type"] == *wanted)
    }

    /// Returns the properties of a definition, and those of them that are required.
    pub(super) fn fields(&self, name: &str) -> (BTreeSet<&str>, BTreeSet<&str>) {
        let definition = self.definition(name);
        let all = definition["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
        let required = definition["required"].as_array().into_iter().flatten();
        (all.collect(), required.map(|name| name.as_str().expect("a name")).collect())
    }
}

/// Returns the name of the definition that a reference within a file leads to.
pub(super) fn absolute(file: &str, reference: &str) -> String {
    if reference.starts_with('#') { format!("{file}{reference}") } else { reference.to_owned() }
}

#[test]
fn a_schema_that_refers_to_nothing_is_noticed() {
    let broken = json!({"$defs": {"kind": {"$ref": "#/$defs/nowhere"}}});
    let files = BTreeMap::from([("broken.json".to_owned(), broken)]);
    assert!(std::panic::catch_unwind(|| Book::of(files)).is_err());
}

#[test]
fn a_message_of_two_kinds_or_of_none_is_noticed() {
    let both = json!({
        "oneOf": [{"$ref": "#/$defs/one"}, {"$ref": "#/$defs/other"}],
        "$defs": {"one": {"type": "object"}, "other": {"required": ["a"]}},
    });
    let book = Book::of(BTreeMap::from([("two.json".to_owned(), both)]));
    assert_eq!(book.kind_of("two.json", &json!({})), Ok("two.json#/$defs/one".to_owned()));
    assert!(book.kind_of("two.json", &json!({"a": 1})).is_err_and(|error| error.contains("other")));
    assert!(book.kind_of("two.json", &json!({"type": "none"})).is_ok());
    assert!(Book::read().kind_of(V1_EVENTS, &json!({"type": "none"})).is_err());
}
