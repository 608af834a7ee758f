//! The least that a server of TLS can do, and a client that loads it or any other: handshakes and nothing else.
//!
//! ```text
//! tls_handshakes accept CERT KEY             accepts one connection after the other, and prints its address first
//! tls_handshakes load ADDRESS CERT COUNT     makes COUNT handshakes with the server at ADDRESS, which has CERT
//! ```
//!
//! Every handshake is a full one, and both sides announce the end of the connection. The server has the settings of
//! throng: one ticket for each handshake, and HTTP/1.1 as the only protocol. `benches/targets.py` compares the CPU time
//! that both need for as many handshakes.

use std::error::Error;
use std::io::{self, Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, Stream};

/// Connections that the client has under way: enough that the server never waits for one.
const CLIENTS: usize = 16;
/// Longest wait for the other side, so that a run ends even if it says nothing.
const PATIENCE: Duration = Duration::from_secs(10);

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["accept", cert, key] => accept(cert, key),
        ["load", address, cert, count] => load(address.parse()?, cert, count.parse()?),
        _ => Err("tls_handshakes accept CERT KEY, or tls_handshakes load ADDRESS CERT COUNT".into()),
    }
}

fn accept(cert: &str, key: &str) -> Result<()> {
    let certificate = CertificateDer::from_pem_file(cert)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::from_pem_file(key)?)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    // Accepted sockets inherit it, and no record waits for an acknowledgement.
    socket2::SockRef::from(&listener).set_tcp_nodelay(true)?;
    println!("{}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept()?;
        if let Err(error) = shake_hands(socket, &config) {
            eprintln!("a handshake failed: {error}");
        }
    }
}

fn shake_hands(mut socket: TcpStream, config: &Arc<ServerConfig>) -> Result<()> {
    let mut tls = ServerConnection::new(Arc::clone(config))?;
    expect_end(&mut Stream::new(&mut tls, &mut socket))?;
    tls.send_close_notify();
    tls.write_tls(&mut socket)?;
    Ok(())
}

/// Makes the handshake if there was none yet, and reads to the announced end, before which nothing may come.
fn expect_end(stream: &mut impl Read) -> io::Result<()> {
    match stream.read(&mut [0; 16])? {
        0 => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the other side sends more than a handshake")),
    }
}

fn load(address: SocketAddr, cert: &str, count: usize) -> Result<()> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(cert)?)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    let (config, done) = (Arc::new(config), AtomicUsize::new(0));
    let suites = std::thread::scope(|scope| {
        let all: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| -> Result<Option<String>> {
                    let mut suite = None;
                    while done.fetch_add(1, Relaxed) < count {
                        suite = Some(greet(address, &config)?);
                    }
                    Ok(suite)
                })
            })
            .collect();
        all.into_iter()
            .map(|thread| thread.join().map_err(|_| "a thread panicked")?)
            .collect::<Result<Vec<_>>>()
    })?;
    println!("{}", suites.into_iter().flatten().next().ok_or("COUNT must be at least 1")?);
    Ok(())
}

/// Makes one handshake and ends the connection; returns the version and the cipher.
fn greet(address: SocketAddr, config: &Arc<ClientConfig>) -> Result<String> {
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let name = ServerName::try_from("localhost")?;
    let mut tls = ClientConnection::new(Arc::clone(config), name)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut socket)?;
    }
    let version = tls.protocol_version().ok_or("no version")?;
    let suite = tls.negotiated_cipher_suite().ok_or("no cipher")?.suite();
    tls.send_close_notify();
    let mut stream = Stream::new(&mut tls, &mut socket);
    stream.flush()?;
    expect_end(&mut stream)?;
    Ok(format!("{version:?} {suite:?}"))
}
