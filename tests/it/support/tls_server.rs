//! A server that speaks TLS at one address and none at another, so that a test can read its metrics.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;

use super::eventually;
use super::raw::Socket;
use super::server::{Server, Settings};
use super::tls::{Authority, Files, Secure, SecureSocket};

/// A server whose `listen` speaks no TLS, and whose `tls.listen` does, with a certificate for `localhost`.
pub(crate) struct Both {
    pub(crate) server: Server,
    /// The address with TLS.
    pub(crate) address: SocketAddr,
    /// The configuration of a client that trusts the server.
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) authority: Authority,
    /// The files of the server's certificate.
    pub(crate) files: Files,
}

impl Both {
    #[track_caller]
    pub(crate) fn start(settings: Settings<'_>) -> Self {
        let authority = Authority::new("An Authority");
        let files = authority.issue("server", &["localhost"]);
        let all = [&files.settings()[..], &[("tls.listen", "127.0.0.1:0")], settings].concat();
        let server = Server::start(&all);
        let address = listening(&server, "listening for TLS");
        Self { server, address, client: authority.client(None), authority, files }
    }

    /// Makes a handshake.
    #[track_caller]
    pub(crate) fn connect(&self) -> Secure {
        Secure::connect(self.address, &self.client).expect("a handshake")
    }

    /// Opens a WebSocket over TLS, with more headers of the request.
    #[track_caller]
    pub(crate) fn open(&self, path: &str, headers: &str) -> SecureSocket {
        SecureSocket::open(self.connect(), path, headers)
    }

    /// Opens a WebSocket whose client has a receive buffer so small that the server soon has to wait for it.
    #[track_caller]
    pub(crate) fn open_narrow(&self, path: &str) -> SecureSocket {
        let stream = Socket::connect_narrow(self.address).into_stream();
        SecureSocket::open(Secure::over(stream, &self.client, "localhost").expect("a handshake"), path, "")
    }

    /// Waits until no connection is left.
    #[track_caller]
    pub(crate) fn ends(&self) {
        eventually("the connections have ended", || self.server.connections() == 0.0);
    }

    /// Returns how many lines of the log contain this text.
    pub(crate) fn said(&self, words: &str) -> usize {
        self.server.log().count(|line| line.to_string().contains(words))
    }
}

/// Returns the address that the server has logged with this message.
#[track_caller]
pub(crate) fn listening(server: &Server, message: &str) -> SocketAddr {
    let line = server.log().wait_for(message, |line| line["message"] == message);
    line["address"].as_str().and_then(|address| address.parse().ok()).expect("an address")
}
