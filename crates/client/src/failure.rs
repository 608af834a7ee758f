//! Turns a WebSocket error into a [`ConnectionEnd`]: a reason that a user can read, and whether another attempt can
//! succeed.

use std::time::Duration;

use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::{ProtocolError, UrlError};
use tokio_tungstenite::tungstenite::http::header::RETRY_AFTER;
use tokio_tungstenite::tungstenite::http::{HeaderMap, StatusCode};

use super::connection_end::ConnectionEnd;
use super::tls;

/// Returns the connection end for an error, with the reason as text. It is final if another attempt would fail in the
/// same way.
pub(super) fn connection_end_of(error: Error) -> ConnectionEnd {
    let (is_final, reason) = match &error {
        Error::Http(response) => return refused(response.status(), response.headers()),
        Error::Io(io) => match io.get_ref().and_then(tls::certificate_problem) {
            Some(problem) => (true, problem),
            None => (false, error.to_string()),
        },
        Error::Url(UrlError::UnableToConnect(_)) => (false, error.to_string()),
        // Failures of the TLS handshake come as `Error::Io`, above. `Error::Tls` remains for a host name that no
        // certificate can carry.
        Error::Url(_) | Error::HttpFormat(_) | Error::Tls(_) => (true, error.to_string()),
        Error::Protocol(protocol) if is_not_throng(protocol) => {
            (true, format!("the server does not speak the protocol throng.v1: {protocol}"))
        }
        _ => (false, error.to_string()),
    };
    ConnectionEnd { is_final, ..ConnectionEnd::with_reason(reason) }
}

/// Returns the connection end for an HTTP answer that is no upgrade. Timeouts, rate limits and errors of the server
/// itself are temporary.
fn refused(status: StatusCode, headers: &HeaderMap) -> ConnectionEnd {
    let is_temporary =
        matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS);
    let is_final = !is_temporary && !status.is_server_error();
    ConnectionEnd {
        retry_after: retry_after(headers),
        is_final,
        ..ConnectionEnd::with_reason(format!("HTTP {status}"))
    }
}

/// Returns the value of `Retry-After` when it is a number of seconds. A date is ignored.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// Returns true when the answer to the handshake shows that this is no WebSocket server, or one without the subprotocol
/// `throng.v1`.
fn is_not_throng(error: &ProtocolError) -> bool {
    matches!(
        error,
        ProtocolError::WrongHttpVersion
            | ProtocolError::MissingConnectionUpgradeHeader
            | ProtocolError::MissingUpgradeWebSocketHeader
            | ProtocolError::SecWebSocketAcceptKeyMismatch
            | ProtocolError::SecWebSocketSubProtocolError(_)
    )
}

#[cfg(test)]
mod tests {
    use std::io;

    use tokio_tungstenite::tungstenite::error::SubProtocolError;
    use tokio_tungstenite::tungstenite::http::Response;

    use super::*;

    #[test]
    fn an_http_answer_is_final_unless_its_status_is_temporary() {
        for (status, is_final) in [
            (200, true),
            (301, true),
            (400, true),
            (401, true),
            (403, true),
            (404, true),
            (409, true),
            (426, true),
            (408, false),
            (425, false),
            (429, false),
            (500, false),
            (502, false),
            (503, false),
        ] {
            let response = Response::builder().status(status).header("Retry-After", "7").body(None).unwrap();
            let end = connection_end_of(Error::Http(Box::new(response)));
            assert_eq!((end.is_final, end.retry_after), (is_final, Some(Duration::from_secs(7))), "{status}");
            assert!(end.ended.reason.contains(&status.to_string()), "{end:?}");
        }
    }

    #[test]
    fn network_errors_are_temporary_and_protocol_errors_final() {
        let io = |kind| Error::Io(io::Error::from(kind));
        let sub = ProtocolError::SecWebSocketSubProtocolError(SubProtocolError::NoSubProtocol);
        for (error, is_final) in [
            (io(io::ErrorKind::ConnectionRefused), false),
            (io(io::ErrorKind::ConnectionReset), false),
            (io(io::ErrorKind::UnexpectedEof), false),
            (Error::Url(UrlError::UnableToConnect("h".to_owned())), false),
            (Error::Protocol(ProtocolError::ResetWithoutClosingHandshake), false),
            (Error::Protocol(ProtocolError::HandshakeIncomplete), false),
            (Error::Protocol(sub), true),
            (Error::Protocol(ProtocolError::SecWebSocketAcceptKeyMismatch), true),
            (Error::Url(UrlError::UnsupportedUrlScheme), true),
            (Error::Url(UrlError::TlsFeatureNotEnabled), true),
        ] {
            let shown = error.to_string();
            assert_eq!(connection_end_of(error).is_final, is_final, "{shown}");
        }
    }
}
