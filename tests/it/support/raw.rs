//! A raw socket: it sends the bytes that a test gives it, right or wrong, and reads strictly.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Type};

use super::PATIENCE;
use super::canary;
use super::deflate;
use super::frame::{self, Received};
use super::http::Response;

/// The key of the RFC's example (section 1.3) and the answer to it.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The reason why no more comes from a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The server's FIN.
    Eof,
    /// A reset: bytes that were under way may be lost.
    Reset,
    /// Nothing came within the time allowed; the connection is still open.
    Silent,
}

/// A blocking socket to the server, with the bytes that were received and not yet parsed.
pub(crate) struct Socket {
    stream: TcpStream,
    pending: Vec<u8>,
    /// Number of compressed messages that were received; `None` where compression was not negotiated.
    pub(crate) deflated: Option<usize>,
    /// Bytes that were received.
    pub(crate) received: usize,
}

/// Builds a valid handshake for `path`; `headers` are further lines, each with its CRLF.
pub(crate) fn handshake(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: throng.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
    )
}

impl Socket {
    /// Opens a TCP connection and sends nothing.
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::from(TcpStream::connect_timeout(&address, PATIENCE).expect("the server accepts"))
    }

    /// Opens a TCP connection from an address of the test's choice.
    #[track_caller]
    pub(crate) fn connect_from(source: SocketAddr, address: SocketAddr) -> Self {
        let socket =
            socket2::Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
        socket.bind(&source.into()).expect("an address of this machine");
        socket.connect_timeout(&address.into(), PATIENCE).expect("the server accepts");
        Self::from(TcpStream::from(socket))
    }

    /// Opens a TCP connection with a receive buffer so small that the server soon notices that nobody reads.
    #[track_caller]
    pub(crate) fn connect_narrow(address: SocketAddr) -> Self {
        let socket =
            socket2::Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
        // Must be set before the connect, which agrees on the window.
        socket.set_recv_buffer_size(4096).expect("SO_RCVBUF");
        socket.connect_timeout(&address.into(), PATIENCE).expect("the server accepts");
        Self::from(TcpStream::from(socket))
    }

    /// Returns the connection itself, for TLS on it.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Opens a WebSocket on `path`.
    #[track_caller]
    pub(crate) fn open(address: SocketAddr, path: &str) -> Self {
        Self::connect(address).upgraded(path)
    }

    /// Performs the handshake on `path` and checks the answer.
    #[track_caller]
    pub(crate) fn upgraded(mut self, path: &str) -> Self {
        self.send(handshake(path, ""));
        self.expect_upgrade();
        self
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        canary::remember_request(bytes.as_ref());
        self.stream.write_all(bytes.as_ref()).expect("the server takes bytes");
    }

    /// Sends bytes if the server takes them all; false when it does not.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        canary::remember_request(bytes.as_ref());
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Sends `bytes` over and over, at most `times`, until the server takes no more for half a second or ends the
    /// connection; panics when it takes all.
    #[track_caller]
    pub(crate) fn expect_blocked(&mut self, bytes: &[u8], times: usize) {
        self.stream.set_write_timeout(Some(Duration::from_millis(500))).expect("a timeout can be set");
        let blocked = (0..times).any(|_| self.stream.write_all(bytes).is_err());
        assert!(blocked, "the server took {times} times {} bytes", bytes.len());
    }

    /// Sends every byte on its own, with a pause in which the server can look at it.
    #[track_caller]
    pub(crate) fn drip(&mut self, bytes: impl AsRef<[u8]>) {
        for byte in bytes.as_ref() {
            self.send([*byte]);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Sends our FIN.
    pub(crate) fn finish(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Ends the connection with a reset instead of a FIN.
    pub(crate) fn abort(self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Reads an HTTP response with its body, which must have a declared length (a 101 has none).
    #[track_caller]
    pub(crate) fn read_response(&mut self) -> Response {
        let mut response = self.read_head();
        let length = response.header("content-length").map_or(0, |value| value.parse().expect("a length"));
        assert_eq!(response.header("transfer-encoding"), None, "{response:?}");
        while self.pending.len() < length {
            self.fill_or_panic();
        }
        response.body = String::from_utf8(self.pending.drain(..length).collect()).expect("a body in UTF-8");
        response
    }

    /// Reads a response's head and leaves its body, if it has one (the answer to HEAD has none).
    #[track_caller]
    pub(crate) fn read_head(&mut self) -> Response {
        let head = loop {
            if let Some(end) = self.pending.windows(4).position(|window| window == b"\r\n\r\n") {
                break self.pending.drain(..end + 4).collect::<Vec<u8>>();
            }
            self.fill_or_panic();
        };
        Response::parse(std::str::from_utf8(&head).expect("a head in UTF-8"))
    }

    /// Returns the next chunk of a chunked body (RFC 9112, section 7.1), which must be UTF-8; `None` at the last one.
    #[track_caller]
    pub(crate) fn read_chunk(&mut self) -> Option<String> {
        let size = loop {
            if let Some(end) = self.pending.windows(2).position(|window| window == b"\r\n") {
                break String::from_utf8(self.pending.drain(..end + 2).collect()).expect("a size");
            }
            self.fill_or_panic();
        };
        let size = usize::from_str_radix(size.trim_end(), 16).expect("a size in hexadecimal");
        while self.pending.len() < size + 2 {
            self.fill_or_panic();
        }
        let chunk = String::from_utf8(self.pending.drain(..size + 2).collect()).expect("a chunk in UTF-8");
        let chunk = chunk.strip_suffix("\r\n").expect("the end of a chunk");
        (size > 0).then(|| chunk.to_owned())
    }

    /// Returns the next server-sent event of a body without chunks, up to its empty line, which is left out.
    #[track_caller]
    pub(crate) fn read_event(&mut self) -> String {
        loop {
            if let Some(end) = self.pending.windows(2).position(|window| window == b"\n\n") {
                let event = self.pending.drain(..end + 2).take(end).collect();
                return String::from_utf8(event).expect("an event in UTF-8");
            }
            self.fill_or_panic();
        }
    }

    /// Reads the answer to a valid handshake and asserts that it accepts.
    #[track_caller]
    pub(crate) fn expect_upgrade(&mut self) -> Response {
        let response = self.read_response();
        assert_eq!(response.status, 101, "{response:?}");
        assert_eq!(response.header("sec-websocket-accept"), Some(ACCEPT), "{response:?}");
        self.deflated = response.header("sec-websocket-extensions").map(|_| 0);
        response
    }

    /// Returns the next frame, or why there is none within `timeout`. Panics when a FIN comes within a frame.
    #[track_caller]
    pub(crate) fn try_frame(&mut self, timeout: Duration) -> Result<Received, Ended> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(frame) = Received::take_with(&mut self.pending, |form| {
                *self.deflated.as_mut()? += 1;
                Some(deflate::inflate(form))
            }) {
                return Ok(frame);
            }
            let outcome = self.fill(deadline);
            assert!(outcome != Err(Ended::Eof) || self.pending.is_empty(), "FIN within a frame");
            outcome?;
        }
    }

    /// Returns the next frame.
    #[track_caller]
    pub(crate) fn read_frame(&mut self) -> Received {
        self.try_frame(PATIENCE).unwrap_or_else(|ended| panic!("no frame: {ended:?}"))
    }

    /// Returns the next frame, which must be text; skips pings and leaves them unanswered.
    #[track_caller]
    pub(crate) fn read_text(&mut self) -> String {
        let frame = self.read_data();
        assert_eq!(frame.opcode, frame::TEXT, "{frame:?}");
        String::from_utf8(frame.payload).expect("checked when it was read")
    }

    /// Returns code and reason of the close frame that must come next; skips pings.
    #[track_caller]
    pub(crate) fn read_close(&mut self) -> (u16, String) {
        self.read_data().closing()
    }

    /// Skips text messages up to one that begins like this, and returns it as it came.
    #[track_caller]
    pub(crate) fn skip_to_text(&mut self, start: &str) -> String {
        loop {
            let text = self.read_text();
            if text.starts_with(start) {
                return text;
            }
        }
    }

    /// Skips all frames up to the close frame; returns its code and reason.
    #[track_caller]
    pub(crate) fn skip_to_close(&mut self) -> (u16, String) {
        loop {
            let frame = self.read_frame();
            if frame.opcode == frame::CLOSE {
                return frame.closing();
            }
        }
    }

    #[track_caller]
    fn read_data(&mut self) -> Received {
        loop {
            let frame = self.read_frame();
            if frame.opcode != frame::PING {
                return frame;
            }
        }
    }

    /// Asserts that the server ends the stream cleanly and says nothing before.
    #[track_caller]
    pub(crate) fn expect_eof(&mut self) {
        match self.fill(Instant::now() + PATIENCE) {
            Err(ended) if self.pending.is_empty() => assert_eq!(ended, Ended::Eof, "instead of a FIN"),
            _ => panic!("bytes instead of a FIN: {:?}", String::from_utf8_lossy(&self.pending)),
        }
    }

    /// Reads until the stream ends or `timeout` has passed, and returns which; throws away all bytes.
    pub(crate) fn drain(&mut self, timeout: Duration) -> Ended {
        let deadline = Instant::now() + timeout;
        loop {
            self.pending.clear();
            if let Err(ended) = self.fill(deadline) {
                return ended;
            }
        }
    }

    /// Takes `count` bytes, for a client that stops reading within a frame.
    #[track_caller]
    pub(crate) fn read_some(&mut self, count: usize) {
        let target = self.pending.len() + count;
        let mut chunk = vec![0; count];
        while self.pending.len() < target {
            let missing = target - self.pending.len();
            let got = self.stream.read(&mut chunk[..missing]).expect("bytes to read");
            assert_ne!(got, 0, "FIN before {count} bytes");
            self.pending.extend_from_slice(&chunk[..got]);
        }
    }

    #[track_caller]
    fn fill_or_panic(&mut self) {
        if let Err(ended) = self.fill(Instant::now() + PATIENCE) {
            panic!("{ended:?} after {:?}", String::from_utf8_lossy(&self.pending));
        }
    }

    fn fill(&mut self, deadline: Instant) -> Result<(), Ended> {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(left)).expect("a timeout can be set");
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(Ended::Eof),
            Ok(count) => {
                self.received += count;
                self.pending.extend_from_slice(&chunk[..count]);
                Ok(())
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(Ended::Silent),
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Err(Ended::Reset),
                ErrorKind::Interrupted => Ok(()),
                _ => panic!("reading: {error}"),
            },
        }
    }
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        Self { stream, pending: Vec::new(), deflated: None, received: 0 }
    }
}
