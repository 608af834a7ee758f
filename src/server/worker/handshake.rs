//! The handshake on a socket: the short way where its request comes whole, else with hyper. The connection that follows
//! has no task.

use std::cell::Cell;
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use tokio::task::yield_now;
use tokio::time::Instant;

use super::handle::{AcceptedSocket, ConnectionCount};
use super::opening::{Opened, OpenedSocket, Opening, limits, watch};
use crate::admission::Refusal;
use crate::admission::limits::AddressLease;
use crate::connection::Connections;
use crate::http::{self, Accepted, App as _, FirstRequest, HttpLimits, Served};
use crate::server::address_check::AddressCheck;
use crate::server::door::Door;
use crate::server::request_handler::{AdmittedConnection, RequestHandler};
use crate::server::shared::Shared;
use crate::server::stream::Stream;
use crate::server::transport::Transport;
use crate::shard::sink;
use crate::tls::Tls;

/// Most bytes of the first read. The head of a handshake is far shorter.
const FIRST_BYTES: usize = 4 * 1024;

/// The counts of a connection with its address and its worker, which it leaves when it has ended.
pub(super) type Counts = (Option<Box<AddressLease>>, ConnectionCount);

/// Makes the handshakes on a socket, and adds the connection that it becomes to those of the worker.
///
/// The first poll finishes most handshakes of clients without TLS, and none of what it leaves behind depends on the
/// task: the future may be polled once anywhere, and spawned afterwards.
pub(super) async fn run(
    connections: Rc<Connections<Counts>>,
    shared: Arc<Shared>,
    socket: AcceptedSocket,
    count: ConnectionCount,
) {
    let accepted = Instant::now();
    let context = &connections.context;
    let AcceptedSocket { stream, peer, door, transport, permit, check } = socket;
    let config = Arc::clone(&*context.node.config());
    let revocation = Arc::clone(permit.revocation());
    // Load balancers stand before the clients alone.
    let has_header = config.admission.proxy_protocol && door != Door::Api;
    let (peer, check, opened) = match has_header || transport == Transport::Tls {
        false => {
            let received = first_bytes(&stream).await;
            (peer, check, Opened { socket: OpenedSocket::New(stream), tls: None, received })
        }
        true => {
            let opening = Opening { shared: &shared, permit: &permit, door, transport, has_header, accepted };
            let Some(opened) = Box::pin(opening.open(stream, peer, check)).await else { return };
            opened
        }
    };
    let refusal = check.refusal();
    let charge = if let AddressCheck::Passed(charge) = check { Some(charge) } else { None };
    let limits = limits(&config, refusal, accepted);
    let permit = Cell::new(Some(permit));
    let handler = RequestHandler {
        context,
        shared: &shared,
        peer,
        door,
        refusal,
        charge: Cell::new(charge),
        decided: Cell::new(None),
        awaits_other: Cell::new(false),
        revocation: &revocation,
        permit: &permit,
    };
    let served = match first_request(&opened.received, &handler).await {
        Some(First::Accepted(accepted)) => Some(((opened.socket.into_stream(), opened.tls), accepted)),
        Some(First::MadeWay) => None,
        None => Box::pin(serve(opened, &handler, &limits)).await,
    };
    drop(permit.take());
    if let Some((socket, Accepted { connection, answer, leftover })) = served {
        let AdmittedConnection { endpoint, registration, info, lease } = connection;
        let counts = (lease.map(Box::new), count);
        let bytes = (&*answer, leftover);
        let added = connections.add(socket, registration, (endpoint, info), bytes, counts);
        if let Err(error) = added {
            tracing::warn!(%error, "cannot watch the socket of a connection");
        }
    }
}

/// Reads the bytes that came with a new connection, or came a moment later. The next read finds the end of the stream
/// again, and an error as the end.
async fn first_bytes(stream: &TcpStream) -> Bytes {
    let received = receive_now(stream);
    if !received.is_empty() {
        return received;
    }
    // A request is on its way when its connection is accepted, and waiting for it costs several system calls.
    yield_now().await;
    receive_now(stream)
}

fn receive_now(stream: &TcpStream) -> Bytes {
    let mut buffer = [0; FIRST_BYTES];
    let read = sink::receive(stream, &mut buffer).unwrap_or_default();
    Bytes::copy_from_slice(&buffer[..read])
}

/// The end of a handshake that has taken the short way.
enum First {
    Accepted(Accepted<AdmittedConnection>),
    MadeWay,
}

/// Makes the handshake if the first bytes are one that can be admitted, whole. Else returns `None`, and the handler
/// knows if the request is refused: hyper gets the same bytes, and answers.
async fn first_request(received: &Bytes, handler: &RequestHandler<'_>) -> Option<First> {
    let request = FirstRequest::parse(received)?;
    let must_go = |cx: &mut Context<'_>| handler.poll_revoked(cx, false);
    match http::unless_revoked(request.admit(handler), must_go).await {
        Some(None) => None,
        Some(Some(Ok(accepted))) => Some(First::Accepted(accepted)),
        Some(Some(Err(refusal))) => {
            handler.decided.set(Some(refusal));
            None
        }
        None => {
            handler.refused(&Refusal::MadeWay);
            Some(First::MadeWay)
        }
    }
}

/// The socket of a connection, and TLS on it.
type Parts = (TcpStream, Option<Box<Tls>>);

/// Serves HTTP until the connection is upgraded, or closed. The answer to a handshake is sent then; a request for
/// events is not answered yet.
async fn serve(
    opened: Opened,
    handler: &RequestHandler<'_>,
    limits: &HttpLimits,
) -> Option<(Parts, Accepted<AdmittedConnection>)> {
    let Opened { socket, tls, received } = opened;
    let socket = match socket {
        OpenedSocket::Watched(socket) => socket,
        OpenedSocket::New(stream) => {
            let socket = watch(stream)?;
            // hyper answers a head that it cannot parse only if the socket takes the answer at once.
            socket.writable().await.ok()?;
            socket
        }
    };
    let stream = Stream::new(socket, tls, received);
    let Served::Upgraded { io, leftover, connection } =
        http::serve(TokioIo::new(stream), handler, limits).await
    else {
        return None;
    };
    let (socket, tls, unread) = io.into_inner().into_parts();
    let leftover = if unread.is_empty() { leftover } else { [leftover, unread].concat().into() };
    Some(((socket.into_stream(), tls), Accepted { connection, answer: Vec::new(), leftover }))
}
