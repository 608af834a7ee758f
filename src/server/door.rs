//! The addresses that a server listens on, and the paths that each of them serves.

use super::api;
use crate::http::pages;

/// The listening address that a socket has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// `listen`, where there is no other address: everything is served.
    Only,
    /// `listen` beside `api.listen`: everything but what is for operators and backends.
    Public,
    /// `api.listen`: what is for operators and backends.
    Api,
}

impl Door {
    /// Returns true when a path exists behind this door.
    pub(super) fn has(self, path: &str) -> bool {
        let is_for_operators = path.starts_with(api::PREFIX) || matches!(path, "/metrics" | "/dashboard");
        match self {
            Self::Only => true,
            Self::Public => !is_for_operators,
            // The files are those that the dashboard loads.
            Self::Api => {
                let is_file = path != "/" && pages::file(path).is_some();
                is_for_operators || is_file || matches!(path, "/healthz" | "/readyz")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_door_has_its_paths() {
        for (path, public, api) in [
            ("/", true, false),
            ("/ws", true, false),
            ("/ws/chat/alice", true, false),
            ("/app.js", true, true),
            ("/rooms", true, false),
            ("/healthz", true, true),
            ("/readyz", true, true),
            ("/dashboard", false, true),
            ("/metrics", false, true),
            ("/api/publish", false, true),
            ("/api/stats/stream", false, true),
            ("/nothing", true, false),
        ] {
            assert_eq!((Door::Public.has(path), Door::Api.has(path)), (public, api), "{path}");
            assert!(Door::Only.has(path), "{path}");
        }
    }
}
