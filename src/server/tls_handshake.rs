//! The handshake of TLS on a socket that was accepted, before HTTP.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use thiserror::Error;
use tokio::time::Instant;

use super::before_http::{Unfinished, in_time};
use super::handshakes::Revocation;
use crate::admission::Refusal;
use crate::connection::socket::Socket;
use crate::http::respond;
use crate::shard::sink;
use crate::tls::{ServerConfig, Tls, TlsError};

/// Most bytes that are read at once. A client's part of a handshake is mostly shorter.
const READ_BYTES: usize = 4 * 1024;
/// The type of the record that begins every connection (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// Why a handshake of TLS failed.
#[derive(Debug, Error)]
pub(super) enum HandshakeError {
    /// The peer speaks HTTP without TLS.
    #[error("the peer speaks HTTP without TLS")]
    PlainHttp,
    /// The peer broke the protocol, or refuses the certificate, or there is nothing that both sides accept.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// The handshake permit was revoked before the handshake was over.
    #[error("the connection made way for others")]
    MadeWay,
    /// The handshake was not over in time.
    #[error("the handshake of TLS was not over in time")]
    Late,
    /// The peer has closed the connection.
    #[error("the peer has gone: {0}")]
    Gone(#[from] io::Error),
}

impl HandshakeError {
    /// Returns the refusal that is counted; `None` for a peer that has closed the connection.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::PlainHttp | Self::Tls(_) => Some(Refusal::Tls),
            Self::Late => Some(Refusal::Timeout),
            Self::MadeWay => Some(Refusal::MadeWay),
            Self::Gone(_) => None,
        }
    }

    /// Returns the bytes that tell the peer why. A peer that speaks TLS got an alert already.
    pub(super) fn answer(&self) -> Vec<u8> {
        match self {
            Self::PlainHttp => respond::raw(&Refusal::Tls),
            Self::Tls(_) | Self::Late | Self::MadeWay | Self::Gone(_) => Vec::new(),
        }
    }
}

/// A connection after its handshake, and the plaintext that came with its last message.
type Established = (Box<Tls>, Vec<u8>);

/// Makes the handshake of TLS with the peer of a socket.
///
/// # Errors
/// There is no connection. The alert that says why is sent, if the socket has taken it.
pub(super) async fn accept(
    socket: &Socket,
    config: Arc<ServerConfig>,
    revocation: &Revocation,
    deadline: Instant,
) -> Result<Established, HandshakeError> {
    match in_time(shake_hands(socket, config), revocation, deadline).await {
        Ok(done) => done,
        Err(Unfinished::Late) => Err(HandshakeError::Late),
        Err(Unfinished::MadeWay) => Err(HandshakeError::MadeWay),
    }
}

async fn shake_hands(socket: &Socket, config: Arc<ServerConfig>) -> Result<Established, HandshakeError> {
    let mut tls = Box::new(Tls::new(config)?);
    let (mut plain, mut is_first) = (Vec::new(), true);
    loop {
        let received = poll_fn(|cx| poll_receive(socket, &mut tls, &mut plain, is_first, cx)).await;
        is_first = false;
        poll_fn(|cx| poll_flush(socket, &mut tls, cx)).await?;
        received?;
        if !tls.is_handshaking() {
            return Ok((tls, plain));
        }
    }
}

/// Reads once, and processes what has come.
fn poll_receive(
    socket: &Socket,
    tls: &mut Tls,
    plain: &mut Vec<u8>,
    is_first: bool,
    cx: &mut Context<'_>,
) -> Poll<Result<(), HandshakeError>> {
    // On the stack of the poll, so that the future stays small.
    let mut buffer = [0; READ_BYTES];
    let read = ready!(socket.poll_read(cx, &mut buffer))?;
    if read == 0 {
        return Poll::Ready(Err(HandshakeError::Gone(io::ErrorKind::UnexpectedEof.into())));
    }
    // A method begins with a letter.
    if is_first && buffer[0] != HANDSHAKE && buffer[0].is_ascii_alphabetic() {
        return Poll::Ready(Err(HandshakeError::PlainHttp));
    }
    tls.receive(&mut buffer[..read], |part| plain.extend_from_slice(part))?;
    Poll::Ready(Ok(()))
}

/// Sends the ciphertext that waits.
pub(super) fn poll_flush(socket: &Socket, tls: &mut Tls, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    if !tls.wants_write() {
        return Poll::Ready(Ok(()));
    }
    socket.poll_write_with(cx, |socket| match tls.flush(|bytes| sink::send(socket, bytes))? {
        true => Ok(()),
        false => Err(io::ErrorKind::WouldBlock.into()),
    })
}
