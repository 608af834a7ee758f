//! As much of HTTP/1.1 as the tests need: a response read strictly from a raw socket.

use std::net::SocketAddr;

use serde_json::Value;

use super::raw::Socket;

/// A response with its header names in lower case.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Response {
    /// Parses a response head: all bytes up to the empty line, with it.
    #[track_caller]
    pub(crate) fn parse(head: &str) -> Self {
        let mut lines = head.split("\r\n");
        let status_line = lines.next().expect("a status line");
        let (version, rest) = status_line.split_once(' ').expect("a version");
        assert!(version.starts_with("HTTP/1."), "{status_line}");
        let status = rest.get(..3).and_then(|code| code.parse().ok()).expect("a status code");
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
        Self { status, headers, body: String::new() }
    }

    /// Returns the first header of that name (in lower case).
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Asserts that the body is one of the server's own refusals: `{"error":{"code","message"}}`, neither empty.
    #[track_caller]
    pub(crate) fn expect_error_body(&self) {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"));
        for field in ["code", "message"] {
            assert!(
                body["error"][field].as_str().is_some_and(|text| !text.is_empty()),
                "no {field}: {self:?}"
            );
        }
        assert!(self.header("content-type").is_some_and(|t| t.starts_with("application/json")), "{self:?}");
    }
}

/// Sends `GET path` on a new connection; returns the response.
#[track_caller]
pub(crate) fn get(address: SocketAddr, path: &str) -> Response {
    let mut socket = Socket::connect(address);
    socket.send(format!("GET {path} HTTP/1.1\r\nHost: throng.test\r\nConnection: close\r\n\r\n"));
    socket.read_response()
}

/// Sends `POST path` with these header lines and this body on a new connection; returns the response.
#[track_caller]
pub(crate) fn post(address: SocketAddr, path: &str, headers: &str, body: &str) -> Response {
    let mut socket = Socket::connect(address);
    let length = body.len();
    socket.send(format!(
        "POST {path} HTTP/1.1\r\nHost: throng.test\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    ));
    socket.read_response()
}
