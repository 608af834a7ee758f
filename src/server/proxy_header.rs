//! Reads the PROXY protocol header that begins every connection where `admission.proxy_protocol` is set, and names the
//! client of a proxy. The format itself is in `admission::proxy`.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;

use thiserror::Error;
use tokio::time::Instant;

use super::before_http::{Unfinished, in_time};
use super::handshakes::Revocation;
use super::policy::AdmissionPolicy;
use crate::admission::proxy::{FIXED_BYTES, ProxyError, may_begin, parse_fixed};
use crate::admission::{Check, Refusal};
use crate::connection::socket::Socket;

/// Why a connection has no good header. No variant carries the bytes that came instead: they may hold secrets.
#[derive(Debug, Error)]
pub(super) enum HeaderError {
    /// The peer is not on the list of trusted proxies.
    #[error("the peer is not a trusted proxy")]
    Untrusted,
    /// The bytes are not a header, or a wrong one.
    #[error("{0}")]
    Malformed(#[from] ProxyError),
    /// The handshake permit was revoked before the header came.
    #[error("the connection made way for others")]
    MadeWay,
    /// The header did not come in time.
    #[error("the PROXY protocol header did not arrive in time")]
    Late,
    /// The peer has closed the connection, as a probe does that only connects.
    #[error("the peer has gone: {0}")]
    Gone(io::Error),
}

impl HeaderError {
    /// Returns the refusal that is counted; `None` for a peer that has closed the connection.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Untrusted | Self::Malformed(_) => Some(Refusal::Malformed(Check::Proxy)),
            Self::Late => Some(Refusal::Timeout),
            Self::MadeWay => Some(Refusal::MadeWay),
            Self::Gone(_) => None,
        }
    }
}

/// Reads the header from the socket, and nothing that follows it. Returns the client's address, or `peer` where the
/// proxy names none. Where trusted proxies are configured, only these may send a header.
///
/// # Errors
/// There is no good header. The connection has to be closed without an answer.
pub(super) async fn read(
    socket: &Socket,
    peer: IpAddr,
    policy: &AdmissionPolicy,
    revocation: &Revocation,
    deadline: Instant,
) -> Result<IpAddr, HeaderError> {
    if !policy.is_proxy(peer) {
        return Err(HeaderError::Untrusted);
    }
    let header = async {
        let mut fixed = [0; FIXED_BYTES];
        fill(socket, &mut fixed, may_begin).await?;
        let announced = parse_fixed(&fixed)?;
        let mut rest = vec![0; announced.rest_bytes];
        fill(socket, &mut rest, |_| true).await?;
        Ok(announced.source(&rest)?.unwrap_or(peer))
    };
    match in_time(header, revocation, deadline).await {
        Ok(read) => read,
        Err(Unfinished::Late) => Err(HeaderError::Late),
        Err(Unfinished::MadeWay) => Err(HeaderError::MadeWay),
    }
}

/// Fills the buffer and takes no byte more from the socket, as long as the bytes so far pass `is_good`.
async fn fill(
    socket: &Socket,
    buffer: &mut [u8],
    is_good: impl Fn(&[u8]) -> bool,
) -> Result<(), HeaderError> {
    let mut filled = 0;
    while filled < buffer.len() {
        let read =
            poll_fn(|cx| socket.poll_read(cx, &mut buffer[filled..])).await.map_err(HeaderError::Gone)?;
        if read == 0 {
            return Err(HeaderError::Gone(io::ErrorKind::UnexpectedEof.into()));
        }
        filled += read;
        if !is_good(&buffer[..filled]) {
            return Err(ProxyError::Signature.into());
        }
    }
    Ok(())
}
