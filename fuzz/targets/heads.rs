//! Request heads: the first request of a connection is judged the same however its bytes arrive, by the same code that
//! serves a socket.

#![no_main]

mod split;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use throng::admission::{Check, Refusal};
use throng::http::{App, HttpLimits, Request, Response, Route, Served, Upgrade, serve};

/// Bytes of one input: below any limit, so that none of them is met in one way of cutting and not in the other.
const MOST: usize = 4_096;

/// A socket whose peer has sent these parts and nothing more.
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

/// Every path below /ws is an endpoint, /page is a page. What was asked first is kept.
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
            path if path.starts_with("/ws") => Route::WebSocket(()),
            _ => Route::Unknown,
        }
    }
    fn page(&self, request: Request<'_>) -> Result<Response, Refusal> {
        self.note(format!("page {:?} {:?}", request.query("room"), request.token()));
        Ok(Response::default())
    }
    async fn admit(&self, (): (), request: Request<'_>) -> Result<Upgrade<()>, Refusal> {
        self.note(format!("admit {:?} {:?}", request.query("room"), request.offered()));
        Ok(Upgrade { connection: (), subprotocol: None })
    }
    fn refused(&self, refusal: &Refusal) {
        // hyper knows the preface of HTTP/2 only where all of it comes at once. Either way it is 400 and the end.
        let refusal = match refusal {
            Refusal::Malformed(Check::Http2) => &Refusal::Malformed(Check::Syntax),
            other => other,
        };
        self.note(format!("refused {refusal:?}"));
    }
}

/// What became of the first request: its way through the door, and the first line of the answer. Where it was an
/// upgrade, also what follows it.
fn judge(parts: &[&[u8]]) -> (Vec<String>, Vec<u8>, Option<Vec<u8>>) {
    let script = Script { parts: parts.iter().map(|part| part.to_vec()).collect(), written: Vec::new() };
    let door = Door::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let served = runtime.block_on(serve(script, &door, &HttpLimits::default()));
    let mut notes = door.0.into_inner();
    // Whether a second request on the line is read may depend on how soon it came.
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
    // hyper may give up on a head that never ends as soon as it sees a mistake, or wait for the end.
    let head = bytes.iter().position(|byte| !b"\r\n".contains(byte)).map_or(&[][..], |begin| &bytes[begin..]);
    if !head.windows(4).any(|window| window == b"\r\n\r\n") {
        return;
    }
    let mut whole = judge(&[bytes]);
    let mut cut = judge(&split::parts(bytes, &lens));
    // A refusal that ends the line may belong to what stands behind the first request, which was not read then.
    if whole.0.first().is_some_and(|note| note.starts_with("route")) {
        whole.0.truncate(2);
        cut.0.truncate(2);
    }
    assert_eq!(cut, whole, "in parts of {lens:?}");
    if let Some(behind) = &whole.2 {
        assert!(bytes.ends_with(behind), "what follows the handshake is what was sent behind it");
    }
});
