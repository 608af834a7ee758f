//! The steps of a socket before HTTP: the header of a proxy, and the handshake of TLS.

use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use crate::admission::Refusal;
use crate::config::Config;
use crate::connection::socket::Socket;
use crate::http::{self, HttpLimits};
use crate::server::address_check::AddressCheck;
use crate::server::door::Door;
use crate::server::handshakes::{Activity, Group, HandshakePermit};
use crate::server::proxy_header::{self, HeaderError};
use crate::server::shared::Shared;
use crate::server::tls_handshake;
use crate::server::transport::Transport;
use crate::tls::{ServerConfig, Tls};

/// Longest wait for the request of a socket with a reserved permit, which may only ask whether the server is well. The
/// request of a health check comes together with its connection.
const RESERVED_TIMEOUT: Duration = Duration::from_secs(1);

/// A socket that has got as far as HTTP.
pub(super) struct Opened {
    pub(super) socket: OpenedSocket,
    pub(super) tls: Option<Box<Tls>>,
    /// The bytes that have come: of the socket itself, or the plaintext of TLS.
    pub(super) received: Bytes,
}

/// A socket, which the reactor knows or does not.
pub(super) enum OpenedSocket {
    New(TcpStream),
    Watched(Socket),
}

impl OpenedSocket {
    pub(super) fn into_stream(self) -> TcpStream {
        match self {
            Self::New(stream) => stream,
            Self::Watched(socket) => socket.into_stream(),
        }
    }
}

/// The circumstances of the steps before HTTP.
pub(super) struct Opening<'a> {
    pub(super) shared: &'a Shared,
    pub(super) permit: &'a HandshakePermit,
    pub(super) door: Door,
    pub(super) transport: Transport,
    /// A proxy names the client in a header before everything else.
    pub(super) has_header: bool,
    pub(super) accepted: Instant,
}

impl Opening<'_> {
    /// Makes the steps on a socket. Returns the address of the client, its check, and the bytes of HTTP; `None` when
    /// the socket is closed.
    pub(super) async fn open(
        &self,
        stream: TcpStream,
        peer: IpAddr,
        check: AddressCheck,
    ) -> Option<(IpAddr, AddressCheck, Opened)> {
        let socket = watch(stream)?;
        let (peer, check) = match self.has_header {
            false => (peer, check),
            true => match self.read_proxy_header(&socket, peer, &check).await {
                Ok((client, own)) => (client, own.unwrap_or(check)),
                // `check` is dropped only when the socket is closed: until then it counts for its address.
                Err(error) => {
                    tracing::debug!(%error, "closed before HTTP");
                    self.close(socket, error.refusal(), &[]).await;
                    return None;
                }
            },
        };
        let opened = |socket, tls, received| Opened { socket: OpenedSocket::Watched(socket), tls, received };
        let Some(tls) = self.tls() else { return Some((peer, check, opened(socket, None, Bytes::new()))) };
        let timeout = limits(&self.shared.node.config(), check.refusal(), self.accepted).handshake_timeout;
        match tls_handshake::accept(&socket, tls, self.permit.revocation(), self.accepted + timeout).await {
            Ok((tls, plain)) => Some((peer, check, opened(socket, Some(tls), plain.into()))),
            Err(error) => {
                tracing::debug!(%error, %peer, "closed before HTTP");
                self.close(socket, error.refusal(), &error.answer()).await;
                None
            }
        }
    }

    /// Returns the configuration of TLS, where the address of the socket speaks it.
    fn tls(&self) -> Option<Arc<ServerConfig>> {
        let encryption = self.shared.encryption.as_ref().filter(|_| self.transport == Transport::Tls)?;
        Some(match self.door {
            Door::Api => encryption.for_operators(),
            Door::Only | Door::Public => encryption.for_clients(),
        })
    }

    /// Reads the PROXY protocol header. Returns the client that it names, and the check of that client's address where
    /// it replaces the `check` of the socket's own.
    async fn read_proxy_header(
        &self,
        socket: &Socket,
        peer: IpAddr,
        check: &AddressCheck,
    ) -> Result<(IpAddr, Option<AddressCheck>), HeaderError> {
        let policy = &self.shared.policy;
        let deadline = self.accepted + self.shared.node.config().limits.handshake_timeout;
        let client = proxy_header::read(socket, peer, policy, self.permit.revocation(), deadline).await?;
        self.permit.reassign(Group::of_client(client));
        if check.refusal().is_some() || policy.is_trusted(client) {
            return Ok((client, None));
        }
        Ok((client, Some(policy.check_address(client))))
    }

    /// Closes a connection that did not get as far as HTTP, with an answer or without, so that the peer sees an end and
    /// no reset.
    async fn close(&self, socket: Socket, refusal: Option<Refusal>, answer: &[u8]) {
        let Some(refusal) = refusal else { return };
        self.shared.node.metrics.count_refusal(refusal.reason());
        if refusal == Refusal::MadeWay {
            return;
        }
        let revocation = self.permit.revocation();
        let must_go = |cx: &mut Context<'_>| revocation.poll_revoked(cx, Activity::AwaitingPeer);
        http::linger(&mut TokioIo::new(socket), answer, must_go).await;
    }
}

/// Registers a socket with the reactor.
pub(super) fn watch(stream: TcpStream) -> Option<Socket> {
    let socket = Socket::new(stream);
    socket.inspect_err(|error| tracing::warn!(%error, "cannot register a socket with the reactor")).ok()
}

/// Returns the limits of the HTTP part: those of the configuration, or, for a socket that is refused nearly everything,
/// one request.
pub(super) fn limits(config: &Config, refusal: Option<Refusal>, accepted: Instant) -> HttpLimits {
    let all = HttpLimits {
        handshake_timeout: config.limits.handshake_timeout,
        accepted: Some(accepted),
        ..HttpLimits::default()
    };
    match refusal {
        None => all,
        Some(_) => HttpLimits {
            handshake_timeout: all.handshake_timeout.min(RESERVED_TIMEOUT),
            max_requests: 1,
            ..all
        },
    }
}
