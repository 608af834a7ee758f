//! Before HTTP, where `admission.proxy_protocol` asks for it: the header that says whose connection a proxy passes on.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::pin;

use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use super::handshakes::{Doing, Ticket};
use super::rules::Rules;
use crate::admission::proxy::{FIXED_BYTES, ProxyError, may_begin, parse_fixed};
use crate::admission::{Check, Refusal};
use crate::connection::socket::Socket;
use crate::http;

/// Why a connection has no header. None of these carries what came instead: it may be anybody's.
#[derive(Debug, Error)]
pub(super) enum NoHeader {
    /// It comes from somebody who is no proxy of ours.
    #[error("the peer is not a trusted proxy")]
    Untrusted,
    /// Something else came.
    #[error("{0}")]
    Malformed(#[from] ProxyError),
    /// It did not come, and others need the place.
    #[error("the connection made way for others")]
    MadeWay,
    /// It did not come in time.
    #[error("the PROXY protocol header did not arrive in time")]
    Late,
    /// Nobody is there any more: a probe that only connects, for example.
    #[error("the peer has gone: {0}")]
    Gone(io::Error),
}

impl NoHeader {
    /// As what it is counted; who only knocked is not.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Untrusted | Self::Malformed(_) => Some(Refusal::Malformed(Check::Proxy)),
            Self::Late => Some(Refusal::Timeout),
            Self::MadeWay => Some(Refusal::MadeWay),
            Self::Gone(_) => None,
        }
    }
}

/// Reads the header off the socket and nothing behind it. The address is the client's, or `peer` where the proxy names
/// none. With trusted proxies configured, only these are listened to.
///
/// # Errors
/// There is no good header: the connection is to be closed without an answer.
pub(super) async fn read(
    socket: &Socket,
    peer: IpAddr,
    rules: &Rules,
    ticket: &Ticket,
    deadline: Instant,
) -> Result<IpAddr, NoHeader> {
    if !rules.is_proxy(peer) {
        return Err(NoHeader::Untrusted);
    }
    let header = async {
        let mut fixed = [0; FIXED_BYTES];
        fill(socket, &mut fixed, may_begin).await?;
        let announced = parse_fixed(&fixed)?;
        let mut rest = vec![0; announced.rest_bytes];
        fill(socket, &mut rest, |_| true).await?;
        Ok(announced.source(&rest)?.unwrap_or(peer))
    };
    let in_time = async {
        let mut header = pin!(header);
        let mut in_time = timeout_at(deadline, header.as_mut()).await;
        if in_time.is_err()
            && let Some(until) = http::grace(deadline)
        {
            in_time = timeout_at(until, header).await;
        }
        in_time.unwrap_or(Err(NoHeader::Late))
    };
    let read = http::unless(in_time, |cx| ticket.poll_go(cx, Doing::Waits)).await;
    read.unwrap_or(Err(NoHeader::MadeWay))
}

/// Fills the buffer and takes no byte more from the socket, as long as what has come is `good`.
async fn fill(socket: &Socket, buffer: &mut [u8], good: impl Fn(&[u8]) -> bool) -> Result<(), NoHeader> {
    let mut filled = 0;
    while filled < buffer.len() {
        let read = poll_fn(|cx| socket.poll_read(cx, &mut buffer[filled..])).await.map_err(NoHeader::Gone)?;
        if read == 0 {
            return Err(NoHeader::Gone(io::ErrorKind::UnexpectedEof.into()));
        }
        filled += read;
        if !good(&buffer[..filled]) {
            return Err(ProxyError::Signature.into());
        }
    }
    Ok(())
}
