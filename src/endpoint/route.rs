//! Maps the path of an upgrade request to its endpoint.

/// The endpoint that a WebSocket path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `/ws`
    Echo,
    /// `/ws/secure`
    Secure,
    /// `/ws/messages`
    Messages,
    /// `/ws/with-timeout`
    WithTimeout,
    /// `/ws/heartbeat`
    Heartbeat,
    /// `/ws/chat/{user_id}`
    Chat,
}

/// The prefix of the chat's paths; the user id follows.
pub const CHAT_PREFIX: &str = "/ws/chat/";

impl Route {
    /// Returns the route of a path, which is given without its query.
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

    /// Returns the route's name in logs.
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
