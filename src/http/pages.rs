//! The pages that need no application: what this is, and whether it is well.

use bytes::Bytes;
use hyper::StatusCode;

use super::{Response, respond};

const INDEX: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>throng</title>
<h1>throng</h1>
<p>A chat server for very many WebSocket connections.
<h2>WebSocket endpoints</h2>
<dl>
<dt><code>/ws/chat/{user_id}</code> <dd>the chat; <code>?room=NAME</code> enters another room than the default one
<dt><code>/ws</code> <dd>echo; <code>?raw</code> brings text and binary back untouched
<dt><code>/ws/secure</code> <dd>a line of chat for those who show a token
<dt><code>/ws/messages</code> <dd>validated messages
<dt><code>/ws/with-timeout</code> <dd>closes when nothing is said; <code>?timeout=5s</code>
<dt><code>/ws/heartbeat</code> <dd>a heartbeat in the application's words
</dl>
<h2>For operators</h2>
<p><a href="/healthz">health</a>, <a href="/readyz">readiness</a>, <a href="/metrics">metrics</a>
</html>
"#;

/// `GET /`.
#[must_use]
pub fn index() -> Response {
    respond::html(Bytes::from_static(INDEX.as_bytes()))
}

/// `GET /healthz`: the process answers, whatever else it does.
#[must_use]
pub fn healthz() -> Response {
    respond::text(StatusCode::OK, "ok\n")
}

/// Whether new connections are wanted here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Yes.
    Ready,
    /// No: the server is going away.
    Draining,
    /// No: the engine behind the rooms does not answer.
    NoEngine,
}

/// `GET /readyz`: 200, or 503 with the reason.
#[must_use]
pub fn readyz(readiness: Readiness) -> Response {
    match readiness {
        Readiness::Ready => respond::text(StatusCode::OK, "ready\n"),
        Readiness::Draining => respond::text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        Readiness::NoEngine => respond::text(StatusCode::SERVICE_UNAVAILABLE, "engine unavailable\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_tell_browsers_to_be_careful() {
        let page = index();
        assert_eq!(page.headers()["x-content-type-options"], "nosniff");
        let policy = page.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        // The policy lets nothing inline through, so there must be nothing.
        assert!(!INDEX.contains("<style") && !INDEX.contains("style=") && !INDEX.contains("<script"));
    }

    #[test]
    fn readiness_is_a_status() {
        assert_eq!(readyz(Readiness::Ready).status(), 200);
        assert_eq!(readyz(Readiness::Draining).status(), 503);
        assert_eq!(readyz(Readiness::NoEngine).status(), 503);
    }
}
