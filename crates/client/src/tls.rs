//! `wss://`, with the root certificates of the system, and others: a server of one's own often has a certificate of
//! one's own.

use std::error::Error as StdError;
#[cfg(feature = "tls")]
use std::sync::Arc;

#[cfg(feature = "tls")]
use rustls::pki_types::{CertificateDer, pem::PemObject};
#[cfg(feature = "tls")]
use rustls::{CertificateError, RootCertStore};

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
    /// Reads the root certificates if they are needed; those of `ca`, in PEM, are checked in any case.
    pub(super) fn new(is_secure: bool, ca: Option<&[u8]>) -> Result<Self, BuildError> {
        let mut roots = RootCertStore::empty();
        if let Some(pem) = ca {
            add(pem, &mut roots)?;
        }
        if !is_secure {
            return Ok(Self(None));
        }
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err(BuildError::Tls(format!("no root certificates on this system: {:?}", found.errors)));
        }
        Self::trusting(roots)
    }

    fn trusting(roots: RootCertStore) -> Result<Self, BuildError> {
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

/// Adds the certificates of a PEM file.
#[cfg(feature = "tls")]
fn add(pem: &[u8], roots: &mut RootCertStore) -> Result<(), BuildError> {
    let wrong = |why: String| BuildError::Ca(why);
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| wrong(format!("no PEM: {error}")))?;
        roots
            .add(certificate)
            .map_err(|error| wrong(format!("a certificate that cannot be read: {error}")))?;
    }
    if roots.is_empty() {
        return Err(wrong("no certificate in PEM (-----BEGIN CERTIFICATE-----) is in it".to_owned()));
    }
    Ok(())
}

/// What is wrong with the server or its certificate, where that is what an error of the socket is about: it will be
/// the same the next time.
#[cfg(feature = "tls")]
pub(super) fn flaw(error: &(dyn StdError + Send + Sync + 'static)) -> Option<String> {
    use super::failure::UNTRUSTED;

    Some(match error.downcast_ref()? {
        rustls::Error::InvalidCertificate(flaw) => match flaw {
            CertificateError::UnknownIssuer => {
                format!("{UNTRUSTED}: nobody whom this system trusts has signed it")
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                format!("the server's certificate has expired: {flaw}")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                format!("the server's certificate is not valid yet, or this machine's clock is wrong: {flaw}")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("the server's certificate is for another name: {flaw}")
            }
            other => format!("{UNTRUSTED}: {other}"),
        },
        rustls::Error::NoCertificatesPresented => "the server shows no certificate".to_owned(),
        rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
            "the server does not speak TLS: is its address one with ws://?".to_owned()
        }
        rustls::Error::PeerIncompatible(why) => format!("the server speaks another TLS: {why:?}"),
        _ => return None,
    })
}

/// Nothing: without TLS no error is about it.
#[cfg(not(feature = "tls"))]
pub(super) fn flaw(_: &(dyn StdError + Send + Sync + 'static)) -> Option<String> {
    None
}

/// Nothing: built without.
#[cfg(not(feature = "tls"))]
#[derive(Clone)]
pub(super) struct Tls;

#[cfg(not(feature = "tls"))]
impl Tls {
    pub(super) fn new(is_secure: bool, ca: Option<&[u8]>) -> Result<Self, BuildError> {
        if is_secure || ca.is_some() {
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
        assert!(Tls::new(false, None).is_ok());
        #[cfg(not(feature = "tls"))]
        assert!(Tls::new(true, None).is_err() && Tls::new(false, Some(b"")).is_err());
    }

    #[cfg(feature = "tls")]
    mod encrypted {
        use futures_util::{SinkExt, StreamExt};
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        use tokio_tungstenite::tungstenite::Message;
        use tokio_tungstenite::tungstenite::client::IntoClientRequest;

        use super::super::*;

        /// For `localhost`, signed by itself, from 2020 to 2120; everybody knows the key.
        const CERTIFICATE: &[u8] = b"\
-----BEGIN CERTIFICATE-----
MIIBPzCB5aADAgECAgEHMAoGCCqGSM49BAMCMBQxEjAQBgNVBAMMCWxvY2FsaG9z
dDAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowFDESMBAGA1UEAwwJ
bG9jYWxob3N0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEGkoluwnzjTLGMYYj
fULwUx7HMcY/RkOcW4MVgNsPeWOKsLjV1gsWckZyXhOALu/1xZk4iI57bWFQG/+k
CuR79KMmMCQwFAYDVR0RBA0wC4IJbG9jYWxob3N0MAwGA1UdEwEB/wQCMAAwCgYI
KoZIzj0EAwIDSQAwRgIhAKOFBOsZHX8T/nc4N3yY2tvIsgpz7cB3Ns/hYJ0X8Tpr
AiEAkB3eteVRjmDKMiiF1z9239yXusYdT4ZHsLmDD+4Vxqs=
-----END CERTIFICATE-----
";
        const KEY: &[u8] = b"\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgo46hDuLN78mDxEgw
V343tusvAm9+kLjDEzEzaF1xVqqhRANCAAQaSiW7CfONMsYxhiN9QvBTHscxxj9G
Q5xbgxWA2w95Y4qwuNXWCxZyRnJeE4Au7/XFmTiIjnttYVAb/6QK5Hv0
-----END PRIVATE KEY-----
";

        fn certificate() -> CertificateDer<'static> {
            CertificateDer::from_pem_slice(CERTIFICATE).unwrap()
        }

        /// Says "hi" to everyone who gets through the handshakes; its port.
        async fn server() -> u16 {
            let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
            let config =
                rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
                    .with_safe_default_protocol_versions()
                    .unwrap()
                    .with_no_client_auth()
                    .with_single_cert(vec![certificate()], key)
                    .unwrap();
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            tokio::spawn(async move {
                while let Ok((socket, _)) = listener.accept().await {
                    let Ok(socket) = acceptor.accept(socket).await else { continue };
                    let accepting = Box::pin(tokio_tungstenite::accept_async(socket));
                    let Ok(mut socket) = accepting.await else { continue };
                    let _ = socket.send(Message::text("hi")).await;
                }
            });
            port
        }

        async fn connect(tls: Tls, port: u16) -> Connected {
            let request = format!("wss://localhost:{port}/").into_client_request().unwrap();
            Box::pin(tls.connect(request, WebSocketConfig::default())).await
        }

        #[tokio::test]
        async fn a_server_with_a_certificate_that_is_trusted_is_spoken_to_and_no_other() {
            let port = server().await;
            let mut roots = RootCertStore::empty();
            let stranger = connect(Tls::trusting(roots.clone()).unwrap(), port).await;
            assert!(stranger.unwrap_err().to_string().contains("certificate"));
            roots.add(certificate()).unwrap();
            let (mut socket, _) = connect(Tls::trusting(roots).unwrap(), port).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hi"));
        }
    }
}
