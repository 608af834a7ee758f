//! The socket.

use tokio_tungstenite::tungstenite::http::HeaderValue;

use super::error::BuildError;

pub(super) struct Dialer(Option<HeaderValue>);

impl Dialer {
    pub(super) fn new(_: bool, token: Option<HeaderValue>) -> Result<Self, BuildError> {
        Ok(Self(token))
    }

    pub(super) fn has_token(&self) -> bool {
        self.0.is_some()
    }
}
