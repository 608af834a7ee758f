//! The authorities that may have signed the certificate of another server, from a file in PEM or from the machine, and
//! the certificate of the client itself.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

/// The certificate that a client shows to the server, and its private key.
#[derive(Debug, Clone, Copy)]
pub struct OwnCertificate<'a> {
    /// File with the certificate and those that lead to an authority, in PEM.
    pub cert_file: &'a Path,
    /// File with the private key in PEM.
    pub key_file: &'a Path,
}

/// Returns the TLS configuration of a client that trusts these authorities, and shows a certificate or none.
///
/// # Errors
/// The cryptography of this build cannot be used, or a file cannot; the text names it.
pub fn configuration(roots: RootCertStore, own: Option<OwnCertificate<'_>>) -> Result<ClientConfig, String> {
    let builder = builder(roots)?;
    let Some(OwnCertificate { cert_file, key_file }) = own else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(cert_file)?;
    let key = PrivateKeyDer::from_pem_slice(&read(key_file)?)
        .map_err(|error| format!("no private key in {}: {error}", key_file.display()))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| format!("{} and its key cannot be used: {error}", cert_file.display()))
}

fn builder(roots: RootCertStore) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, String> {
    // The provider is named, because a process that links two of them has no default.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots))
}

/// Returns the authorities in a file, or those that this machine trusts.
///
/// # Errors
/// There are none; the text says where they were looked for.
pub fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, String> {
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
        return Err(format!("this machine trusts no authority ({:?})", found.errors));
    }
    Ok(roots)
}

/// Returns the certificates in a file, at least one.
///
/// # Errors
/// The file cannot be read, or is not PEM, or holds none.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match all {
        Ok(certificates) if certificates.is_empty() => Err(format!("no certificate in {}", path.display())),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("{} is not PEM: {error}", path.display())),
    }
}

/// Returns the content of a file.
///
/// # Errors
/// The file cannot be read; the text names it.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}
