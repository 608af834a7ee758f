//! The TLS configuration of a connection, from files in PEM.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::reason::DownReason;
use super::settings::TlsSettings;

/// Reads the files, and returns the configuration of a connection.
///
/// # Errors
/// A file cannot be read, or holds nothing usable. The text names the file.
pub(super) async fn configuration(settings: TlsSettings) -> Result<Arc<ClientConfig>, DownReason> {
    // On a thread for waiting: the disk may be slow, or far away.
    let built = tokio::task::spawn_blocking(move || build(&settings)).await;
    match built {
        Ok(Ok(config)) => Ok(Arc::new(config)),
        Ok(Err(text)) => Err(DownReason::Tls(text)),
        Err(error) => Err(DownReason::Tls(error.to_string())),
    }
}

fn build(settings: &TlsSettings) -> Result<ClientConfig, String> {
    // The provider is named, because a process that links two of them has no default.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots(settings.ca_file.as_deref())?);
    let Some((certificate, key)) = &settings.identity else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|error| format!("no private key in {}: {error}", key.display()))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| format!("{} and its key cannot be used: {error}", certificate.display()))
}

/// Returns the authorities in a file, or those that this machine trusts.
fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca_file {
        for certificate in certificates(path)? {
            roots
                .add(certificate)
                .map_err(|error| format!("a certificate in {}: {error}", path.display()))?;
        }
        return Ok(roots);
    }
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(format!("this machine trusts no authority: set redis.ca_file ({:?})", found.errors));
    }
    Ok(roots)
}

/// Returns the certificates in a file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match all {
        Ok(certificates) if certificates.is_empty() => Err(format!("no certificate in {}", path.display())),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("{} is not PEM: {error}", path.display())),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}
