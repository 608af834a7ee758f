//! The pages that need no application: the files that browsers load, and the health checks.

use bytes::Bytes;
use hyper::StatusCode;

use super::body::Response;
use super::respond;

/// A file that is compiled into the binary.
#[derive(Debug)]
pub struct File {
    path: &'static str,
    kind: Kind,
    body: &'static str,
}

/// The type of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Page,
    Script,
    /// A script that pages of other origins may import, too.
    PublicScript,
    Style,
    Icon,
}

/// The files that browsers load, by path.
const FILES: &[File] = &[
    File { path: "/", kind: Kind::Page, body: include_str!("../web/index.html") },
    File { path: "/app.js", kind: Kind::Script, body: include_str!("../web/app.js") },
    File { path: "/messages.js", kind: Kind::Script, body: include_str!("../web/messages.js") },
    File { path: "/countdown.js", kind: Kind::Script, body: include_str!("../web/countdown.js") },
    File { path: "/page.js", kind: Kind::Script, body: include_str!("../web/page.js") },
    File { path: "/client.js", kind: Kind::PublicScript, body: include_str!("../web/client.js") },
    File { path: "/style.css", kind: Kind::Style, body: include_str!("../web/style.css") },
    File { path: "/dashboard", kind: Kind::Page, body: include_str!("../web/dashboard.html") },
    File { path: "/dashboard.js", kind: Kind::Script, body: include_str!("../web/dashboard.js") },
    File { path: "/control.js", kind: Kind::Script, body: include_str!("../web/control.js") },
    File { path: "/dashboard.css", kind: Kind::Style, body: include_str!("../web/dashboard.css") },
    File { path: "/stats.js", kind: Kind::Script, body: include_str!("../web/stats.js") },
    File { path: "/nodes.js", kind: Kind::Script, body: include_str!("../web/nodes.js") },
    File { path: "/plot.js", kind: Kind::Script, body: include_str!("../web/plot.js") },
    File { path: "/icon.svg", kind: Kind::Icon, body: include_str!("../web/icon.svg") },
];

/// Returns the file at a path.
#[must_use]
pub fn file(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

impl File {
    /// Returns the response to a GET for the file.
    #[must_use]
    pub fn response(&self) -> Response {
        let body = Bytes::from_static(self.body.as_bytes());
        match self.kind {
            Kind::Page => respond::html(body),
            Kind::Script => respond::file("text/javascript; charset=utf-8", body),
            Kind::PublicScript => respond::public(respond::file("text/javascript; charset=utf-8", body)),
            Kind::Style => respond::file("text/css; charset=utf-8", body),
            Kind::Icon => respond::file("image/svg+xml", body),
        }
    }
}

/// Answers `GET /healthz`: 200 as long as the process answers at all.
#[must_use]
pub fn healthz() -> Response {
    respond::text(StatusCode::OK, "ok\n")
}

/// Whether the server accepts new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It does.
    Ready,
    /// It does not, because it is stopping.
    Draining,
    /// It does not, because messages cannot be published.
    NoEngine,
    /// It does not, because no keys have come to verify tokens with.
    NoKeys,
}

/// Answers `GET /readyz`: 200, or 503 with the reason.
#[must_use]
pub fn readyz(readiness: Readiness) -> Response {
    match readiness {
        Readiness::Ready => respond::text(StatusCode::OK, "ready\n"),
        Readiness::Draining => respond::text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        Readiness::NoEngine => respond::text(StatusCode::SERVICE_UNAVAILABLE, "engine unavailable\n"),
        Readiness::NoKeys => respond::text(StatusCode::SERVICE_UNAVAILABLE, "no keys for tokens\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_the_headers_that_protect_them() {
        for path in ["/", "/dashboard"] {
            let page = file(path).unwrap().response();
            assert_eq!(page.headers()["x-content-type-options"], "nosniff");
            let policy = page.headers()["content-security-policy"].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
            // The policy blocks everything inline, so that nothing may be inline.
            let page = file(path).unwrap().body;
            assert!(!page.contains("<style") && !page.contains("style="), "{path}");
            let is_handler = |part: &str| {
                part.trim_start_matches(|letter: char| letter.is_ascii_lowercase()).starts_with('=')
            };
            assert!(!page.split(" on").skip(1).any(is_handler), "an event handler in {path}");
            let of_ours = page.matches("<script type=\"module\" src=").count();
            assert_eq!(page.matches("<script").count(), of_ours, "{path}");
        }
    }

    #[test]
    fn texts_are_never_html() {
        for path in [
            "/app.js",
            "/messages.js",
            "/countdown.js",
            "/page.js",
            "/client.js",
            "/dashboard.js",
            "/control.js",
            "/stats.js",
            "/nodes.js",
            "/plot.js",
        ] {
            let script = file(path).unwrap().body;
            for sink in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("]
            {
                assert!(!script.contains(sink), "{path}: {sink}");
            }
        }
    }

    #[test]
    fn everything_that_the_pages_load_or_link_to_exists() {
        for (path, expected) in [
            ("/", &["icon.svg", "style.css", "dashboard", "app.js", "icon.svg", "icon.svg"][..]),
            ("/dashboard", &["icon.svg", "style.css", "dashboard.css", "./", "dashboard", "dashboard.js"]),
        ] {
            let page = file(path).unwrap().body;
            let attributes =
                page.split("href=\"").chain(page.split("src=\"")).filter(|part| !part.contains("<!"));
            let loaded: Vec<_> = attributes.map(|part| part.split('"').next().unwrap()).collect();
            assert_eq!(loaded, expected, "{path}");
            let imported = [
                "messages.js",
                "countdown.js",
                "page.js",
                "client.js",
                "control.js",
                "stats.js",
                "nodes.js",
                "plot.js",
            ];
            for name in loaded.into_iter().chain(imported) {
                assert!(file(&format!("/{}", name.trim_start_matches("./"))).is_some(), "{name}");
            }
        }
    }

    #[test]
    fn readiness_is_a_status() {
        assert_eq!(readyz(Readiness::Ready).status(), 200);
        assert_eq!(readyz(Readiness::Draining).status(), 503);
        assert_eq!(readyz(Readiness::NoEngine).status(), 503);
        assert_eq!(readyz(Readiness::NoKeys).status(), 503);
    }
}
