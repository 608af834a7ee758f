//! What an error of the socket means, in words, and whether coming back can help.

use std::time::Duration;

use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::{ProtocolError, UrlError};
use tokio_tungstenite::tungstenite::http::header::RETRY_AFTER;
use tokio_tungstenite::tungstenite::http::{HeaderMap, StatusCode};

use super::core::Lost;

/// How the reason begins where nobody that is trusted has signed the server's certificate:
/// [`Builder::ca`](super::Builder::ca) can help.
pub const UNTRUSTED: &str = "the server's certificate is not trusted";

/// What an error says about coming back: a failure that will be the same the next time is final.
pub(super) fn lost(error: Error) -> Lost {
    let (is_final, reason) = match &error {
        Error::Http(response) => return refused(response.status(), response.headers()),
        Error::Io(io) => match io.get_ref().and_then(super::tls::flaw) {
            Some(flaw) => (true, flaw),
            None => (false, error.to_string()),
        },
        Error::Url(UrlError::UnableToConnect(_)) => (false, error.to_string()),
        // Of TLS itself: the server's name is one that no certificate can have.
        Error::Url(_) | Error::HttpFormat(_) | Error::Tls(_) => (true, error.to_string()),
        Error::Protocol(protocol) if is_no_chat(protocol) => {
            (true, format!("the server speaks no throng.v1: {protocol}"))
        }
        _ => (false, error.to_string()),
    };
    Lost { is_final, ..Lost::because(reason) }
}

/// An answer that is no upgrade. Too early, too late and too often pass, and so does what is the server's own fault.
fn refused(status: StatusCode, headers: &HeaderMap) -> Lost {
    let is_early =
        matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS);
    let is_final = !is_early && !status.is_server_error();
    Lost { retry_after: seconds(headers), is_final, ..Lost::because(format!("HTTP {status}")) }
}

fn seconds(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// An upgrade, but not to this dialect, or by something that only looks like a WebSocket server.
fn is_no_chat(error: &ProtocolError) -> bool {
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
    fn a_refusal_in_http_is_final_unless_it_speaks_of_the_moment() {
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
            let lost = lost(Error::Http(Box::new(response)));
            assert_eq!(
                (lost.is_final, lost.retry_after),
                (is_final, Some(Duration::from_secs(7))),
                "{status}"
            );
            assert!(lost.ended.reason.contains(&status.to_string()), "{lost:?}");
        }
    }

    #[test]
    fn what_the_network_does_passes_and_what_the_server_is_does_not() {
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
            assert_eq!(lost(error).is_final, is_final, "{shown}");
        }
    }
}
