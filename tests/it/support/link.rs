//! A bare connection of `throng.v1`, and its handshake, which waits while the server is being restarted.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::checker::Conn;
use super::http::Response;
use super::raw::handshake;
use super::speaker::OFFER;

/// Time between two attempts to reach a server that is not there at the moment.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// The current addresses of the server's nodes, one of which each connection takes at random; a restart changes them.
pub(crate) type ServerAddress = Rc<RefCell<Vec<SocketAddr>>>;

/// A connection on which the dialect was selected.
pub(super) struct Link {
    pub(super) stream: TcpStream,
    pub(super) pending: Vec<u8>,
    pub(super) conn: Conn,
    /// The client has closed: the next close frame is the echo of its own.
    pub(super) is_closing: bool,
}

/// Performs the handshake; tries again until a server answers.
pub(super) async fn connect(address: &ServerAddress, conn: Conn, path: &str) -> Link {
    loop {
        let node = fastrand::choice(address.borrow().iter().copied()).expect("a server");
        match open(node, conn, path).await {
            Some(link) => return link,
            None => tokio::time::sleep(RETRY_INTERVAL).await,
        }
    }
}

/// Tries to perform the handshake; returns `None` when no server listens, or it is about to end.
async fn open(address: SocketAddr, conn: Conn, path: &str) -> Option<Link> {
    let socket = TcpSocket::new_v4().expect("a socket");
    // So small that the server soon notices when nobody reads. It must be set before the connect, which agrees on
    // the window.
    socket.set_recv_buffer_size(4096).expect("SO_RCVBUF");
    let mut stream = socket.connect(address).await.ok()?;
    stream.set_nodelay(true).expect("TCP_NODELAY");
    stream.write_all(handshake(path, OFFER).as_bytes()).await.ok()?;
    let mut pending = Vec::new();
    let end = loop {
        if let Some(end) = pending.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut pending).await.ok()? == 0 {
            return None;
        }
    };
    let head: Vec<u8> = pending.drain(..end).collect();
    let response = Response::parse(std::str::from_utf8(&head).expect("a head in UTF-8"));
    if response.status == 503 {
        return None;
    }
    assert_eq!(response.status, 101, "{response:?}");
    assert_eq!(response.header("sec-websocket-protocol"), Some("throng.v1"), "{response:?}");
    Some(Link { stream, pending, conn, is_closing: false })
}
