//! One request on one connection: route, check, ask the [`App`], answer.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use tokio::time::Instant;

use super::body::Deadline;
use super::{App, Limits, Request, Response, Route, respond, upgrade};
use crate::admission::Refusal;

/// What the service and the loop that drives hyper share. One thread, hence cells.
pub(super) struct Exchange<'a, A: App> {
    app: &'a A,
    limits: &'a Limits,
    deadline: Deadline,
    served: Cell<u32>,
    admitted: RefCell<Option<A::Admitted>>,
}

impl<'a, A: App> Exchange<'a, A> {
    pub(super) fn new(app: &'a A, limits: &'a Limits) -> Self {
        let began = limits.accepted.unwrap_or_else(Instant::now);
        Self {
            app,
            limits,
            deadline: Rc::new(Cell::new(Some(began + limits.handshake_timeout))),
            served: Cell::new(0),
            admitted: RefCell::new(None),
        }
    }

    /// Until when the peer has to bring the next request head; `None` while it waits for us.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline.get()
    }

    /// Gives the peer until then.
    pub(super) fn postpone(&self, deadline: Instant) {
        self.deadline.set(Some(deadline));
    }

    /// Requests answered so far.
    pub(super) fn served(&self) -> u32 {
        self.served.get()
    }

    /// What the last request was admitted with.
    pub(super) fn take_admitted(&self) -> Option<A::Admitted> {
        self.admitted.take()
    }

    /// hyper's service: answers one request.
    pub(super) async fn handle(&self, request: hyper::Request<Incoming>) -> Result<Response, Infallible> {
        self.deadline.set(None);
        let answer = self.answer(&request).await;
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

    async fn answer(&self, request: &hyper::Request<Incoming>) -> Result<Response, Refusal> {
        match self.app.route(request.uri().path()) {
            Route::WebSocket(endpoint) => self.upgrade(endpoint, request).await,
            Route::Page => {
                upgrade::check_page(request)?;
                self.app.page(Request::new(request, &[]))
            }
            Route::Unknown => {
                upgrade::check_host(request)?;
                Err(Refusal::UnknownPath)
            }
        }
    }

    async fn upgrade(
        &self,
        endpoint: A::Endpoint,
        request: &hyper::Request<Incoming>,
    ) -> Result<Response, Refusal> {
        let handshake = upgrade::check(request)?;
        let offered = &handshake.offered;
        let admission = self.app.admit(endpoint, Request::new(request, offered)).await?;
        debug_assert!(
            admission.subprotocol.is_none_or(|selected| offered.contains(&selected)),
            "only what was offered can be selected (RFC 6455 section 4.2.2)"
        );
        *self.admitted.borrow_mut() = Some(admission.admitted);
        Ok(upgrade::switching_protocols(&handshake.accept, admission.subprotocol))
    }
}
