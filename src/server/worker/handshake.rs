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
    let AcceptedSocket { stream, peer, door, permit, check } = socket;
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
            Err(error) => return close_without_answer(&context.node, socket, &error, &revocation).await,
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
    let served = http::serve(TokioIo::new(socket), &handler, &limits).await;
    drop(permit.take());
    if let Served::Upgraded { io, leftover, connection } = served {
        let AdmittedConnection { endpoint, registration, info, lease } = connection;
        let stream = io.into_inner().into_stream();
        let added =
            connections.add(stream, registration, (endpoint, info), leftover, (lease.map(Box::new), count));
        if let Err(error) = added {
            tracing::warn!(%error, "cannot watch the socket of a connection");
        }
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

/// Closes a connection that did not begin with a good PROXY protocol header, so that the peer sees an end and no reset.
async fn close_without_answer(node: &Node, socket: Socket, error: &HeaderError, revocation: &Revocation) {
    tracing::debug!(%error, "closed before HTTP");
    let Some(refusal) = error.refusal() else { return };
    node.metrics.count_refusal(refusal.reason());
    if refusal == Refusal::MadeWay {
        return;
    }
    let must_go = |cx: &mut std::task::Context<'_>| revocation.poll_revoked(cx, Activity::AwaitingPeer);
    http::linger(&mut TokioIo::new(socket), &[], must_go).await;
}
