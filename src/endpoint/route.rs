//! Maps the path of a request to its endpoint.

/// The endpoint that serves a path, over a WebSocket or with server-sent events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `/ws`: sends each message back, text with a prefix.
    Echo,
    /// `/ws/secure`: sends text back with the user's name. Needs a token.
    Secure,
    /// `/ws/messages`: validates JSON messages and answers them.
    Messages,
    /// `/ws/with-timeout`: sends text back, and ends a connection that sends no message for too long.
    WithTimeout,
    /// `/ws/heartbeat`: sends heartbeats that the client has to acknowledge.
    Heartbeat,
    /// `/ws/chat/{user_id}`: rooms, private messages and presence.
    Chat,
    /// `/sse/{room}`: the messages of a room as server-sent events.
    Stream,
}

/// The start of the chat's paths. The user id follows, percent-encoded, and contains no `/`.
pub const CHAT_PREFIX: &str = "/ws/chat/";
/// The start of the paths of server-sent events. The room's name follows, percent-encoded, and contains no `/`.
pub const STREAM_PREFIX: &str = "/sse/";

impl Route {
    /// Returns the endpoint that serves `path`, which must not include the query; `None` when no endpoint does. The
    /// user id in a chat path is not checked here.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        Some(match path {
            "/ws" => Self::Echo,
            "/ws/secure" => Self::Secure,
            "/ws/messages" => Self::Messages,
            "/ws/with-timeout" => Self::WithTimeout,
            "/ws/heartbeat" => Self::Heartbeat,
            _ => {
                let all = [(CHAT_PREFIX, Self::Chat), (STREAM_PREFIX, Self::Stream)];
                let found =
                    all.into_iter().find_map(|(prefix, route)| Some((path.strip_prefix(prefix)?, route)));
                found.filter(|(segment, _)| !segment.contains('/'))?.1
            }
        })
    }

    /// Returns the endpoint's name in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Secure => "secure",
            Self::Messages => "messages",
            Self::WithTimeout => "with-timeout",
            Self::Heartbeat => "heartbeat",
            Self::Chat => "chat",
            Self::Stream => "sse",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_one_endpoint_or_to_none() {
        assert_eq!(Route::parse("/ws"), Some(Route::Echo));
        assert_eq!(Route::parse("/ws/chat/a%20b"), Some(Route::Chat));
        assert_eq!(Route::parse("/ws/chat/"), Some(Route::Chat));
        assert_eq!(Route::parse("/sse/lobby"), Some(Route::Stream));
        for path in ["/sse", "/sse/a/b", "/ws/", "/ws/chat", "/ws/chat/a/b", "/ws/other", "/", "/WS"] {
            assert_eq!(Route::parse(path), None, "{path}");
        }
    }
}
