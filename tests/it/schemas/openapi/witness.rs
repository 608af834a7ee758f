//! Sends requests to a live server, and checks requests and answers.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::document::{Document, Operation};
use super::request::Request;
use crate::support::http::Response;
use crate::support::server::{Server, Settings};

pub(super) const KEY: &str = "a-key-of-the-tests-1";
pub(super) const READ_KEY: &str = "a-key-that-only-reads";
/// Errors of requests that the document allows: a setting is the limit, or the request is no good HTTP.
const BESIDES: [&str; 3] = ["message_too_long", "data_too_long", "malformed"];

/// The method, the path with the query, and the body of a call.
pub(super) type Call<'a> = (&'a str, &'a str, Option<Value>);

/// Starts a server with keys and further settings.
pub(super) fn start(more: Settings<'_>) -> Server {
    let own = [("api.keys", KEY), ("api.read_keys", READ_KEY), ("workers", "2"), ("chat.duplicate", "allow")];
    Server::start(&[&own, more].concat())
}

/// Sends requests, checks requests and answers, and remembers which answers there were.
pub(super) struct Witness {
    pub(super) document: Document,
    /// The statuses of the answers to each call.
    pub(super) statuses: BTreeSet<(Operation, u16)>,
    pub(super) codes: BTreeSet<(u16, String)>,
}

impl Witness {
    /// Reads the document.
    pub(super) fn new() -> Self {
        Self { document: Document::read(), statuses: BTreeSet::new(), codes: BTreeSet::new() }
    }

    /// Checks the answer to a request, whose status and code must be these. The code of a result is empty.
    #[track_caller]
    pub(super) fn check(&mut self, request: &Request, response: &Response, status: u16, code: &str) -> Value {
        let operation = request.operation(&self.document);
        let faults = self.document.faults_of_answer(&operation, response);
        assert_eq!(faults, Vec::<String>::new(), "{request:?}: {response:?}");
        let body: Value = serde_json::from_str(&response.body).expect("JSON");
        let heard = body["error"]["code"].as_str().unwrap_or_default();
        assert_eq!((response.status, heard), (status, code), "{request:?}: {response:?}");
        if !BESIDES.contains(&code) {
            let faults = request.faults(&self.document);
            assert_eq!(faults.is_empty(), status != 400, "{request:?}: {response:?}: {faults:?}");
        }
        self.changed(&operation, response, &body);
        self.statuses.insert((operation, status));
        if status != 200 {
            self.codes.insert((status, code.to_owned()));
        }
        body["result"].clone()
    }

    /// Checks that the document refuses the answer with one field more, and without its fields.
    #[track_caller]
    fn changed(&self, operation: &Operation, response: &Response, body: &Value) {
        for part in ["result", "error"].into_iter().filter(|part| body.get(part).is_some()) {
            let (mut more, mut less, mut other) = (body.clone(), body.clone(), body.clone());
            more[part]["one_more"] = json!(1);
            less[part] = json!({});
            other["one_more"] = json!(1);
            for changed in [more, less, other] {
                let headers = response.headers.clone();
                let response = Response { status: response.status, headers, body: changed.to_string() };
                let faults = self.document.faults_of_answer(operation, &response);
                assert!(!faults.is_empty(), "{operation:?} may be answered with {changed:.300}");
            }
        }
    }

    /// Makes a call with a good key.
    #[track_caller]
    pub(super) fn call(
        &mut self,
        server: &Server,
        (verb, target, body): Call<'_>,
        status: u16,
        code: &str,
    ) -> Value {
        let request = Request::new(verb, target, body.map(|body| body.to_string()), KEY);
        let response = request.send(server.address());
        self.check(&request, &response, status, code)
    }

    /// Returns a good request for each call, made of the examples of the document.
    pub(super) fn samples(&self) -> Vec<Request> {
        let sample = |operation: &Operation| {
            let mut target = operation.path.replace("{room}", "lobby").replace("{user}", "alice");
            for pointer in self.document.parameters(operation) {
                let parameter = self.document.at(&pointer);
                if parameter["in"] == "query" && parameter["required"] == true {
                    let name = parameter["name"].as_str().expect("a name");
                    target += &format!("?{name}={}", if name == "room" { "lobby" } else { "alice" });
                }
            }
            let body = self.document.body(operation).map(|schema| self.examples(&schema)[0].to_string());
            Request::new(&operation.verb, &target, body, KEY)
        };
        self.document.operations().iter().map(sample).collect()
    }

    /// Returns the examples of the schema of a body.
    #[track_caller]
    pub(super) fn examples(&self, schema: &str) -> Vec<Value> {
        let schema = self.document.at(&self.document.follow(schema));
        schema["examples"].as_array().unwrap_or_else(|| panic!("no examples: {schema}")).clone()
    }
}
