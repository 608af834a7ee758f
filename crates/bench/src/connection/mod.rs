//! One client connection: handshake, frames and close. It never blocks, and reads into a buffer that all connections
//! share. The poller that drives it is in `event_loop`.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;

use mio::event::Event;
use mio::net::TcpStream;

use super::counting;
use super::inflate::Expander;
use super::mark::MarkScanner;
use super::shared::Shared;
use super::target::{HandshakeState, check_response};
use super::texts::{TextCollector, Wanted};
use super::tls::{Received, Session, Tls};
use super::wire::{CLOSE, FrameDecoder, Malformed, PING, PONG, TEXT, put_frame};

mod joining;
mod stalling;

/// Unsent bytes on one connection above which its publisher pauses.
const MAX_UNSENT: usize = 4 << 20;

/// "Normal closure" (RFC 6455 section 7.4.1).
const NORMAL_CLOSURE: u16 = 1000;

#[derive(Debug)]
enum State {
    /// The TCP connection is being established.
    Connecting { since_ns: u64 },
    /// The request is sent, and the response is not complete.
    Handshaking(Box<Handshake>),
    /// The WebSocket is open, and the client is joining its room as the protocol demands.
    Joining { since_ns: u64 },
    /// Frames are exchanged.
    Open,
    /// The connection is open, and the client has stopped reading on purpose.
    Stalled,
    /// The connection has ended and its socket is dropped.
    Closed,
}

#[derive(Debug)]
struct Handshake {
    since_ns: u64,
    accept: String,
    response: Vec<u8>,
}

/// A client of the server under test.
#[derive(Debug)]
pub(super) struct Connection {
    number: u32,
    room: u32,
    state: State,
    stream: Option<TcpStream>,
    /// Encrypts the stream, if the target demands that.
    session: Option<Box<Session>>,
    decoder: FrameDecoder,
    /// Decompresses, if the server has accepted that.
    expander: Option<Box<Expander>>,
    texts: TextCollector,
    /// Parses marks, if the connection is sampled; the other connections only count them.
    scanner: Option<Box<MarkScanner>>,
    /// Bytes that the socket has not accepted yet, encrypted where there is a session.
    unsent: Vec<u8>,
}

impl Connection {
    /// Returns a connection whose `stream` is connecting.
    pub(super) fn new(number: usize, stream: TcpStream, shared: &Shared<'_>) -> Self {
        let (sampled, protocol) = (shared.plan.is_sampled(number), shared.plan.client.protocol);
        Self {
            number: number as u32,
            room: shared.plan.room(number) as u32,
            state: State::Connecting { since_ns: shared.clock.now_ns() },
            stream: Some(stream),
            session: None,
            decoder: FrameDecoder::default(),
            expander: None,
            texts: TextCollector::new(protocol, Wanted::Answers),
            scanner: sampled.then(Box::default),
            unsent: Vec::new(),
        }
    }

    /// Returns whether messages can be published on this connection.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Returns true before the connection can take part: the handshake or the protocol's join is not over.
    fn is_entering(&self) -> bool {
        matches!(self.state, State::Handshaking(_) | State::Joining { .. })
    }

    /// Returns whether so many bytes are unsent that its publisher should pause.
    pub(super) fn is_backlogged(&self) -> bool {
        self.unsent.len() > MAX_UNSENT
    }

    /// Handles an event of the poller: connects, writes or reads as far as the socket allows.
    pub(super) fn on_event(&mut self, event: &Event, shared: &mut Shared<'_>) {
        if let State::Connecting { since_ns } = self.state {
            if event.is_writable() || event.is_error() || event.is_read_closed() {
                self.send_request(since_ns, shared);
            }
            return;
        }
        if event.is_writable() && !self.unsent.is_empty() {
            self.flush();
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.receive(event.is_read_closed() || event.is_error(), shared);
        }
    }

    /// Sends the handshake request, or fails if the TCP connection was not established.
    fn send_request(&mut self, since_ns: u64, shared: &mut Shared<'_>) {
        let (request, accept) = shared.plan.target.request(self.number as usize, self.room as usize);
        match self.begin(&request, shared.plan.target.tls.as_ref()) {
            Ok(()) => {
                let handshake = Handshake { since_ns, accept, response: Vec::new() };
                self.state = State::Handshaking(Box::new(handshake));
            }
            Err(error) => {
                shared.counters.count_failed_handshake(error);
                self.drop_socket();
            }
        }
    }

    /// Sends `request`. With TLS, its handshake begins, and the request follows once it is over.
    fn begin(&mut self, request: &[u8], tls: Option<&Tls>) -> io::Result<()> {
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        stream.take_error()?.map_or(Ok(()), Err)?;
        // A fresh socket has room for a request.
        let Some(tls) = tls else { return stream.write_all(request) };
        let mut session = tls.session()?;
        session.send(request, &mut self.unsent)?;
        self.session = Some(Box::new(session));
        self.flush();
        Ok(())
    }

    /// Reads until the socket is empty. Registration is edge-triggered: a short read means that the socket is empty,
    /// unless the peer has closed it, which only a read of 0 bytes shows.
    fn receive(&mut self, ending: bool, shared: &mut Shared<'_>) {
        let mut buffer = std::mem::take(&mut shared.buffer);
        while let Some(stream) = self.stream.as_mut().filter(|_| !matches!(self.state, State::Stalled)) {
            match stream.read(&mut buffer) {
                Ok(0) => self.handle_disconnect("", shared),
                Ok(count) => {
                    self.handle_read(&buffer[..count], shared);
                    if count < buffer.len() && !ending {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => self.handle_disconnect(&error.to_string(), shared),
            }
        }
        shared.buffer = buffer;
    }

    /// Decrypts what was read, if the stream is encrypted, and handles it.
    fn handle_read(&mut self, data: &[u8], shared: &mut Shared<'_>) {
        let Some(session) = &mut self.session else { return self.handle_bytes(data, shared) };
        let mut plain = std::mem::take(&mut shared.decrypted);
        plain.clear();
        let received = session.receive(data, &mut plain, &mut self.unsent);
        self.flush();
        if !plain.is_empty() {
            self.handle_bytes(&plain, shared);
        }
        shared.decrypted = plain;
        match received {
            Ok(Received::More) => {}
            // The connection may have ended with a close frame just before.
            _ if self.stream.is_none() => {}
            Ok(Received::End) => self.handle_disconnect("", shared),
            Err(why) => self.handle_disconnect(&why, shared),
        }
    }

    fn handle_bytes(&mut self, data: &[u8], shared: &mut Shared<'_>) {
        let State::Handshaking(handshake) = &mut self.state else { return self.handle_frames(data, shared) };
        handshake.response.extend_from_slice(data);
        match check_response(&handshake.response, &handshake.accept) {
            HandshakeState::Incomplete => {}
            HandshakeState::Open { frames_at, deflates } => {
                let Handshake { since_ns, response, .. } = std::mem::replace(
                    &mut **handshake,
                    Handshake { since_ns: 0, accept: String::new(), response: Vec::new() },
                );
                self.expander = deflates.then(Box::default);
                shared.counters.deflating += u64::from(deflates);
                shared.tls = shared.tls.take().or_else(|| self.session.as_ref()?.negotiated());
                self.begin_to_join(since_ns, shared);
                self.handle_frames(&response[frames_at..], shared);
            }
            HandshakeState::Refused(why) => {
                shared.counters.count_failed_handshake(why);
                self.drop_socket();
            }
        }
    }

    /// Counts the deliveries in `data` and handles every other message.
    fn handle_frames(&mut self, data: &[u8], shared: &mut Shared<'_>) {
        shared.counters.bytes += data.len() as u64;
        let Some(expander) = &mut self.expander else { return self.handle_plain(data, shared) };
        let mut plain = std::mem::take(&mut shared.plain);
        plain.clear();
        let expanded = expander.expand(data, &mut shared.forms, &mut plain);
        self.handle_plain(&plain, shared);
        shared.plain = plain;
        if expanded.is_err() {
            self.handle_malformed(shared);
        }
    }

    /// Counts the deliveries in `data`, which is not compressed, and handles every other message.
    fn handle_plain(&mut self, data: &[u8], shared: &mut Shared<'_>) {
        let mut others = Vec::new();
        let Self { state, decoder, texts, scanner, number, .. } = self;
        let decoded = match scanner {
            // Nobody counts on a client that has not joined.
            _ if matches!(state, State::Joining { .. }) => counting::skip(decoder, texts, data, &mut others),
            Some(scanner) => counting::parse(decoder, scanner, texts, *number, data, shared, &mut others),
            None => counting::count(decoder, texts, data, shared, &mut others),
        };
        for (opcode, payload) in others {
            self.handle_other_message(opcode, &payload, shared);
        }
        if decoded == Err(Malformed) {
            self.handle_malformed(shared);
        }
    }

    fn handle_malformed(&mut self, shared: &mut Shared<'_>) {
        if self.stream.is_some() {
            shared.counters.malformed += 1;
            self.handle_disconnect("the server sent a malformed frame", shared);
        }
    }

    fn handle_other_message(&mut self, opcode: u8, payload: &[u8], shared: &mut Shared<'_>) {
        match opcode {
            PING => self.send_frame(PONG, payload),
            PONG => shared.counters.pongs += 1,
            TEXT => self.handle_text(payload, shared),
            CLOSE if self.stream.is_some() => {
                let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                if !shared.is_ending {
                    self.send_frame(CLOSE, payload.get(..2).unwrap_or_default());
                }
                let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default());
                self.handle_close(code, &reason, shared);
            }
            _ => {}
        }
    }

    /// Handles the end of a connection that ended without a close frame.
    fn handle_disconnect(&mut self, why: &str, shared: &mut Shared<'_>) {
        if self.is_entering() {
            shared.counters.count_failed_handshake(if why.is_empty() {
                "the server closed the connection"
            } else {
                why
            });
            self.drop_socket();
        } else {
            self.handle_close(1006, why, shared);
        }
    }

    fn handle_close(&mut self, code: u16, reason: &str, shared: &mut Shared<'_>) {
        // The answers to our own close frames at the end of a run are not counted.
        if self.is_entering() {
            shared.counters.count_failed_handshake(format!("closed with {code} {reason}").trim_end());
        } else if !shared.is_ending {
            shared.counters.count_close(code, reason);
        }
        if self.is_open() {
            shared.remove_reader(self.room);
        }
        self.drop_socket();
    }

    /// Begins the closing handshake; the socket is dropped when the server has answered.
    pub(super) fn close(&mut self) {
        if self.is_open() {
            self.send_frame(CLOSE, &NORMAL_CLOSURE.to_be_bytes());
        }
    }

    /// Drops the socket together with its unsent bytes.
    fn drop_socket(&mut self) {
        self.state = State::Closed;
        if let Some(mut session) = self.session.take()
            && session.finish(&mut self.unsent).is_ok()
        {
            self.flush();
        }
        self.unsent = Vec::new();
        if let Some(stream) = self.stream.take() {
            // Bytes in the kernel's buffer still arrive. An error only means that the connection has ended already.
            let _ = stream.shutdown(Shutdown::Write);
        }
    }

    /// Sends one masked frame with `payload`.
    pub(super) fn send_frame(&mut self, opcode: u8, payload: &[u8]) {
        let mut frame = Vec::with_capacity(14 + payload.len());
        put_frame(&mut frame, opcode, payload, fastrand::u32(..).to_ne_bytes());
        self.send(&frame);
    }

    /// Writes `bytes` and keeps those that the socket does not accept. An error is noticed by the next read.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        let Some(stream) = self.stream.as_mut().filter(|_| !bytes.is_empty()) else { return };
        if let Some(session) = &mut self.session {
            // The handshake is over, so that the session keeps none of them and cannot refuse any.
            let _ = session.send(bytes, &mut self.unsent);
            return self.flush();
        }
        let written = if self.unsent.is_empty() { stream.write(bytes).unwrap_or(0) } else { 0 };
        self.unsent.extend_from_slice(&bytes[written..]);
    }

    fn flush(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        while let Ok(written @ 1..) = stream.write(&self.unsent) {
            self.unsent.drain(..written);
            if self.unsent.is_empty() {
                return;
            }
        }
    }
}
