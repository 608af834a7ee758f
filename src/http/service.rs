//! Answers one request: routes it, checks it, and asks the [`App`].

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use tokio::time::Instant;

use super::app::{App, Route};
use super::body::{Deadline, Response};
use super::limits::HttpLimits;
use super::received::RequestBody;
use super::request::Request;
use super::{respond, upgrade};
use crate::admission::Refusal;

/// The state of a connection that hyper's service and the loop that drives hyper share. Both run on one thread, so that
/// cells are enough.
pub(super) struct Exchange<'a, A: App> {
    app: &'a A,
    limits: &'a HttpLimits,
    deadline: Deadline,
    served: Cell<u32>,
    admitted: RefCell<Option<A::Connection>>,
    /// True once a request was admitted whose response hyper does not write.
    has_left: Cell<bool>,
}

impl<'a, A: App> Exchange<'a, A> {
    pub(super) fn new(app: &'a A, limits: &'a HttpLimits) -> Self {
        let began = limits.accepted.unwrap_or_else(Instant::now);
        Self {
            app,
            limits,
            deadline: Rc::new(Cell::new(Some(began + limits.handshake_timeout))),
            served: Cell::new(0),
            admitted: RefCell::new(None),
            has_left: Cell::new(false),
        }
    }

    /// Returns the time until which the peer has to send its next request head; `None` while it waits for a response.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline.get()
    }

    /// Gives the peer a new deadline.
    pub(super) fn postpone(&self, deadline: Instant) {
        self.deadline.set(Some(deadline));
    }

    /// Returns the number of requests answered so far.
    pub(super) fn served(&self) -> u32 {
        self.served.get()
    }

    /// Returns true once a request was admitted whose response hyper does not write.
    pub(super) fn has_left(&self) -> bool {
        self.has_left.get()
    }

    /// Takes the connection that the last request was admitted with.
    pub(super) fn take_admitted(&self) -> Option<A::Connection> {
        self.admitted.take()
    }

    /// Answers one request; this is hyper's service.
    pub(super) async fn handle(&self, request: hyper::Request<Incoming>) -> Result<Response, Infallible> {
        self.deadline.set(None);
        let (head, incoming) = request.into_parts();
        let body = RequestBody::new(incoming, self.limits.handshake_timeout);
        let answer = self.answer(&hyper::Request::from_parts(head, ()), body).await;
        let mut response = answer.unwrap_or_else(|refusal| {
            self.app.refused(&refusal);
            respond::refusal(&refusal)
        });
        self.served.set(self.served.get() + 1);
        response.body_mut().paced_by(&self.deadline, self.limits.stream_timeout);
        let is_last = self.served.get() >= self.limits.max_requests || response.body().is_parts();
        if is_last && self.admitted.borrow().is_none() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.deadline.set(Some(Instant::now() + self.limits.handshake_timeout));
        Ok(response)
    }

    async fn answer(&self, request: &hyper::Request<()>, body: RequestBody) -> Result<Response, Refusal> {
        match self.app.route(request.uri().path()) {
            Route::WebSocket(endpoint) => self.upgrade(endpoint, request).await,
            Route::Events(endpoint) => self.events(endpoint, request).await,
            Route::Page => {
                upgrade::check_page(request)?;
                self.app.page(Request::new(request, &[])).await
            }
            Route::Call => {
                upgrade::check_host(request)?;
                self.app.call(Request::new(request, &[]), body).await
            }
            Route::Unknown => {
                upgrade::check_host(request)?;
                Err(Refusal::UnknownPath)
            }
        }
    }

    /// Admits a request for events. Does not return then: the connection leaves hyper with the request unanswered, and
    /// whoever gets it writes the head of the response too, because hyper would keep a connection whose response has no
    /// end.
    async fn events(&self, endpoint: A::Endpoint, request: &hyper::Request<()>) -> Result<Response, Refusal> {
        upgrade::check_events(request)?;
        let admitted = self.app.admit(endpoint, Request::new(request, &[])).await?;
        *self.admitted.borrow_mut() = Some(admitted.connection);
        self.has_left.set(true);
        std::future::pending().await
    }

    async fn upgrade(
        &self,
        endpoint: A::Endpoint,
        request: &hyper::Request<()>,
    ) -> Result<Response, Refusal> {
        let handshake = upgrade::check(request)?;
        let offered = &handshake.offered;
        let admitted = self.app.admit(endpoint, Request::new(request, offered)).await?;
        debug_assert!(
            admitted.subprotocol.is_none_or(|selected| offered.contains(&selected)),
            "only what was offered can be selected (RFC 6455 section 4.2.2)"
        );
        *self.admitted.borrow_mut() = Some(admitted.connection);
        Ok(upgrade::switching_protocols(&handshake.accept, admitted.subprotocol, admitted.extensions))
    }
}
