//! The task of a socket until it is upgraded or closed. The connection that follows has none.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::handle::{AcceptedSocket, ConnectionCount};
use crate::admission::Refusal;
use crate::admission::limits::AddressLease;
use crate::config::Config;
use crate::connection::Connections;
use crate::connection::socket::Socket;
use crate::http::{self, HttpLimits, Served};
use crate::node::Node;
use crate::server::address_check::AddressCheck;
use crate::server::door::Door;
use crate::server::handshakes::{Activity, Group, HandshakePermit, Revocation};
use crate::server::proxy_header::{self, HeaderError};
use crate::server::request_handler::{AdmittedConnection, RequestHandler};
use crate::server::shared::Shared;
use crate::server::stream::Stream;
use crate::server::tls_handshake::{self, HandshakeError};
use crate::server::transport::Transport;
use crate::tls::ServerConfig;

/// Longest wait for the request of a socket with a reserved permit, which may only ask whether the server is well. The
/// request of a health check comes together with its connection.
const RESERVED_TIMEOUT: Duration = Duration::from_secs(1);

/// The counts of a connection with its address and its worker, which it leaves when it has ended.
pub(super) type Counts = (Option<Box<AddressLease>>, ConnectionCount);

/// Serves HTTP on a socket, and adds the connection that it becomes to those of the worker.
pub(super) async fn run(
    connections: Rc<Connections<Counts>>,
    shared: Arc<Shared>,
    socket: AcceptedSocket,
    count: ConnectionCount,
) {
    let accepted = Instant::now();
    let context = &connections.context;
    let AcceptedSocket { stream, peer, door, transport, permit, check } = socket;
    let socket = match Socket::new(stream) {
        Ok(socket) => socket,
        Err(error) => return tracing::warn!(%error, "cannot register a socket with the reactor"),
    };
    let config = Arc::clone(&*context.node.config());
    let revocation = Arc::clone(permit.revocation());
    // Load balancers stand before the clients alone.
    let (peer, check) = if config.admission.proxy_protocol && door != Door::Api {
        match read_proxy_header(&socket, peer, &shared, &permit, &check, accepted).await {
            Ok((client, own)) => (client, own.unwrap_or(check)),
            // `check` is dropped only when the socket is closed: until then it counts for its address.
            Err(error) => {
                tracing::debug!(%error, "closed before HTTP");
                return close(&context.node, socket, error.refusal(), &[], &revocation).await;
            }
        }
    } else {
        (peer, check)
    };
    let (refusal, charge) = match check {
        AddressCheck::Pending => (None, None),
        AddressCheck::Passed(charge) => (None, Some(charge)),
        AddressCheck::Refused(refusal) => (Some(refusal), None),
    };
    let limits = limits(&config, refusal, accepted);
    let deadline = accepted + limits.handshake_timeout;
    let tls = shared.encryption.as_ref().filter(|_| transport == Transport::Tls);
    let tls = tls.map(|encryption| match door {
        Door::Api => encryption.for_operators(),
        Door::Only | Door::Public => encryption.for_clients(),
    });
    let stream = match open(socket, tls, &revocation, deadline).await {
        Ok(stream) => stream,
        Err((socket, error)) => {
            tracing::debug!(%error, %peer, "closed before HTTP");
            return close(&context.node, socket, error.refusal(), &error.answer(), &revocation).await;
        }
    };
    let permit = Cell::new(Some(permit));
    let handler = RequestHandler {
        context,
        shared: &shared,
        peer,
        door,
        refusal,
        charge: Cell::new(charge),
        awaits_other: Cell::new(false),
        revocation: &revocation,
        permit: &permit,
    };
    let served = http::serve(TokioIo::new(stream), &handler, &limits).await;
    drop(permit.take());
    if let Served::Upgraded { io, leftover, connection } = served {
        let AdmittedConnection { endpoint, registration, info, lease } = connection;
        let (socket, tls, decrypted) = io.into_inner().into_parts();
        let leftover = if decrypted.is_empty() { leftover } else { [&*leftover, &decrypted].concat().into() };
        let socket = (socket.into_stream(), tls);
        let counts = (lease.map(Box::new), count);
        let added = connections.add(socket, registration, (endpoint, info), leftover, counts);
        if let Err(error) = added {
            tracing::warn!(%error, "cannot watch the socket of a connection");
        }
    }
}

/// Returns the bytes of a socket, after the handshake of TLS where there is a configuration of it.
async fn open(
    socket: Socket,
    tls: Option<Arc<ServerConfig>>,
    revocation: &Revocation,
    deadline: Instant,
) -> Result<Stream, (Socket, HandshakeError)> {
    let Some(tls) = tls else { return Ok(Stream::plain(socket)) };
    match tls_handshake::accept(&socket, tls, revocation, deadline).await {
        Ok((tls, plain)) => Ok(Stream::encrypted(socket, tls, plain)),
        Err(error) => Err((socket, error)),
    }
}

/// Reads the PROXY protocol header. Returns the client that it names, and the check of that client's address where it
/// replaces the `check` of the socket's own.
async fn read_proxy_header(
    socket: &Socket,
    peer: IpAddr,
    shared: &Shared,
    permit: &HandshakePermit,
    check: &AddressCheck,
    accepted: Instant,
) -> Result<(IpAddr, Option<AddressCheck>), HeaderError> {
    let policy = &shared.policy;
    let deadline = accepted + shared.node.config().limits.handshake_timeout;
    let client = proxy_header::read(socket, peer, policy, permit.revocation(), deadline).await?;
    permit.reassign(Group::of_client(client));
    if matches!(check, AddressCheck::Refused(_)) || policy.is_trusted(client) {
        return Ok((client, None));
    }
    Ok((client, Some(policy.check_address(client))))
}

/// Returns the limits of the HTTP part: those of the configuration, or, for a socket that is refused nearly everything,
/// one request.
fn limits(config: &Config, refusal: Option<Refusal>, accepted: Instant) -> HttpLimits {
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

/// Closes a connection that did not get as far as HTTP, with an answer or without, so that the peer sees an end and no
/// reset.
async fn close(
    node: &Node,
    socket: Socket,
    refusal: Option<Refusal>,
    answer: &[u8],
    revocation: &Revocation,
) {
    let Some(refusal) = refusal else { return };
    node.metrics.count_refusal(refusal.reason());
    if refusal == Refusal::MadeWay {
        return;
    }
    let must_go = |cx: &mut std::task::Context<'_>| revocation.poll_revoked(cx, Activity::AwaitingPeer);
    http::linger(&mut TokioIo::new(socket), answer, must_go).await;
}
