//! A server of Redis or Valkey for the nodes of a browser test.

#[path = "../cluster/engines/process.rs"]
#[expect(dead_code, reason = "shared with the tests of clusters, which need more of it")]
mod process;
#[path = "../cluster/engines/resp.rs"]
#[expect(dead_code, reason = "shared with the tests of clusters, which need more of it")]
mod resp;

use std::net::Ipv4Addr;

use process::{Kind, Process};
use tempfile::TempDir;

/// A running server, which ends when this is dropped.
pub(crate) struct Engine {
    server: Process,
    /// Declared after the server, which has its files there until it has ended.
    _folder: TempDir,
}

impl Engine {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let lines = |_| vec!["save \"\"".to_owned()];
        let server = Process::start(Kind::Server, &folder.path().join("engine"), Ipv4Addr::LOCALHOST, lines);
        Self { server, _folder: folder }
    }

    /// Returns the address at which nodes find it.
    pub(crate) fn address(&self) -> String {
        self.server.address().to_string()
    }
}
