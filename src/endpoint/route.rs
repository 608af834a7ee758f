//! Maps the path of an upgrade request to its endpoint.

/// The endpoint that serves a WebSocket path.
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
}

/// The start of the chat's paths. The user id follows, percent-encoded, and contains no `/`.
pub const CHAT_PREFIX: &str = "/ws/chat/";

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
                path.strip_prefix(CHAT_PREFIX).filter(|segment| !segment.contains('/'))?;
                Self::Chat
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
        for path in ["/ws/", "/ws/chat", "/ws/chat/a/b", "/ws/other", "/", "/WS"] {
            assert_eq!(Route::parse(path), None, "{path}");
        }
    }
}
