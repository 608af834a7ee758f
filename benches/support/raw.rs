//! A WebSocket client on a blocking socket that does very little, so that a bench measures the server.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// Beginning of the events that [`Client::read`] counts; notices are not counted.
const MESSAGE: &[u8] = br#"{"type":"message""#;

/// One connected client.
pub(crate) struct Client {
    socket: TcpStream,
    buffer: Vec<u8>,
    /// The range of `buffer` that has been read from the socket and not decoded yet.
    filled: std::ops::Range<usize>,
}

impl Client {
    /// Connects to a WebSocket path and waits for the 101 response.
    pub(crate) fn connect(address: SocketAddr, path: &str) -> Self {
        Self::connect_with(address, path, "")
    }

    /// Connects like [`Client::connect`], with additional header lines, each ending in CRLF.
    pub(crate) fn connect_with(address: SocketAddr, path: &str, headers: &str) -> Self {
        let socket = TcpStream::connect(address).expect("a server that listens");
        socket.set_nodelay(true).expect("a TCP socket");
        let mut client = Self { socket, buffer: vec![0; 256 * 1024], filled: 0..0 };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        client.write(request.as_bytes());
        let head = loop {
            client.fill();
            let read = &client.buffer[client.filled.clone()];
            if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
        };
        assert!(client.buffer.starts_with(b"HTTP/1.1 101 "), "{path} is not upgraded");
        client.filled.start = head;
        client
    }

    /// Sends bytes that are encoded frames.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the server takes bytes");
    }

    fn fill(&mut self) {
        if self.filled.is_empty() {
            self.filled = 0..0;
        } else if self.filled.end == self.buffer.len() {
            self.buffer.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
        }
        loop {
            match self.socket.read(&mut self.buffer[self.filled.end..]) {
                Ok(0) => panic!("the server has closed"),
                Ok(read) => {
                    self.filled.end += read;
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Reads until `messages` more messages have arrived.
    pub(crate) fn read(&mut self, messages: usize) {
        self.read_of(MESSAGE, messages);
    }

    /// Reads until `events` more events that begin with `begin` have arrived.
    pub(crate) fn read_of(&mut self, begin: &[u8], events: usize) {
        let mut left = events;
        while left > 0 {
            match frame(&self.buffer[self.filled.clone()]) {
                Some((header, len)) => {
                    let payload = &self.buffer[self.filled.start + header..][..len];
                    left -= usize::from(payload.starts_with(begin));
                    self.filled.start += header + len;
                }
                None => self.fill(),
            }
        }
    }
}

/// Returns the lengths of header and payload of the first frame, if all of it has arrived.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let (header, len) = match *bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
        127 => (10, u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize),
        len => (2, usize::from(len)),
    };
    (bytes.len() >= header + len).then_some((header, len))
}

/// Returns a chat command as one masked text frame.
pub(crate) fn command(text: &str) -> Vec<u8> {
    frame_of(&format!(r#"{{"message":"{text}"}}"#))
}

/// Returns a masked text frame.
pub(crate) fn frame_of(payload: &str) -> Vec<u8> {
    let payload = payload.as_bytes();
    let mask = [0x12, 0x34, 0x56, 0x78];
    let mut frame = vec![0x81];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
