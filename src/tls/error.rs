//! Why a TLS connection ends before its time.

use std::io;

use thiserror::Error;

/// Why a TLS connection has to end. [`Tls::flush`](super::Tls::flush) sends the alert that tells the peer, where there
/// is one.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The peer broke the protocol, or there is no version, cipher or certificate that both sides accept.
    #[error("{0}")]
    Protocol(#[from] rustls::Error),
    /// A message is longer than what is held of one.
    #[error("a message of TLS is longer than the server accepts")]
    TooLong,
    /// The peer causes answers and does not read them.
    #[error("the peer does not read the answers of TLS")]
    Unread,
    /// The connection has failed before, or its end was announced.
    #[error("the TLS connection has ended")]
    Ended,
    /// The connection ended without the peer's announcement, so that something may be missing (RFC 8446, section 6.1).
    #[error("the connection was cut off: the peer has not announced its end")]
    Truncated,
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        let kind = match error {
            TlsError::Truncated => io::ErrorKind::UnexpectedEof,
            TlsError::Protocol(_) | TlsError::TooLong | TlsError::Unread | TlsError::Ended => {
                io::ErrorKind::InvalidData
            }
        };
        Self::new(kind, error)
    }
}
