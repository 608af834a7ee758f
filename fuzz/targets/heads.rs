//! Fuzzes request heads: the first request of a connection gets the same result however its bytes are split. The target
//! runs the code that serves a socket.

#![no_main]

mod split;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use throng::testing::admission::{Check, Refusal};
use throng::testing::http::{App, HttpLimits, Request, RequestBody, Response, Route, Served, Upgrade, serve};

/// Longest input in bytes: below every limit, so that no limit depends on how the bytes are split.
const MOST: usize = 4_096;
/// Most bytes of a body that is read.
const MOST_BODY: usize = 64;

/// A socket whose peer has sent these parts and nothing else.
struct Script {
    parts: VecDeque<Vec<u8>>,
    written: Vec<u8>,
}

impl Read for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(mut part) = self.parts.pop_front() {
            let rest = part.split_off(part.len().min(buf.remaining()));
            buf.put_slice(&part);
            if !rest.is_empty() {
                self.parts.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for Script {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// An application that records its calls. Every path below /ws is an endpoint, /page is a page, and /call takes a body.
#[derive(Default)]
struct Door(RefCell<Vec<String>>);

impl Door {
    fn note(&self, what: String) {
        self.0.borrow_mut().push(what);
    }
}

impl App for Door {
    type Endpoint = ();
    type Connection = ();

    fn route(&self, path: &str) -> Route<()> {
        self.note(format!("route {path}"));
        match path {
            "/page" => Route::Page,
            "/call" => Route::Call,
            path if path.starts_with("/ws") => Route::WebSocket(()),
            _ => Route::Unknown,
        }
    }
    async fn page(&self, request: Request<'_>) -> Result<Response, Refusal> {
        self.note(format!("page {:?} {:?}", request.query("room"), request.token()));
        Ok(Response::default())
    }
    async fn call(&self, request: Request<'_>, body: RequestBody) -> Result<Response, Refusal> {
        // Whether a body that has two mistakes is too large or broken depends on the split.
        let body = body.read(MOST_BODY).await.ok();
        self.note(format!("call {} {:?} {body:?}", request.method(), request.query("room")));
        Ok(Response::default())
    }
    async fn admit(&self, (): (), request: Request<'_>) -> Result<Upgrade<()>, Refusal> {
        self.note(format!("admit {:?} {:?}", request.query("room"), request.offered()));
        Ok(Upgrade { connection: (), subprotocol: None, extensions: None })
    }
    fn refused(&self, refusal: &Refusal) {
        // hyper detects the preface of HTTP/2 only if all of it arrives at once. In both cases the answer is 400.
        let refusal = match refusal {
            Refusal::Malformed(Check::Http2) => &Refusal::Malformed(Check::Syntax),
            other => other,
        };
        self.note(format!("refused {refusal:?}"));
    }
}

/// Returns the recorded calls for the first request and, if it was an upgrade, the first line of the response and the
/// bytes that follow the request.
fn judge(parts: &[&[u8]]) -> (Vec<String>, Vec<u8>, Option<Vec<u8>>) {
    let script = Script { parts: parts.iter().map(|part| part.to_vec()).collect(), written: Vec::new() };
    let door = Door::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let served = runtime.block_on(serve(script, &door, &HttpLimits::default()));
    let mut notes = door.0.into_inner();
    // A second request on the connection may or may not be read, depending on the split.
    let second = notes.iter().skip(1).position(|note| note.starts_with("route")).map(|at| at + 1);
    notes.truncate(second.unwrap_or(usize::MAX));
    match served {
        Served::Upgraded { io, leftover, .. } if second.is_none() => {
            let line = io.written.split(|byte| *byte == b'\r').next().unwrap_or_default().to_vec();
            let behind = leftover.iter().chain(io.parts.iter().flatten()).copied().collect();
            (notes, line, Some(behind))
        }
        _ => (notes, Vec::new(), None),
    }
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((bytes, lens)) = split::take(&input[..input.len().min(MOST)]) else { return };
    // If a head has no end, hyper may report a mistake in it at once, or wait for the end.
    let head = bytes.iter().position(|byte| !b"\r\n".contains(byte)).map_or(&[][..], |begin| &bytes[begin..]);
    if !head.windows(4).any(|window| window == b"\r\n\r\n") {
        return;
    }
    let mut whole = judge(&[bytes]);
    let mut cut = judge(&split::parts(bytes, &lens));
    // A later refusal may belong to bytes after the first request, which are not read in every split.
    if whole.0.first().is_some_and(|note| note.starts_with("route")) {
        whole.0.truncate(2);
        cut.0.truncate(2);
    }
    assert_eq!(cut, whole, "in parts of {lens:?}");
    if let Some(behind) = &whole.2 {
        assert!(bytes.ends_with(behind), "the leftover bytes are those sent after the handshake");
    }
});
