//! Builds all responses: those of refusals, and those of pages with the headers that protect them.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, HeaderValue, REFERRER_POLICY, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE, VARY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use tokio::sync::mpsc;

use super::body::{Body, Response};
use crate::admission::Refusal;

/// The content security policy of the pages: they may load files of this server and connect to it, and have nothing
/// inline.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Builds the response for a refusal, which closes the connection.
#[must_use]
pub fn refusal(refusal: &Refusal) -> Response {
    let mut response = Response::new(Body::from(Bytes::from(body(refusal))));
    // All statuses of refusals are valid, as a test checks.
    *response.status_mut() = StatusCode::from_u16(refusal.status()).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    if let Some(seconds) = refusal.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    match refusal {
        Refusal::Method { allow } => {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        Refusal::NoUpgrade | Refusal::Version => {
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            // RFC 9110, sections 7.8 and 15.5.22: a 426 names the protocol to upgrade to in both headers.
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade, close"));
        }
        Refusal::Unauthorized | Refusal::ApiKey => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // These need no further header. They are listed, so that a new refusal has to be decided on.
        Refusal::Malformed(_) | Refusal::HeadTooLarge | Refusal::Timeout | Refusal::UnknownPath => {}
        Refusal::Origin | Refusal::Forbidden(_) | Refusal::Conflict | Refusal::AtCapacity => {}
        Refusal::ConnectionsPerAddress | Refusal::HandshakesPerAddress | Refusal::TooManyViewers => {}
        Refusal::MadeWay | Refusal::Draining | Refusal::NoEngine | Refusal::Tls => {}
    }
    response
}

/// Builds the response for a refusal as bytes, for connections on which hyper does not write.
#[must_use]
pub fn raw(refusal: &Refusal) -> Vec<u8> {
    let body = body(refusal);
    let status = StatusCode::from_u16(refusal.status()).unwrap_or_default();
    let length = body.len();
    let retry_after = refusal.retry_after().map_or_else(String::new, |s| format!("retry-after: {s}\r\n"));
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n{retry_after}\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Builds the JSON body. Nothing needs escaping: the codes and texts are constants without quotes, backslashes or
/// control characters.
fn body(refusal: &Refusal) -> String {
    format!(r#"{{"error":{{"code":"{}","message":"{refusal}"}}}}"#, refusal.code())
}

/// Builds a response of plain text, which is about this moment and therefore not cached.
#[must_use]
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Response {
    let body: Bytes = body.into();
    plain(status, "text/plain; charset=utf-8", body)
}

/// Builds a response with metrics in the text format of Prometheus.
#[must_use]
pub fn metrics(body: String) -> Response {
    plain(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", Bytes::from(body))
}

/// Builds a response of JSON to a call.
#[must_use]
pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Response {
    let body: Bytes = body.into();
    plain(status, "application/json", body)
}

/// Builds a page of HTML under a strict content security policy: scripts and styles only from files of this server.
#[must_use]
pub fn html(body: impl Into<Bytes>) -> Response {
    let body: Bytes = body.into();
    let mut response = plain(StatusCode::OK, "text/html; charset=utf-8", body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
    // The address of a page may hold a session or a token.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Builds the response for a file that a page loads. Browsers cache it, but revalidate it before each use, so that a
/// page and its scripts are of one version of the server.
#[must_use]
pub fn file(content_type: &'static str, body: Bytes) -> Response {
    let mut response = plain(StatusCode::OK, content_type, body);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Lets pages of any origin read a response, which must not depend on the user.
#[must_use]
pub fn public(mut response: Response) -> Response {
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

/// Says that the body depends on what the client accepts, and in which encoding it is.
#[must_use]
pub fn varying(mut response: Response, encoding: Option<&'static str>) -> Response {
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if let Some(encoding) = encoding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

/// Builds a stream of server-sent events; each part holds whole events. Proxies are told not to buffer or cache it.
#[must_use]
pub fn events(parts: mpsc::Receiver<Bytes>) -> Response {
    let mut response = plain(StatusCode::OK, "text/event-stream", Body::parts(parts));
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    // Without this header nginx would collect 4 KiB and more before it sends anything.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// Builds a response of any content type, which browsers are told not to guess.
#[must_use]
pub fn plain(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Check;
    use crate::admission::tests::ALL;

    #[test]
    fn every_refusal_becomes_a_response_that_closes() {
        let checks = [
            Check::Syntax,
            Check::Http2,
            Check::HttpVersion,
            Check::Host,
            Check::Key,
            Check::Proxy,
            Check::Body,
        ];
        for each in ALL.into_iter().chain(checks.map(Refusal::Malformed)) {
            let response = refusal(&each);
            assert_eq!(response.status().as_u16(), each.status());
            assert!(response.status().is_client_error() || response.status().is_server_error());
            assert!(response.headers()[CONNECTION].to_str().unwrap().contains("close"));
            assert_eq!(response.headers().contains_key(RETRY_AFTER), matches!(each.status(), 429 | 503));
            let json: serde_json::Value = serde_json::from_str(&body(&each)).unwrap();
            assert_eq!(json["error"]["code"], each.code());
            assert_eq!(json["error"]["message"], each.to_string());
        }
    }

    #[test]
    fn refusals_name_what_would_be_accepted() {
        let header = |each: Refusal, name| refusal(&each).headers().get(name).cloned();
        assert_eq!(header(Refusal::Method { allow: "GET" }, ALLOW).unwrap(), "GET");
        assert_eq!(header(Refusal::NoUpgrade, UPGRADE).unwrap(), "websocket");
        assert_eq!(header(Refusal::Version, SEC_WEBSOCKET_VERSION).unwrap(), "13");
        assert_eq!(header(Refusal::Unauthorized, WWW_AUTHENTICATE).unwrap(), "Bearer");
    }
}
