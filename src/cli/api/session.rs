//! Makes calls over one connection, and reads their answers.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use simd_json::OwnedValue;
use simd_json::prelude::*;
use tokio::runtime::{Builder, Runtime};

use super::Certificates;
use super::access::Access;
use super::error;
use crate::cli::failure::{Failure, INTERNAL, USAGE};
use crate::outbound::{Client, Method, OwnCertificate, Request, Response};

/// Longest wait for an answer. The server itself gives up after 10 seconds, and says so.
const DEADLINE: Duration = Duration::from_secs(15);
/// Most bytes of an answer: a page of 100 messages of 40 KiB each. The server's default allows 500 characters each.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// A server to which calls are made, one after the other.
pub(super) struct Session {
    runtime: Runtime,
    client: Client,
    access: Access,
}

/// The result of a call.
pub(super) struct Answer {
    /// As the server has written it.
    pub(super) json: String,
    /// The same, read.
    pub(super) value: OwnedValue,
}

impl Session {
    /// Gets ready to make calls. A connection is opened for the first of them.
    ///
    /// # Errors
    /// A file with certificates cannot be used ([`USAGE`]), or the system gives no resources ([`INTERNAL`]).
    pub(super) fn new(access: Access, certificates: &Certificates) -> Result<Self, Failure> {
        let Certificates { ca, cert, cert_key } = certificates;
        // One of them needs the other.
        let own = cert.as_deref().zip(cert_key.as_deref());
        let own = own.map(|(cert_file, key_file)| OwnCertificate { cert_file, key_file });
        let client = Client::showing(ca.as_deref(), own);
        let client = client.map_err(|problem| Failure::new(USAGE, anyhow::anyhow!(problem)))?;
        let runtime = Builder::new_current_thread().enable_all().build().context("cannot start a runtime");
        Ok(Self { runtime: runtime.map_err(|error| Failure::new(INTERNAL, error))?, client, access })
    }

    /// Makes a call, and returns its result.
    ///
    /// # Errors
    /// The server refused it, or there was no answer.
    pub(super) fn call(&self, path: &str, body: String) -> Result<Answer, Failure> {
        let url = self.access.url(path).map_err(|error| Failure::new(USAGE, error))?;
        let headers = vec![
            ("X-API-Key".to_owned(), self.access.key().to_owned()),
            ("Content-Type".to_owned(), "application/json".to_owned()),
        ];
        let request = Request { method: Method::Post, url: &url, headers, body: Bytes::from(body) };
        let answered = self.runtime.block_on(self.client.request(request, DEADLINE, MAX_ANSWER));
        match answered {
            Ok(response) => read(&response).map_err(|error| error.at(&url)),
            Err(error) => Err(error::of_connection(error, &url)),
        }
    }
}

/// Reads the result out of an answer.
fn read(response: &Response) -> Result<Answer, error::Wrong> {
    let value = simd_json::to_owned_value(&mut response.body.to_vec());
    let value = value.map_err(|_| error::Wrong::foreign(response))?;
    if let Some(error) = value.get("error") {
        return Err(error::Wrong::refused(response, error));
    }
    // Exactly the bytes of the result, for programs that read it with a parser of their own.
    let text = std::str::from_utf8(&response.body).ok();
    let json = text.and_then(|text| text.trim_ascii().strip_prefix(r#"{"result":"#)?.strip_suffix('}'));
    match (json, value) {
        (Some(json), OwnedValue::Object(mut fields)) if response.status == 200 => {
            let value = fields.remove("result").ok_or_else(|| error::Wrong::foreign(response))?;
            Ok(Answer { json: json.to_owned(), value })
        }
        _ => Err(error::Wrong::foreign(response)),
    }
}

/// The way to the next page of a list.
pub(super) struct Next {
    /// The flag that leads there.
    pub(super) flag: &'static str,
    /// The value of the flag.
    pub(super) name: String,
}

impl Answer {
    /// Returns the way to the next page; `None` for the last one, and for a result without pages.
    pub(super) fn next(&self) -> Option<Next> {
        let after = |name: &str| Next { flag: "--after", name: name.to_owned() };
        if let Some(next) = self.value.get_str("next") {
            return Some(after(next));
        }
        self.value.get_bool("more").filter(|more| *more)?;
        // A page of the users in a room ends with its last user, and one of its messages begins with the oldest.
        if let Some(users) = self.value.get_array("users") {
            return users.last()?.as_str().map(after);
        }
        let offset = self.value.get_array("messages")?.first()?.get_u64("offset")?;
        Some(Next { flag: "--before", name: offset.to_string() })
    }

    /// Returns the outcomes of the parts of a call, where it has parts.
    pub(super) fn parts(&self) -> Option<&[OwnedValue]> {
        self.value.get_array("results").map(Vec::as_slice)
    }
}
