//! TLS for `wss://`, with the root certificates of the system and those that the program adds. Without the feature
//! `tls`, the same functions refuse it.

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

/// How the reason of a stopped client begins when no trusted authority has signed the server's certificate.
/// [`Builder::ca`](super::Builder::ca) adds one.
pub const UNTRUSTED: &str = "the server's certificate is not trusted";

/// The result of dialling: the socket and the server's HTTP answer.
type Connected = Result<(WebSocketStream<MaybeTlsStream<TcpStream>>, Response), Error>;

/// The TLS configuration, or `None` for `ws://`. It is built once, not for every connection.
#[cfg(feature = "tls")]
#[derive(Clone)]
pub(super) struct Tls(Option<Arc<rustls::ClientConfig>>);

#[cfg(feature = "tls")]
impl Tls {
    /// Builds the configuration. The root certificates of the system are read only for a secure address; those of `ca`,
    /// in PEM, are checked in any case.
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
            return Err(BuildError::Tls(format!("this system has no root certificates: {:?}", found.errors)));
        }
        Self::trusting(roots)
    }

    fn trusting(roots: RootCertStore) -> Result<Self, BuildError> {
        // The provider is named, because a process that links two of them has no default.
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

/// Adds the certificates of a PEM file to the roots.
#[cfg(feature = "tls")]
fn add(pem: &[u8], roots: &mut RootCertStore) -> Result<(), BuildError> {
    let invalid = |why: String| BuildError::Ca(why);
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate =
            certificate.map_err(|error| invalid(format!("the file is not valid PEM: {error}")))?;
        roots
            .add(certificate)
            .map_err(|error| invalid(format!("a certificate cannot be parsed: {error}")))?;
    }
    if roots.is_empty() {
        return Err(invalid("no certificate in PEM (-----BEGIN CERTIFICATE-----) was found".to_owned()));
    }
    Ok(())
}

/// Returns what is wrong with the server or its certificate, if that is the cause of a socket error. Another attempt
/// would fail in the same way.
#[cfg(feature = "tls")]
pub(super) fn certificate_problem(error: &(dyn StdError + Send + Sync + 'static)) -> Option<String> {
    Some(match error.downcast_ref()? {
        rustls::Error::InvalidCertificate(flaw) => match flaw {
            CertificateError::UnknownIssuer => {
                format!("{UNTRUSTED}: no authority that this system trusts has signed it")
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
        rustls::Error::NoCertificatesPresented => "the server presents no certificate".to_owned(),
        rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
            "the server does not speak TLS: should the address begin with ws://?".to_owned()
        }
        rustls::Error::PeerIncompatible(why) => {
            format!("the server offers no version or cipher of TLS that this client accepts: {why:?}")
        }
        _ => return None,
    })
}

/// Returns `None`: without the feature `tls` no error is caused by TLS.
#[cfg(not(feature = "tls"))]
pub(super) fn certificate_problem(_: &(dyn StdError + Send + Sync + 'static)) -> Option<String> {
    None
}

/// The configuration of a build without the feature `tls`, which is empty.
#[cfg(not(feature = "tls"))]
#[derive(Clone)]
pub(super) struct Tls;

#[cfg(not(feature = "tls"))]
impl Tls {
    pub(super) fn new(is_secure: bool, ca: Option<&[u8]>) -> Result<Self, BuildError> {
        if is_secure || ca.is_some() {
            return Err(BuildError::Tls(
                "this program was built without the feature `tls`: use ws://, and no extra certificates"
                    .to_owned(),
            ));
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

        /// A self-signed certificate for `localhost`, valid from 2020 to 2120. Its key is public and for tests only.
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

        /// Starts a server that sends "hi" after the handshakes of TLS and WebSocket; returns its port.
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
        async fn only_a_server_with_a_trusted_certificate_is_accepted() {
            let port = server().await;
            let mut roots = RootCertStore::empty();
            let untrusted = connect(Tls::trusting(roots.clone()).unwrap(), port).await;
            assert!(untrusted.unwrap_err().to_string().contains("certificate"));
            roots.add(certificate()).unwrap();
            let (mut socket, _) = connect(Tls::trusting(roots).unwrap(), port).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hi"));
        }
    }
}
