//! The interface between HTTP and the application behind it: [`App`] decides what a path leads to and which handshakes
//! are admitted.

use std::future::Future;
use std::task::{Context, Poll};

use super::body::Response;
use super::received::RequestBody;
use super::request::Request;
use crate::admission::Refusal;

/// The kind of resource at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<E> {
    /// A WebSocket endpoint, which is passed to [`App::admit`].
    WebSocket(E),
    /// A page for GET and HEAD, which [`App::page`] answers.
    Page,
    /// A call of the API, of any method and perhaps with a body, which [`App::call`] answers.
    Call,
    /// A stream of server-sent events behind this endpoint. The application writes the response itself.
    Events(E),
    /// No resource: 404.
    Unknown,
}

/// A handshake that is admitted and has to be answered with a 101; or a request for events.
#[derive(Debug)]
pub struct Upgrade<T> {
    /// The application's part of the connection, which [`Served::Upgraded`](super::Served::Upgraded) returns.
    pub connection: T,
    /// The subprotocol to answer with, see [`upgrade::select`](super::upgrade::select). Must be one of those offered.
    pub subprotocol: Option<&'static str>,
    /// The value of `Sec-WebSocket-Extensions` to answer with, see [`extensions`](super::extensions).
    pub extensions: Option<&'static str>,
}

/// The application behind HTTP.
pub trait App {
    /// An endpoint, which [`route`](Self::route) finds for a path and [`admit`](Self::admit) gets.
    type Endpoint;
    /// The application's part of an admitted connection. Dropping it has to undo the admission, because the peer may
    /// vanish before its 101.
    type Connection;

    /// Returns the kind of resource at a path. `path` is as it came, without the query and not percent-decoded.
    fn route(&self, path: &str) -> Route<Self::Endpoint>;

    /// Answers a GET or HEAD for a [`Route::Page`]; hyper leaves the body out for HEAD. A response in
    /// [parts](super::Body::parts) is the connection's last.
    ///
    /// The caller sets no limit to the time that this takes: the implementation has to bound its waits.
    ///
    /// # Cancel safety
    /// The future is dropped half-way when the peer vanishes or the worker stops.
    ///
    /// # Errors
    /// The refusal to answer with.
    fn page(&self, request: Request<'_>) -> impl Future<Output = Result<Response, Refusal>>;

    /// Answers a request for a [`Route::Call`].
    ///
    /// The caller sets no limit to the time that this takes: the implementation has to bound its waits.
    ///
    /// # Cancel safety
    /// The future is dropped half-way when the peer vanishes or the worker stops.
    ///
    /// # Errors
    /// The refusal to answer with.
    fn call(
        &self,
        request: Request<'_>,
        body: RequestBody,
    ) -> impl Future<Output = Result<Response, Refusal>>;

    /// Decides on a handshake that is correct in itself.
    ///
    /// The caller sets no limit to the time that this takes: the implementation has to bound its waits.
    ///
    /// # Cancel safety
    /// The future is dropped half-way when the worker stops.
    ///
    /// # Errors
    /// The refusal to answer with.
    fn admit(
        &self,
        endpoint: Self::Endpoint,
        request: Request<'_>,
    ) -> impl Future<Output = Result<Upgrade<Self::Connection>, Refusal>>;

    /// Returns ready when the connection has to end to make way for others; the task is woken for that. Called whenever
    /// nothing can be done for now. `awaits_peer` is true when the connection waits for its peer, be it for the last
    /// bytes.
    fn poll_revoked(&self, _cx: &mut Context<'_>, _awaits_peer: bool) -> Poll<()> {
        Poll::Pending
    }

    /// Counts a refusal. Called once for each, those that the other functions return included.
    fn refused(&self, refusal: &Refusal);
}
