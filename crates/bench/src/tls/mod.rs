//! TLS for `wss://`: the certificates that are trusted, and the reasons of failed handshakes in words. `session`
//! encrypts the stream of one connection. The sockets are not here.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, CipherSuite, ClientConfig, ClientConnection, DigitallySignedStruct, Error,
    InvalidMessage, RootCertStore, SignatureScheme, StreamOwned,
};

pub(super) use self::session::{Received, Session};

mod session;

/// Largest file that `--ca` accepts, in bytes: four times the size of the certificates of a whole system.
const MAX_CA_BYTES: u64 = 1 << 20;

/// The certificates that a server may show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust<'a> {
    /// Those that the system trusts.
    System,
    /// Also those in a PEM file, and those that they have signed.
    File(&'a Path),
    /// Any certificate.
    Any,
}

/// The configuration of TLS for all connections of a run. A clone shares it.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    /// Returns a configuration for the server `host`, a name or an address, that resumes no session: each handshake is
    /// a full one.
    ///
    /// # Errors
    /// The host cannot be in a certificate, or the trusted certificates cannot be read.
    pub(super) fn new(host: &str, trust: Trust<'_>) -> anyhow::Result<Self> {
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare).with_context(|| format!("{host}: no name of a server"))?;
        // The provider is named, because a process that links two of them has no default.
        let provider = Arc::new(as_browsers());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .context("TLS cannot be used")?;
        let builder = match trust {
            Trust::Any => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            }
            Trust::System => builder.with_root_certificates(roots(RootCertStore::empty())?),
            Trust::File(path) => builder.with_root_certificates(roots(in_file(path)?)?),
        };
        let mut config = builder.with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config), name })
    }

    fn connection(&self) -> Result<ClientConnection, Error> {
        ClientConnection::new(Arc::clone(&self.config), self.name.clone())
    }

    /// Returns a session for a new connection.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn session(&self) -> std::io::Result<Session> {
        self.connection().map(Session::new).map_err(std::io::Error::other)
    }

    /// Returns an encrypted stream over a socket that blocks.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn blocking<S: Read + Write>(
        &self,
        socket: S,
    ) -> std::io::Result<StreamOwned<ClientConnection, S>> {
        let connection = self.connection().map_err(std::io::Error::other)?;
        Ok(StreamOwned::new(connection, socket))
    }
}

/// Returns a provider that prefers AES with 128 bits, as browsers do.
fn as_browsers() -> CryptoProvider {
    let mut provider = rustls::crypto::ring::default_provider();
    let is_aes_128 = |suite: CipherSuite| format!("{suite:?}").contains("AES_128");
    provider.cipher_suites.sort_by_key(|suite| !is_aes_128(suite.suite()));
    provider
}

/// Adds the certificates of the system to `own`.
fn roots(mut own: RootCertStore) -> anyhow::Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    own.add_parsable_certificates(found.certs);
    ensure!(
        !own.is_empty(),
        "this system has no root certificates ({:?}): --ca FILE names a certificate to trust",
        found.errors
    );
    Ok(own)
}

fn in_file(path: &Path) -> anyhow::Result<RootCertStore> {
    let shown = path.display();
    let mut pem = Vec::new();
    let file = File::open(path).with_context(|| format!("--ca {shown}: cannot be read"))?;
    file.take(MAX_CA_BYTES + 1)
        .read_to_end(&mut pem)
        .with_context(|| format!("--ca {shown}: cannot be read"))?;
    ensure!(pem.len() as u64 <= MAX_CA_BYTES, "--ca {shown}: is larger than {MAX_CA_BYTES} bytes");
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.with_context(|| format!("--ca {shown}: is not valid PEM"))?;
        roots.add(certificate).with_context(|| format!("--ca {shown}: has an unusable certificate"))?;
    }
    ensure!(!roots.is_empty(), "--ca {shown}: has no certificate in PEM (-----BEGIN CERTIFICATE-----)");
    Ok(roots)
}

/// Explains why TLS failed, with a hint where an option helps.
fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the server's certificate is not trusted: --ca FILE names a certificate to trust".into()
        }
        Error::InvalidCertificate(
            flaw @ (CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }),
        ) => format!("the server's certificate is for another name: {flaw}"),
        Error::InvalidCertificate(flaw) => format!("the server's certificate is refused: {flaw}"),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the server does not speak TLS: should the URL begin with ws://?".into()
        }
        other => format!("TLS failed: {other}"),
    }
}

/// Accepts any certificate; its owner must still prove that it has the key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_may_be_a_name_or_an_address() {
        for host in ["localhost", "127.0.0.1", "[::1]"] {
            assert!(Tls::new(host, Trust::Any).is_ok(), "{host}");
        }
        assert!(Tls::new("not a name", Trust::Any).is_err());
    }

    #[test]
    fn a_file_without_certificates_is_refused_and_named() {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        for (path, words) in
            [(manifest.as_path(), "has no certificate"), (Path::new("/nowhere.pem"), "cannot be read")]
        {
            let error = Tls::new("localhost", Trust::File(path)).expect_err(words).to_string();
            assert!(error.contains(words) && error.contains(&path.display().to_string()), "{error}");
        }
    }
}
