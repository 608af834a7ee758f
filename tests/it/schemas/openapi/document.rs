//! `docs/openapi.yaml`, read, with a compiled validator for each schema in it.

use std::collections::BTreeMap;

use jsonschema::{Draft, Registry, Validator};
use serde_json::{Value, json};

use crate::schemas::book::Book;
use crate::schemas::yaml::{self, entries};
use crate::support::http::Response;

const TEXT: &str = include_str!("../../../../docs/openapi.yaml");
/// Base of the addresses under which the validator knows the document and the files that it refers to.
const BASE: &str = "docs:///";
const VERBS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
const JSON: &str = "application/json";

/// The document.
pub(super) struct Document {
    pub(super) value: Value,
    /// A validator for each schema, by the pointer to it.
    validators: BTreeMap<String, Validator>,
}

/// A call of the document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Operation {
    /// As in the document, with its parameters in braces.
    pub(super) path: String,
    /// In lower case.
    pub(super) verb: String,
}

impl Operation {
    /// Returns the pointer to its path.
    fn path_pointer(&self) -> String {
        format!("/paths/{}", escaped(&self.path))
    }

    /// Returns the pointer to it.
    pub(super) fn pointer(&self) -> String {
        format!("{}/{}", self.path_pointer(), self.verb)
    }
}

/// Returns a name as a part of a pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Collects the pointers to the schemas of a part of the document.
fn schemas(value: &Value, pointer: &str, found: &mut Vec<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let pointer = format!("{pointer}/{}", escaped(name));
        let is_component = pointer.strip_prefix("/components/schemas/").is_some();
        if name == "schema" || is_component { found.push(pointer) } else { schemas(value, &pointer, found) }
    }
    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
        schemas(value, &format!("{pointer}/{index}"), found);
    }
}

impl Document {
    /// Reads and compiles `docs/openapi.yaml`.
    pub(super) fn read() -> Self {
        Self::of(yaml::read(TEXT))
    }

    /// Compiles the schemas of a document.
    pub(super) fn of(value: Value) -> Self {
        let files = Book::read().files.into_iter();
        let files = files.map(|(file, schema)| (format!("{BASE}schemas/{file}"), schema));
        let itself = [(format!("{BASE}openapi.yaml"), value.clone())];
        let registry = Registry::new().extend(files.chain(itself)).expect("good names");
        let registry = registry.prepare().expect("references to what exists");
        let mut pointers = Vec::new();
        schemas(&value, "", &mut pointers);
        let compiled = pointers.into_iter().map(|pointer| {
            let schema = value.pointer(&pointer).unwrap_or_else(|| panic!("no {pointer}"));
            assert!(jsonschema::meta::is_valid(schema), "{pointer} is no schema");
            let fragment = pointer.replace('{', "%7B").replace('}', "%7D");
            let reference = json!({"$ref": format!("{BASE}openapi.yaml#{fragment}")});
            let options = jsonschema::options().with_draft(Draft::Draft202012).with_registry(&registry);
            let validator = options.build(&reference).unwrap_or_else(|error| panic!("{pointer}: {error}"));
            (pointer, validator)
        });
        let validators = compiled.collect();
        Self { value, validators }
    }

    /// Returns the pointers to all schemas.
    pub(super) fn schemas(&self) -> impl Iterator<Item = &String> {
        self.validators.keys()
    }

    /// Returns the value at a pointer.
    #[track_caller]
    pub(super) fn at(&self, pointer: &str) -> &Value {
        self.value.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}"))
    }

    /// Returns where a pointer leads: what is there may be a reference to a component.
    #[track_caller]
    pub(super) fn follow(&self, pointer: &str) -> String {
        match self.at(pointer)["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
            Some(target) => self.follow(target),
            None => pointer.to_owned(),
        }
    }

    /// Returns the faults that the schema at a pointer finds in a value.
    #[track_caller]
    pub(super) fn faults(&self, pointer: &str, value: &Value) -> Vec<String> {
        let validator = self.validators.get(pointer).unwrap_or_else(|| panic!("no schema {pointer}"));
        validator.iter_errors(value).map(|error| format!("{}: {error:.200}", error.instance_path())).collect()
    }

    /// Returns all calls.
    pub(super) fn operations(&self) -> Vec<Operation> {
        let verbs = |(path, item): (&String, &Value)| {
            let of = |verb: &&str| Operation { path: path.clone(), verb: (*verb).to_owned() };
            VERBS.iter().filter(|verb| item.get(**verb).is_some()).map(of).collect::<Vec<_>>()
        };
        entries(&self.value, "/paths").iter().flat_map(verbs).collect()
    }

    /// Returns the call that a request makes, and the values of the parameters in its path.
    pub(super) fn operation(&self, verb: &str, path: &str) -> Option<(Operation, Vec<(String, String)>)> {
        let all = self.operations().into_iter().filter(|operation| operation.verb == verb);
        let mut found: Vec<_> = all
            .filter_map(|operation| {
                if operation.path.split('/').count() != path.split('/').count() {
                    return None;
                }
                let mut values = Vec::new();
                for (expected, part) in operation.path.split('/').zip(path.split('/')) {
                    match expected.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                        Some(name) => values.push((name.to_owned(), part.to_owned())),
                        None if expected == part => {}
                        None => return None,
                    }
                }
                Some((operation, values))
            })
            .collect();
        assert!(found.len() <= 1, "{verb} {path} is {found:?}");
        found.pop()
    }

    /// Returns the pointers to the parameters of a call.
    pub(super) fn parameters(&self, operation: &Operation) -> Vec<String> {
        let lists =
            [operation.path_pointer(), operation.pointer()].map(|pointer| format!("{pointer}/parameters"));
        let of_list = |list: String| {
            let count = self.value.pointer(&list).and_then(Value::as_array).map_or(0, Vec::len);
            (0..count).map(move |index| format!("{list}/{index}"))
        };
        lists.into_iter().flat_map(of_list).map(|pointer| self.follow(&pointer)).collect()
    }

    /// Returns the pointer to the schema of the body of a call's requests, if they have one.
    pub(super) fn body(&self, operation: &Operation) -> Option<String> {
        let body = format!("{}/requestBody", operation.pointer());
        self.value.pointer(&body)?;
        let body = self.follow(&body);
        assert_eq!(self.at(&body)["required"], true, "{body}");
        Some(self.of_json(&body))
    }

    /// Returns the pointer to the schema of something whose only content is JSON.
    #[track_caller]
    fn of_json(&self, pointer: &str) -> String {
        let content =
            self.at(pointer)["content"].as_object().unwrap_or_else(|| panic!("{pointer}: no content"));
        assert_eq!(content.keys().collect::<Vec<_>>(), [JSON], "{pointer}");
        format!("{pointer}/content/{}/schema", escaped(JSON))
    }

    /// Returns what an answer to a call has that the document does not say; nothing where all is well.
    pub(super) fn faults_of_answer(&self, operation: &Operation, response: &Response) -> Vec<String> {
        let answer = format!("{}/responses/{}", operation.pointer(), response.status);
        if self.value.pointer(&answer).is_none() {
            return vec![format!("the call has no answer {}", response.status)];
        }
        self.faults_of_response(&answer, response)
    }

    /// Returns what an answer has that the response at a pointer does not say.
    #[track_caller]
    pub(super) fn faults_of_response(&self, pointer: &str, response: &Response) -> Vec<String> {
        let pointer = self.follow(pointer);
        let mut faults = Vec::new();
        if response.header("content-type") != Some(JSON) {
            faults.push(format!("Content-Type: {:?}", response.header("content-type")));
        }
        for name in self.at(&pointer)["headers"].as_object().into_iter().flatten().map(|(name, _)| name) {
            let header = self.follow(&format!("{pointer}/headers/{name}"));
            match response.header(&name.to_lowercase()) {
                Some(text) => faults.extend(self.faults_of_text(&format!("{header}/schema"), text)),
                None => faults.push(format!("there is no {name}")),
            }
        }
        match serde_json::from_str(&response.body) {
            Ok(body) => faults.extend(self.faults(&self.of_json(&pointer), &body)),
            Err(error) => faults.push(format!("the body: {error}")),
        }
        faults
    }

    /// Returns the faults of a parameter or header, which may be a number.
    #[track_caller]
    pub(super) fn faults_of_text(&self, pointer: &str, text: &str) -> Vec<String> {
        let number = text.parse::<u64>().ok();
        match number.filter(|number| self.faults(pointer, &(*number).into()).is_empty()) {
            Some(_) => Vec::new(),
            None => self.faults(pointer, &text.into()),
        }
    }
}
