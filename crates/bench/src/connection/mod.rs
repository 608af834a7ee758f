//! One connection: handshake, frames, end. Never blocks; everything it reads goes through one shared buffer.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;

use mio::event::Event;
use mio::net::TcpStream;

use super::counting;
use super::ear::{self, Ear};
use super::mark::Scanner;
use super::shared::Shared;
use super::target::{Answer, judge};
use super::wire::{CLOSE, Malformed, PING, PONG, TEXT, Walker, put_frame};

mod stalling;

/// What may wait unsent on one connection before its publisher is held back.
const MAX_UNSENT: usize = 4 << 20;

/// "Normal closure" (RFC 6455 section 7.4.1).
const GOING_WELL: u16 = 1000;

#[derive(Debug)]
enum State {
    /// Waits for the TCP connection.
    Connecting { since_ns: u64 },
    /// Waits for the response.
    Handshaking(Box<Handshake>),
    /// Frames flow.
    Open,
    /// Open, but nothing is read any more.
    Stalled,
    /// Ended; the socket is gone.
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
    walker: Walker,
    ear: Ear,
    /// Parses marks where the connection is sampled; the others only count.
    scanner: Option<Box<Scanner>>,
    unsent: Vec<u8>,
}

impl Connection {
    /// A connection whose `stream` is connecting.
    pub(super) fn new(number: usize, stream: TcpStream, shared: &Shared<'_>) -> Self {
        let sampled = shared.plan.is_sampled(number);
        Self {
            number: number as u32,
            room: shared.plan.room(number) as u32,
            state: State::Connecting { since_ns: shared.clock.now_ns() },
            stream: Some(stream),
            walker: Walker::default(),
            ear: Ear::new(sampled),
            scanner: sampled.then(Box::default),
            unsent: Vec::new(),
        }
    }

    /// Whether messages can be published on it.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Whether so much waits unsent that nothing should be added.
    pub(super) fn is_stuffed(&self) -> bool {
        self.unsent.len() > MAX_UNSENT
    }

    /// Does what the poller says is possible.
    pub(super) fn on_event(&mut self, event: &Event, shared: &mut Shared<'_>) {
        if let State::Connecting { since_ns } = self.state {
            if event.is_writable() || event.is_error() || event.is_read_closed() {
                self.ask(since_ns, shared);
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

    /// Connected, or not: sends the request.
    fn ask(&mut self, since_ns: u64, shared: &mut Shared<'_>) {
        let Some(stream) = &mut self.stream else { return };
        let connected = stream.take_error().and_then(|error| error.map_or(Ok(()), Err));
        let (request, accept) = shared.plan.target.request(self.number as usize, self.room as usize);
        // A fresh socket has room for a request.
        match connected.and_then(|()| stream.write_all(&request)) {
            Ok(()) => {
                let handshake = Handshake { since_ns, accept, response: Vec::new() };
                self.state = State::Handshaking(Box::new(handshake));
            }
            Err(error) => {
                shared.tally.fail(error);
                self.abandon();
            }
        }
    }

    /// Reads until nothing is left. Registration is edge-triggered: a short read means the socket is empty, unless the
    /// peer has ended it, which only a read of nothing tells.
    fn receive(&mut self, ending: bool, shared: &mut Shared<'_>) {
        let mut buffer = std::mem::take(&mut shared.buffer);
        while let Some(stream) = self.stream.as_mut().filter(|_| !matches!(self.state, State::Stalled)) {
            match stream.read(&mut buffer) {
                Ok(0) => self.lost("", shared),
                Ok(count) => {
                    self.take(&buffer[..count], shared);
                    if count < buffer.len() && !ending {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => self.lost(&error.to_string(), shared),
            }
        }
        shared.buffer = buffer;
    }

    fn take(&mut self, data: &[u8], shared: &mut Shared<'_>) {
        let State::Handshaking(handshake) = &mut self.state else { return self.frames(data, shared) };
        handshake.response.extend_from_slice(data);
        match judge(&handshake.response, &handshake.accept) {
            Answer::More => {}
            Answer::Open(at) => {
                let Handshake { since_ns, response, .. } = std::mem::replace(
                    &mut **handshake,
                    Handshake { since_ns: 0, accept: String::new(), response: Vec::new() },
                );
                self.state = State::Open;
                shared.opened(self.room, since_ns);
                let hello = shared.hello(self.number as usize, self.room as usize);
                self.send(&hello);
                self.frames(&response[at..], shared);
            }
            Answer::Refused(why) => {
                shared.tally.fail(why);
                self.abandon();
            }
        }
    }

    /// Counts what the frames in `data` deliver, and answers control frames.
    fn frames(&mut self, data: &[u8], shared: &mut Shared<'_>) {
        shared.tally.bytes += data.len() as u64;
        let mut controls = Vec::new();
        let Self { walker, ear, scanner, number, .. } = self;
        let walked = match scanner {
            Some(scanner) => counting::parse(walker, scanner, ear, *number, data, shared, &mut controls),
            None => counting::count(walker, ear, data, shared, &mut controls),
        };
        for (opcode, payload) in controls {
            self.control(opcode, &payload, shared);
        }
        if walked == Err(Malformed) && self.stream.is_some() {
            shared.tally.malformed += 1;
            self.lost("the server sent what is no frame", shared);
        }
    }

    fn control(&mut self, opcode: u8, payload: &[u8], shared: &mut Shared<'_>) {
        match opcode {
            PING => self.send_frame(PONG, payload),
            PONG => shared.tally.pongs += 1,
            TEXT => match ear::answer(payload) {
                Some(answer) => self.send_frame(TEXT, answer),
                None => shared.tally.hear(payload),
            },
            CLOSE if self.stream.is_some() => {
                let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                if !shared.is_ending {
                    self.send_frame(CLOSE, payload.get(..2).unwrap_or_default());
                }
                let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default());
                self.ended(code, &reason, shared);
            }
            _ => {}
        }
    }

    /// Ended without a close frame.
    fn lost(&mut self, why: &str, shared: &mut Shared<'_>) {
        if matches!(self.state, State::Handshaking(_)) {
            shared.tally.fail(if why.is_empty() { "the server hung up" } else { why });
            self.abandon();
        } else {
            self.ended(1006, why, shared);
        }
    }

    fn ended(&mut self, code: u16, reason: &str, shared: &mut Shared<'_>) {
        // What follows our own goodbye is no news.
        if !shared.is_ending {
            shared.tally.close(code, reason);
        }
        if self.is_open() {
            shared.left(self.room);
        }
        self.abandon();
    }

    /// Says goodbye; the socket goes when the server has answered.
    pub(super) fn leave(&mut self) {
        if self.is_open() {
            self.send_frame(CLOSE, &GOING_WELL.to_be_bytes());
        }
    }

    /// Drops the socket.
    fn abandon(&mut self) {
        self.state = State::Closed;
        self.unsent = Vec::new();
        if let Some(stream) = self.stream.take() {
            // What was sent still arrives; an error only says that it is gone already.
            let _ = stream.shutdown(Shutdown::Write);
        }
    }

    /// Sends one masked frame.
    pub(super) fn send_frame(&mut self, opcode: u8, payload: &[u8]) {
        let mut frame = Vec::with_capacity(14 + payload.len());
        put_frame(&mut frame, opcode, payload, fastrand::u32(..).to_ne_bytes());
        self.send(&frame);
    }

    /// Writes `bytes`, or keeps what the socket does not take. An error shows when reading.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        let Some(stream) = self.stream.as_mut().filter(|_| !bytes.is_empty()) else { return };
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
