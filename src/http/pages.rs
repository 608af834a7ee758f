//! The pages that need no application: the files that browsers load, and the health checks.

use std::sync::OnceLock;

use bytes::Bytes;
use hyper::StatusCode;

use super::body::Response;
use super::request::Request;
use super::respond;
use crate::deflate::gzip;

/// A file that is compiled into the binary.
#[derive(Debug)]
pub struct File {
    path: &'static str,
    kind: Kind,
    body: &'static str,
    /// The compressed body, once a browser has asked for it.
    compressed: OnceLock<Bytes>,
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
    Manifest,
}

const fn new(path: &'static str, kind: Kind, body: &'static str) -> File {
    File { path, kind, body, compressed: OnceLock::new() }
}

/// The files that browsers load, by path.
static FILES: [File; 46] = [
    new("/", Kind::Page, include_str!("../web/index.html")),
    new("/app.js", Kind::Script, include_str!("../web/app.js")),
    new("/state.js", Kind::Script, include_str!("../web/state.js")),
    new("/text.js", Kind::Script, include_str!("../web/text.js")),
    new("/messages.js", Kind::Script, include_str!("../web/messages.js")),
    new("/log.js", Kind::Script, include_str!("../web/log.js")),
    new("/lists.js", Kind::Script, include_str!("../web/lists.js")),
    new("/history.js", Kind::Script, include_str!("../web/history.js")),
    new("/events.js", Kind::Script, include_str!("../web/events.js")),
    new("/send.js", Kind::Script, include_str!("../web/send.js")),
    new("/rooms.js", Kind::Script, include_str!("../web/rooms.js")),
    new("/route.js", Kind::Script, include_str!("../web/route.js")),
    new("/session.js", Kind::Script, include_str!("../web/session.js")),
    new("/entry.js", Kind::Script, include_str!("../web/entry.js")),
    new("/tabs.js", Kind::Script, include_str!("../web/tabs.js")),
    new("/field.js", Kind::Script, include_str!("../web/field.js")),
    new("/composer.js", Kind::Script, include_str!("../web/composer.js")),
    new("/complete.js", Kind::Script, include_str!("../web/complete.js")),
    new("/commands.js", Kind::Script, include_str!("../web/commands.js")),
    new("/emoji.js", Kind::Script, include_str!("../web/emoji.js")),
    new("/listbox.js", Kind::Script, include_str!("../web/listbox.js")),
    new("/switcher.js", Kind::Script, include_str!("../web/switcher.js")),
    new("/browse.js", Kind::Script, include_str!("../web/browse.js")),
    new("/handover.js", Kind::Script, include_str!("../web/handover.js")),
    new("/settings.js", Kind::Script, include_str!("../web/settings.js")),
    new("/alerts.js", Kind::Script, include_str!("../web/alerts.js")),
    new("/countdown.js", Kind::Script, include_str!("../web/countdown.js")),
    new("/page.js", Kind::Script, include_str!("../web/page.js")),
    new("/dom.js", Kind::Script, include_str!("../web/dom.js")),
    new("/client.js", Kind::PublicScript, include_str!("../web/client.js")),
    new("/style.css", Kind::Style, include_str!("../web/style.css")),
    new("/manifest.webmanifest", Kind::Manifest, include_str!("../web/manifest.webmanifest")),
    new("/dashboard", Kind::Page, include_str!("../web/dashboard.html")),
    new("/dashboard.js", Kind::Script, include_str!("../web/dashboard.js")),
    new("/control.js", Kind::Script, include_str!("../web/control.js")),
    new("/feed.js", Kind::Script, include_str!("../web/feed.js")),
    new("/figures.js", Kind::Script, include_str!("../web/figures.js")),
    new("/tables.js", Kind::Script, include_str!("../web/tables.js")),
    new("/states.js", Kind::Script, include_str!("../web/states.js")),
    new("/export.js", Kind::Script, include_str!("../web/export.js")),
    new("/dashboard.css", Kind::Style, include_str!("../web/dashboard.css")),
    new("/stats.js", Kind::Script, include_str!("../web/stats.js")),
    new("/nodes.js", Kind::Script, include_str!("../web/nodes.js")),
    new("/plot.js", Kind::Script, include_str!("../web/plot.js")),
    new("/icon.svg", Kind::Icon, include_str!("../web/icon.svg")),
    new("/icon-unread.svg", Kind::Icon, include_str!("../web/icon-unread.svg")),
];

/// Returns the file at a path.
#[must_use]
pub fn file(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

impl File {
    /// Returns the response to a GET for the file, compressed if the client takes that.
    #[must_use]
    pub fn response(&'static self, request: Request<'_>) -> Response {
        let takes_gzip = request.headers("accept-encoding").any(names_gzip);
        let body = if takes_gzip {
            self.compressed.get_or_init(|| gzip(self.body.as_bytes()).into()).clone()
        } else {
            Bytes::from_static(self.body.as_bytes())
        };
        let response = match self.kind {
            Kind::Page => respond::html(body),
            Kind::Script => respond::file("text/javascript; charset=utf-8", body),
            Kind::PublicScript => respond::public(respond::file("text/javascript; charset=utf-8", body)),
            Kind::Style => respond::file("text/css; charset=utf-8", body),
            Kind::Icon => respond::file("image/svg+xml", body),
            Kind::Manifest => respond::file("application/manifest+json", body),
        };
        respond::varying(response, takes_gzip.then_some("gzip"))
    }
}

/// Whether the value of an `Accept-Encoding` header names gzip, and not with the weight 0 (RFC 9110, section 12.5.3).
fn names_gzip(value: &[u8]) -> bool {
    let Ok(value) = std::str::from_utf8(value) else { return false };
    value.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_refused = |weight: &str| weight.trim_start_matches("q=").parse() == Ok(0.0);
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip")) && !parts.any(is_refused)
    })
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

    fn get(path: &str, accepted: Option<&str>) -> Response {
        let mut request = hyper::Request::get(path);
        if let Some(accepted) = accepted {
            request = request.header("accept-encoding", accepted);
        }
        file(path).unwrap().response(Request::new(&request.body(()).unwrap(), &[]))
    }

    #[test]
    fn pages_have_the_headers_that_protect_them() {
        for path in ["/", "/dashboard"] {
            let page = get(path, None);
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
        let scripts = FILES.iter().filter(|file| matches!(file.kind, Kind::Script | Kind::PublicScript));
        for script in scripts {
            for sink in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("]
            {
                assert!(!script.body.contains(sink), "{}: {sink}", script.path);
            }
        }
    }

    #[test]
    fn everything_that_the_pages_load_or_link_to_exists() {
        for (path, expected) in [
            (
                "/",
                &[
                    "icon.svg",
                    "manifest.webmanifest",
                    "style.css",
                    "dashboard",
                    "app.js",
                    "icon.svg",
                    "icon.svg",
                ][..],
            ),
            ("/dashboard", &["icon.svg", "style.css", "dashboard.css", "./", "dashboard", "dashboard.js"]),
        ] {
            let page = file(path).unwrap().body;
            let attributes =
                page.split("href=\"").chain(page.split("src=\"")).filter(|part| !part.contains("<!"));
            let loaded: Vec<_> = attributes.map(|part| part.split('"').next().unwrap()).collect();
            assert_eq!(loaded, expected, "{path}");
            for name in loaded {
                assert!(file(&format!("/{}", name.trim_start_matches("./"))).is_some(), "{name}");
            }
        }
        for script in FILES.iter().filter(|file| file.path.ends_with(".js")) {
            let imports = script.body.split("from \"./").skip(1).map(|rest| rest.split('"').next().unwrap());
            for name in imports {
                assert!(file(&format!("/{name}")).is_some(), "{} imports {name}", script.path);
            }
        }
    }

    #[test]
    fn files_are_compressed_for_clients_that_take_it() {
        for (accepted, expected) in [
            (None, None),
            (Some("br, deflate"), None),
            (Some("gzip;q=0, *"), None),
            (Some("x-gzip"), None),
            (Some("gzip, deflate, br, zstd"), Some("gzip")),
            (Some("deflate;q=0.5,GZIP ; q=0.1"), Some("gzip")),
        ] {
            let response = get("/app.js", accepted);
            let encoding = response.headers().get("content-encoding").map(|value| value.to_str().unwrap());
            assert_eq!(encoding, expected, "{accepted:?}");
            assert_eq!(response.headers()["vary"], "accept-encoding");
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
