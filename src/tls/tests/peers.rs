//! A [`Tls`] and a client, and the bytes that travel between them.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, ConfigBuilder, RootCertStore, SupportedProtocolVersion};

use super::super::{Received, Scratch, ServerConfig, Tls, TlsError};

/// The versions that are spoken.
pub(super) const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

type Version = &'static SupportedProtocolVersion;

fn builder(roots: RootCertStore, version: Version) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
}

/// Returns the configuration of a client that has a certificate.
pub(super) fn known_client_config(
    roots: RootCertStore,
    version: Version,
    (certificate, key): (CertificateDer<'static>, PrivateKeyDer<'static>),
) -> ClientConfig {
    builder(roots, version).with_client_auth_cert(vec![certificate], key).unwrap()
}

/// Returns the configuration of a client such as a browser, which would prefer HTTP/2.
pub(super) fn client_config(roots: RootCertStore, version: Version) -> ClientConfig {
    let mut config = builder(roots, version).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

pub(super) struct Peers {
    pub(super) tls: Tls,
    pub(super) client: ClientConnection,
    /// Plaintext that the server has received.
    pub(super) received: Vec<u8>,
    pub(super) scratch: Scratch,
}

impl Peers {
    pub(super) fn new(server: Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Self {
        Self::named(server, client, "localhost")
    }

    pub(super) fn named(server: Arc<ServerConfig>, client: &Arc<ClientConfig>, name: &str) -> Self {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
        client.set_buffer_limit(None);
        Self { tls: Tls::new(server).unwrap(), client, received: Vec::new(), scratch: Scratch::default() }
    }

    /// Returns what the client has to send.
    pub(super) fn client_bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// Hands ciphertext to the server in pieces, whose lengths `next` chooses.
    pub(super) fn deliver(
        &mut self,
        bytes: &[u8],
        mut next: impl FnMut() -> usize,
    ) -> Result<Received, TlsError> {
        let (mut at, mut state) = (0, Received::Open);
        while at < bytes.len() {
            let to = (at + next().max(1)).min(bytes.len());
            let mut piece = bytes[at..to].to_vec();
            state = self.tls.receive(&mut piece, |plain| self.received.extend_from_slice(plain))?;
            at = to;
        }
        Ok(state)
    }

    /// Hands what the server has to send to the client.
    pub(super) fn answer(&mut self) -> Result<(), rustls::Error> {
        let mut bytes = Vec::new();
        let sent = self.tls.flush(|part| {
            bytes.extend_from_slice(part);
            Ok(part.len())
        });
        assert!(sent.unwrap() && !self.tls.wants_write());
        self.hand_to_client(&bytes)
    }

    pub(super) fn hand_to_client(&mut self, mut bytes: &[u8]) -> Result<(), rustls::Error> {
        while !bytes.is_empty() {
            self.client.read_tls(&mut bytes).unwrap();
            self.client.process_new_packets()?;
        }
        Ok(())
    }

    /// Lets both sides speak until the handshake is over.
    pub(super) fn shake_hands(&mut self, mut next: impl FnMut() -> usize) {
        for _ in 0..10 {
            let bytes = self.client_bytes();
            self.deliver(&bytes, &mut next).unwrap();
            self.answer().unwrap();
        }
        assert!(!self.tls.is_handshaking() && !self.client.is_handshaking());
    }

    /// Sends plaintext from the client to the server.
    pub(super) fn ask(&mut self, plain: &[u8], next: impl FnMut() -> usize) {
        self.client.writer().write_all(plain).unwrap();
        let bytes = self.client_bytes();
        self.deliver(&bytes, next).unwrap();
    }

    /// Writes plaintext on the server and returns what the client reads of it.
    pub(super) fn tell(&mut self, parts: &[&[u8]]) -> Vec<u8> {
        let slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut bytes = Vec::new();
        let taken = self.tls.write(&slices, &mut self.scratch, |record| {
            bytes.extend_from_slice(record);
            Ok(record.len())
        });
        assert_eq!(taken.unwrap(), parts.iter().map(|part| part.len()).sum::<usize>());
        let mut told = Vec::new();
        // The client holds only so much that nobody has read.
        for part in bytes.chunks(8 * 1024) {
            self.hand_to_client(part).unwrap();
            told.extend(self.read_client());
        }
        told
    }

    pub(super) fn read_client(&mut self) -> Vec<u8> {
        let mut plain = Vec::new();
        match self.client.reader().read_to_end(&mut plain) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => panic!("{error}"),
            _ => plain,
        }
    }
}
