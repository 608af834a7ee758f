//! The token of a client: none, one for all connections, or a function that gets a fresh one.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio_tungstenite::tungstenite::http::HeaderValue;

use super::error::BuildError;

/// A fresh token that is being got, or why there is none.
pub(super) type Fetching = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

/// The source of tokens. Cloning it is cheap.
#[derive(Clone, Default)]
pub(super) enum TokenSource {
    #[default]
    None,
    Fixed(String),
    Fresh(Arc<dyn Fn() -> Fetching + Send + Sync>),
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Fixed(_) => "Fixed(…)",
            Self::Fresh(_) => "Fresh(…)",
        })
    }
}

impl TokenSource {
    /// Makes the source that asks a function of the program.
    pub(super) fn fresh<F, T, E>(get: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<String, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Self::Fresh(Arc::new(move || {
            let token = get();
            Box::pin(async move { token.await.map_err(|error| format!("no token: {}", error.into())) })
        }))
    }

    /// Returns true for a token that does not change: once it has expired, there is no other.
    pub(super) fn is_fixed(&self) -> bool {
        matches!(self, Self::Fixed(_))
    }

    /// Returns true where a function gets fresh tokens.
    pub(super) fn fetches(&self) -> bool {
        matches!(self, Self::Fresh(_))
    }

    /// Begins to get a fresh token; returns `None` where there is no function for it.
    pub(super) fn fetch(&self) -> Option<Fetching> {
        match self {
            Self::Fresh(get) => Some(get()),
            Self::None | Self::Fixed(_) => None,
        }
    }

    /// Checks a token that does not change.
    pub(super) fn check(&self) -> Result<(), BuildError> {
        match self {
            Self::Fixed(token) => bearer(token).map(drop),
            Self::None | Self::Fresh(_) => Ok(()),
        }
    }

    /// Returns the value of the header `Authorization` for one connection.
    pub(super) async fn header(&self) -> Result<Option<HeaderValue>, String> {
        let token = match self {
            Self::None => return Ok(None),
            Self::Fixed(token) => token.clone(),
            Self::Fresh(get) => get().await?,
        };
        bearer(&token).map(Some).map_err(|error| error.to_string())
    }
}

/// Returns the value of the header `Authorization`, marked as sensitive so that no library shows it.
fn bearer(token: &str) -> Result<HeaderValue, BuildError> {
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(BuildError::Token);
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| BuildError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}
