//! `wss://`, with the root certificates of the system: a server of one's own often has a certificate of one's own.

#[cfg(feature = "tls")]
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::handshake::client::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::error::BuildError;

type Connected = Result<(WebSocketStream<MaybeTlsStream<TcpStream>>, Response), Error>;

/// What is needed to encrypt; read once, not for every connection.
#[cfg(feature = "tls")]
#[derive(Clone)]
pub(super) struct Tls(Option<Arc<rustls::ClientConfig>>);

#[cfg(feature = "tls")]
impl Tls {
    /// Reads the root certificates if they are needed.
    pub(super) fn new(is_secure: bool) -> Result<Self, BuildError> {
        if !is_secure {
            return Ok(Self(None));
        }
        let found = rustls_native_certs::load_native_certs();
        let mut roots = rustls::RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            return Err(BuildError::Tls(format!("no root certificates on this system: {:?}", found.errors)));
        }
        // Named, not left to the process: a program with two providers has none by default.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| BuildError::Tls(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Some(Arc::new(config))))
    }

    pub(super) fn connect(
        self,
        request: Request,
        config: WebSocketConfig,
    ) -> impl Future<Output = Connected> {
        let connector =
            self.0.map_or(tokio_tungstenite::Connector::Plain, tokio_tungstenite::Connector::Rustls);
        tokio_tungstenite::connect_async_tls_with_config(request, Some(config), true, Some(connector))
    }
}

/// Nothing: built without.
#[cfg(not(feature = "tls"))]
#[derive(Clone)]
pub(super) struct Tls;

#[cfg(not(feature = "tls"))]
impl Tls {
    pub(super) fn new(is_secure: bool) -> Result<Self, BuildError> {
        if is_secure {
            return Err(BuildError::Tls("this program was built without the feature `tls`".to_owned()));
        }
        Ok(Self)
    }

    pub(super) fn connect(
        self,
        request: Request,
        config: WebSocketConfig,
    ) -> impl Future<Output = Connected> {
        tokio_tungstenite::connect_async_with_config(request, Some(config), true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_encryption_no_certificates_are_needed() {
        assert!(Tls::new(false).is_ok());
        #[cfg(not(feature = "tls"))]
        assert!(Tls::new(true).is_err());
    }
}
