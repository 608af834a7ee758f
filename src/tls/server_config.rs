//! How the server speaks TLS: versions, certificates, tickets, and whether clients need a certificate.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use thiserror::Error;

use super::certificates::Certificates;
use super::identity::{self, IdentityError};

/// Session tickets that a client gets after a handshake of TLS 1.3. A client comes back with one connection, and the
/// next handshake gives it another ticket.
const TICKETS: usize = 1;

/// Why a configuration cannot be made.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The cryptography of this build cannot be used, or the system has no random numbers.
    #[error("TLS cannot be used: {0}")]
    Unusable(rustls::Error),
    /// The file with the authorities is wrong.
    #[error(transparent)]
    Authorities(#[from] IdentityError),
    /// The authorities cannot be used.
    #[error("the authorities for client certificates cannot be used: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// Makes a configuration of TLS 1.2 and 1.3 with HTTP/1.1 as the only protocol (RFC 7301). Sessions are resumed by
/// tickets, whose keys change every six hours and are in this process alone. There is no early data, because it can be
/// replayed. Where there are `clients`, the handshake fails unless the client has a certificate of one of them.
///
/// # Errors
/// The cryptography cannot be used, or the authorities cannot.
pub fn server_config(
    certificates: Arc<Certificates>,
    clients: Option<RootCertStore>,
) -> Result<ServerConfig, ConfigError> {
    // The provider is named, because a process that links two of them has no default.
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(ConfigError::Unusable)?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(roots) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?,
        ),
    };
    let mut config = builder.with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = Ticketer::new().map_err(ConfigError::Unusable)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = TICKETS;
    config.max_early_data_size = 0;
    Ok(config)
}

/// Reads the authorities that may have signed the certificates of clients, from a file in PEM.
///
/// # Errors
/// The file cannot be read, or holds something else.
pub fn client_authorities(path: &Path) -> Result<RootCertStore, IdentityError> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in identity::certificates(path)?.into_iter().enumerate() {
        roots.add(certificate).map_err(|error| IdentityError::Wrong {
            path: path.into(),
            problem: format!("certificate {} cannot be used as an authority: {error}", index + 1),
        })?;
    }
    Ok(roots)
}
