//! Viewers of the dashboard's feed.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::Value;

use super::raw::Socket;
use super::server::Server;

pub(crate) const STREAM: &str = "/api/stats/stream";
pub(crate) const LOCAL: &str = "Host: localhost\r\n";

/// Returns the header lines of a viewer who shows a key.
pub(crate) fn shown(key: &str) -> String {
    format!("{LOCAL}X-API-Key: {key}\r\n")
}

/// Requests the feed with these header lines.
#[track_caller]
pub(crate) fn ask(server: &Server, headers: &str) -> Socket {
    let mut socket = Socket::connect(server.address());
    socket.send(format!("GET {STREAM} HTTP/1.1\r\n{headers}\r\n"));
    socket
}

/// A viewer of the feed.
pub(crate) struct Viewer {
    pub(crate) socket: Socket,
    /// The samples of the last five minutes, with which the feed begins.
    pub(crate) past: Value,
}

impl Viewer {
    /// Opens the feed of a server that has made its own key.
    #[track_caller]
    pub(crate) fn open(server: &Server) -> Self {
        let mut socket = ask(server, &shown(&server.key()));
        let head = socket.read_head();
        assert_eq!(head.status, 200, "{head:?}");
        Self::begin(socket)
    }

    /// Reads the first event of a feed, whose head was read.
    #[track_caller]
    pub(crate) fn begin(mut socket: Socket) -> Self {
        let event = socket.read_chunk().expect("the feed begins");
        let data = event.strip_prefix("event: history\ndata: ").and_then(|rest| rest.strip_suffix("\n\n"));
        let data = data.unwrap_or_else(|| panic!("{event}"));
        assert!(!data.contains('\n'), "one line: {data}");
        let past = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"));
        Self { socket, past }
    }

    /// Returns the number and the data of the next event; `None` at the end.
    #[track_caller]
    pub(crate) fn event(&mut self) -> Option<(u64, String)> {
        let event = self.socket.read_chunk()?;
        let rest = event.strip_prefix("retry: 2000\nid: ").unwrap_or_else(|| panic!("{event}"));
        let (id, rest) = rest.split_once('\n').expect("an id");
        let data = rest.strip_prefix("data: ").and_then(|data| data.strip_suffix("\n\n")).expect("data");
        assert!(!data.contains('\n'), "one line: {data}");
        Some((id.parse().expect("a number"), data.to_owned()))
    }

    /// Returns the next snapshot.
    #[track_caller]
    pub(crate) fn snapshot(&mut self) -> Value {
        let (_, data) = self.event().expect("the feed goes on");
        serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error}: {data}"))
    }

    /// Reads events until one satisfies `shows`, and returns it.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, what: &str, shows: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + super::PATIENCE;
        loop {
            let snapshot = self.snapshot();
            if shows(&snapshot) {
                return snapshot;
            }
            assert!(Instant::now() < deadline, "never: {what}: {snapshot}");
        }
    }
}

/// Returns the names of an object's fields.
#[track_caller]
pub(crate) fn names(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap_or_else(|| panic!("no object: {object}")).keys().map(String::as_str).collect()
}
