//! Requests, and whether the document allows them.

use std::net::SocketAddr;

use serde_json::Value;

use super::document::{Document, Operation};
use crate::support::http::Response;
use crate::support::raw::Socket;

/// The header of idempotency keys.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// A request for a call.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// In lower case.
    pub(super) verb: String,
    /// The path and the query.
    pub(super) target: String,
    pub(super) body: Option<String>,
    /// The value of the header `Idempotency-Key`.
    pub(super) idempotency_key: Option<String>,
    /// The lines of all other headers.
    pub(super) headers: String,
}

impl Request {
    /// Makes a request with a key and, if it has a body, with its type.
    pub(super) fn new(verb: &str, target: &str, body: Option<String>, key: &str) -> Self {
        let kind = if body.is_some() { "Content-Type: application/json\r\n" } else { "" };
        let headers = format!("Host: throng.test\r\nX-API-Key: {key}\r\n{kind}");
        Self { verb: verb.into(), target: target.into(), body, idempotency_key: None, headers }
    }

    /// Adds a header.
    pub(super) fn with(mut self, line: &str) -> Self {
        self.headers += line;
        self.headers += "\r\n";
        self
    }

    /// Leaves out the headers that begin like this.
    pub(super) fn without(mut self, start: &str) -> Self {
        let kept = self.headers.split_inclusive("\r\n").filter(|line| !line.starts_with(start));
        self.headers = kept.collect();
        self
    }

    /// Returns the head, with the length of the body.
    pub(super) fn head(&self) -> String {
        let Self { verb, target, headers, .. } = self;
        let mut head = format!("{} {target} HTTP/1.1\r\nConnection: close\r\n{headers}", verb.to_uppercase());
        if let Some(body) = &self.body {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        if let Some(key) = &self.idempotency_key {
            head += &format!("{IDEMPOTENCY_KEY}: {key}\r\n");
        }
        head + "\r\n"
    }

    /// Sends the request on a connection of its own.
    #[track_caller]
    pub(super) fn send(&self, address: SocketAddr) -> Response {
        let mut socket = Socket::connect(address);
        // A server that has refused the head may have closed before the body.
        socket.try_send(self.head() + self.body.as_deref().unwrap_or_default());
        socket.read_response()
    }

    /// Returns the call that the request makes.
    #[track_caller]
    pub(super) fn operation(&self, document: &Document) -> Operation {
        let path = self.target.split('?').next().unwrap_or_default();
        let found = document.operation(&self.verb, path);
        found.unwrap_or_else(|| panic!("not in the document: {} {path}", self.verb)).0
    }

    /// Returns why the document does not allow the request; nothing where it does.
    #[track_caller]
    pub(super) fn faults(&self, document: &Document) -> Vec<String> {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let Some((operation, in_path)) = document.operation(&self.verb, path) else {
            return vec!["there is no such call".into()];
        };
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let mut given: Vec<(&str, String, String)> =
            pairs.map(|(name, value)| ("query", name.to_owned(), value.to_owned())).collect();
        given.extend(in_path.into_iter().map(|(name, value)| ("path", name, value)));
        given.extend(self.idempotency_key.iter().map(|key| ("header", IDEMPOTENCY_KEY.into(), key.clone())));
        let mut faults = Vec::new();
        for pointer in document.parameters(&operation) {
            let parameter = document.at(&pointer);
            let is_it = |(place, name, _): &(&str, String, String)| {
                parameter["in"] == *place && parameter["name"] == name.as_str()
            };
            match given.iter().position(is_it) {
                Some(at) => {
                    let (_, _, value) = given.remove(at);
                    faults.extend(document.faults_of_text(&format!("{pointer}/schema"), &value));
                }
                None if parameter["required"] == true => faults.push(format!("there is no {pointer}")),
                None => {}
            }
        }
        faults.extend(
            given.into_iter().map(|(place, name, _)| format!("no such parameter: {name} in the {place}")),
        );
        match (document.body(&operation), &self.body) {
            (Some(schema), Some(body)) => match serde_json::from_str::<Value>(body) {
                Ok(body) => faults.extend(document.faults(&schema, &body)),
                Err(error) => faults.push(error.to_string()),
            },
            (None, None) => {}
            (schema, _) => faults.push(format!("the body belongs to {schema:?}")),
        }
        faults
    }
}
