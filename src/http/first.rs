//! The short way of a handshake: a head that comes whole in the first read is parsed and answered here, without the
//! buffers and the machine of states that a connection of HTTP needs.
//!
//! It takes nothing but requests that become a WebSocket. Everything else, a refusal too, is hyper's, which gets the
//! same bytes again. Both ways make the same checks on the same types.

use bytes::Bytes;
use httparse::{EMPTY_HEADER, Status};
use hyper::header::{CONTENT_LENGTH, EXPECT, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::{Method, Uri, Version};

use super::app::{App, Route};
use super::request::Request;
use super::upgrade;
use crate::admission::Refusal;

/// Most headers of a request that is parsed here. Browsers send 12 to 20 with a handshake.
const MAX_HEADERS: usize = 32;

/// The head of a request, and the bytes that followed it.
#[derive(Debug)]
pub struct FirstRequest {
    head: hyper::Request<()>,
    leftover: Bytes,
}

/// A handshake that is admitted.
#[derive(Debug)]
pub struct Accepted<C> {
    /// The value that [`App::admit`] returned.
    pub connection: C,
    /// The response, which has to be sent before everything else.
    pub answer: Vec<u8>,
    /// Bytes that the peer sent after its handshake: the start of the first frames.
    pub leftover: Bytes,
}

impl FirstRequest {
    /// Parses the first bytes of a connection. Returns `None` when they are no whole head of a GET in HTTP/1.1 without
    /// a body, or hyper might understand them in another way.
    #[must_use]
    pub fn parse(bytes: &Bytes) -> Option<Self> {
        let mut headers = [EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        let Ok(Status::Complete(end)) = parsed.parse(bytes) else { return None };
        if parsed.method != Some("GET") || parsed.version != Some(1) {
            return None;
        }
        let mut head = hyper::Request::new(());
        *head.method_mut() = Method::GET;
        *head.version_mut() = Version::HTTP_11;
        *head.uri_mut() = Uri::from_maybe_shared(bytes.slice_ref(parsed.path?.as_bytes())).ok()?;
        let map = head.headers_mut();
        *map = HeaderMap::with_capacity(parsed.headers.len());
        for header in parsed.headers {
            let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
            if name == CONTENT_LENGTH || name == TRANSFER_ENCODING || name == EXPECT {
                return None;
            }
            map.append(name, HeaderValue::from_maybe_shared(bytes.slice_ref(header.value)).ok()?);
        }
        // Copied, because the bytes would keep the head alive.
        Some(Self { head, leftover: Bytes::copy_from_slice(&bytes[end..]) })
    }

    /// Asks the application to admit the handshake. Returns `None`, and has asked nothing, when this is no handshake
    /// that can be admitted.
    ///
    /// # Cancel safety
    /// That of [`App::admit`].
    ///
    /// # Errors
    /// The refusal to answer with, which is not counted yet.
    pub async fn admit<A: App>(self, app: &A) -> Option<Result<Accepted<A::Connection>, Refusal>> {
        let Self { head, leftover } = self;
        let Route::WebSocket(endpoint) = app.route(head.uri().path()) else { return None };
        let handshake = upgrade::check(&head).ok()?;
        let admitted = app.admit(endpoint, Request::new(&head, &handshake.offered)).await;
        Some(admitted.map(|admitted| Accepted {
            answer: switching_protocols(upgrade::answer(
                &handshake.accept,
                admitted.subprotocol,
                admitted.extensions,
            )),
            connection: admitted.connection,
            leftover,
        }))
    }
}

/// Writes the 101 response with these headers. It has no date, which RFC 9110, section 6.6.1, leaves to the server for
/// this status.
fn switching_protocols<'v>(answer: impl Iterator<Item = (HeaderName, &'v [u8])>) -> Vec<u8> {
    let mut head = Vec::with_capacity(256);
    head.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
    for (name, value) in answer {
        for part in [name.as_str().as_bytes(), b": ", value, b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}
