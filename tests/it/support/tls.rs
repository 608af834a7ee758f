//! An authority that signs certificates for a test, and clients that trust it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::PATIENCE;
use super::frame::{self, Received};
use super::http::Response;
use super::raw;

/// The files of a certificate.
#[derive(Clone)]
pub(crate) struct Files {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// An authority with a folder for its files, which is removed with it.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Files {
    /// Returns the settings of these files for a server.
    pub(crate) fn settings(&self) -> [(&str, &str); 2] {
        [("tls.cert_file", text(&self.cert)), ("tls.key_file", text(&self.key))]
    }
}

/// Returns a path as text.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("written");
        Self { issuer, folder }
    }

    /// Returns the file with the authority's own certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Issues a certificate for `names` that holds until 2120, in files called `file`, which are replaced.
    pub(crate) fn issue(&self, file: &str, names: &[&str]) -> Files {
        self.issue_until(file, names, 2120)
    }

    /// Issues a certificate as [`Authority::issue`] does, which holds until a year begins.
    pub(crate) fn issue_until(&self, file: &str, names: &[&str], year: i32) -> Files {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let path = |ending: &str| self.folder.path().join(format!("{file}.{ending}"));
        let files = Files { cert: path("crt"), key: path("key") };
        std::fs::write(&files.key, key.serialize_pem()).expect("written");
        std::fs::write(&files.cert, certificate.pem()).expect("written");
        files
    }

    /// Returns the configuration of a client that trusts this authority, and has a certificate of its own or none.
    pub(crate) fn client(&self, own: Option<&Files>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("versions").with_root_certificates(roots);
        Arc::new(match own {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let certificate = CertificateDer::from_pem_file(&files.cert).expect("a certificate");
                let key = PrivateKeyDer::from_pem_file(&files.key).expect("a key");
                builder.with_client_auth_cert(vec![certificate], key).expect("they fit")
            }
        })
    }
}

/// A connection with TLS.
pub(crate) struct Secure(StreamOwned<ClientConnection, TcpStream>);

impl Secure {
    /// Connects and asks for `localhost`.
    pub(crate) fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Self> {
        Self::named(address, config, "localhost")
    }

    /// Connects, makes the handshake, and asks for a name.
    pub(crate) fn named(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&address, PATIENCE)?, config, name)
    }

    /// Makes the handshake on a socket, and asks for a name.
    pub(crate) fn over(stream: TcpStream, config: &Arc<ClientConfig>, name: &str) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        let mut secure = Self(StreamOwned::new(connection, stream));
        while secure.0.conn.is_handshaking() {
            secure.0.conn.complete_io(&mut secure.0.sock)?;
        }
        Ok(secure)
    }

    /// Returns the certificate that the server has shown.
    pub(crate) fn certificate(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().expect("a certificate")[0].to_vec()
    }

    /// Sends a request; returns the response, behind which the server has to announce the end.
    pub(crate) fn ask(mut self, request: &str) -> io::Result<Response> {
        self.0.write_all(request.as_bytes())?;
        // An end without its announcement is an error.
        let all = String::from_utf8(self.read_all()?).map_err(io::Error::other)?;
        let (head, body) = all.split_once("\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
        Ok(Response { body: body.to_owned(), ..Response::parse(head) })
    }

    /// Sends `GET path`.
    pub(crate) fn get(self, path: &str) -> io::Result<Response> {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    }

    /// Reads all that comes until the server has announced the end.
    pub(crate) fn read_all(mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        self.0.read_to_end(&mut all)?;
        Ok(all)
    }

    /// Sends bytes, and keeps the connection.
    pub(crate) fn send(&mut self, bytes: &str) -> io::Result<()> {
        self.0.write_all(bytes.as_bytes())?;
        self.0.flush()
    }
}

/// A WebSocket over TLS, which reads strictly.
pub(crate) struct SecureSocket {
    secure: Secure,
    pending: Vec<u8>,
}

impl SecureSocket {
    /// Makes the handshake of a WebSocket, with more headers of the request.
    #[track_caller]
    pub(crate) fn open(mut secure: Secure, path: &str, headers: &str) -> Self {
        secure.send(&raw::handshake(path, headers)).expect("sent");
        let mut socket = Self { secure, pending: Vec::new() };
        let end = loop {
            match socket.pending.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => socket.fill().expect("a response"),
            }
        };
        let head = String::from_utf8(socket.pending.drain(..end).collect()).expect("text");
        assert!(head.starts_with("HTTP/1.1 101 ") && head.contains(raw::ACCEPT), "{head}");
        socket
    }

    /// Sends frames.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.secure.0.write_all(bytes.as_ref()).expect("sent");
        self.secure.0.flush().expect("sent");
    }

    /// Sends frames as ciphertext that comes byte by byte.
    #[track_caller]
    pub(crate) fn drip(&mut self, bytes: impl AsRef<[u8]>) {
        let StreamOwned { conn, sock } = &mut self.secure.0;
        conn.writer().write_all(bytes.as_ref()).expect("encrypted");
        let mut ciphertext = Vec::new();
        while conn.wants_write() {
            conn.write_tls(&mut ciphertext).expect("memory");
        }
        ciphertext.chunks(1).for_each(|byte| sock.write_all(byte).expect("sent"));
    }

    /// Ends the stream without the announcement that TLS demands.
    pub(crate) fn truncate(&self) {
        self.secure.0.sock.shutdown(Shutdown::Write).expect("open");
    }

    /// Announces the end of what the client sends.
    #[track_caller]
    pub(crate) fn announce_end(&mut self) {
        self.secure.0.conn.send_close_notify();
        self.secure.0.flush().expect("sent");
    }

    /// Returns the next frame.
    #[track_caller]
    pub(crate) fn read_frame(&mut self) -> Received {
        loop {
            if let Some(frame) = Received::take(&mut self.pending) {
                return frame;
            }
            self.fill().expect("a frame");
        }
    }

    /// Returns the next text message.
    #[track_caller]
    pub(crate) fn read_text(&mut self) -> String {
        let frame = self.read_frame();
        assert_eq!(frame.opcode, frame::TEXT, "{frame:?}");
        String::from_utf8(frame.payload).expect("UTF-8")
    }

    /// Asserts that the server announces the end, and says nothing before.
    #[track_caller]
    pub(crate) fn expect_end(mut self) {
        assert!(self.pending.is_empty(), "{:?}", self.pending);
        let mut buffer = [0; 16];
        // An end without its announcement is an error.
        assert_eq!(self.secure.0.read(&mut buffer).expect("an announced end"), 0);
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        match self.secure.0.read(&mut buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.pending.extend_from_slice(&buffer[..read]);
                Ok(())
            }
        }
    }
}
