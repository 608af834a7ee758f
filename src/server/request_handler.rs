//! Answers each HTTP request of a socket: with a page, a refusal, or the endpoint that the connection will have.
//!
//! Everything about a request is checked before anything is registered.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::sync::mpsc;

use super::address_check::AddressCharge;
use super::api;
use super::dashboard::usage;
use super::denial::{self, Denial};
use super::door::Door;
use super::endpoint_setup::EndpointSetup;
use super::handshakes::{Activity, Group, HandshakePermit, Revocation};
use super::jwks::RemoteKeys;
use super::listed;
use super::shared::Shared;
use crate::admission::Refusal;
use crate::admission::address::Net;
use crate::admission::limits::AddressLease;
use crate::config::Refuse;
use crate::connection::{ConnectionInfo, WorkerContext};
use crate::endpoint::{self, Endpoint};
use crate::http::extensions::{self, AcceptedOffer};
use crate::http::pages::{self, Readiness};
use crate::http::{App, Request, RequestBody, Response, Route, Upgrade, respond, upgrade};
use crate::metrics::Gauges;
use crate::protocol::close::EndReason;
use crate::protocol::{Dialect, V1_SUBPROTOCOL};
use crate::shard::Registration;

/// The stream of the dashboard's snapshots.
const STATS_STREAM: &str = "/api/stats/stream";

/// A request that passed every admission check, with all that was reserved for its connection. Dropping it undoes
/// everything.
pub(super) struct AdmittedConnection {
    // Fields are dropped in this order: rooms and the user id are given up before the slot.
    pub(super) endpoint: Endpoint,
    pub(super) registration: Registration,
    pub(super) info: ConnectionInfo,
    pub(super) lease: Option<AddressLease>,
}

/// Handles the requests of one socket.
pub(super) struct RequestHandler<'a> {
    pub(super) context: &'a Rc<WorkerContext>,
    pub(super) shared: &'a Shared,
    /// The address that the requests come from, of a client or of a proxy.
    pub(super) peer: IpAddr,
    /// The listening address that the requests come to.
    pub(super) door: Door,
    /// The reason for which the socket got only a reserved permit, and is refused nearly everything.
    pub(super) refusal: Option<Refusal>,
    /// The handshake and the connection that are counted for the address, until they are used or refunded.
    pub(super) charge: Cell<Option<AddressCharge>>,
    /// The refusal of the first request, when it is decided before hyper has read it.
    pub(super) decided: Cell<Option<Refusal>>,
    /// True while the request waits for the answer of another connection.
    pub(super) awaits_other: Cell<bool>,
    pub(super) revocation: &'a Revocation,
    /// The handshake permit, until the handshake is over.
    pub(super) permit: &'a Cell<Option<HandshakePermit>>,
}

impl App for RequestHandler<'_> {
    type Endpoint = endpoint::Route;
    type Connection = AdmittedConnection;

    fn route(&self, path: &str) -> Route<Self::Endpoint> {
        if !self.door.has(path) {
            return Route::Unknown;
        }
        match path {
            "/healthz" | "/readyz" | STATS_STREAM | listed::PATH => Route::Page,
            _ if path.starts_with(api::PREFIX) => Route::Call,
            "/metrics" if self.shared.node.config().metrics.enabled => Route::Page,
            _ if pages::file(path).is_some() => Route::Page,
            _ => match endpoint::Route::parse(path) {
                None => Route::Unknown,
                Some(endpoint::Route::Stream) => Route::Events(endpoint::Route::Stream),
                Some(endpoint) => Route::WebSocket(endpoint),
            },
        }
    }

    async fn page(&self, request: Request<'_>) -> Result<Response, Refusal> {
        let node = &self.shared.node;
        self.refund();
        if self.refusal == Some(Refusal::AtCapacity) && !matches!(request.path(), "/healthz" | "/readyz") {
            return Err(Refusal::AtCapacity);
        }
        Ok(match request.path() {
            STATS_STREAM => return self.stats(request),
            listed::PATH => {
                self.revocation.set_working();
                return self.shared.rooms.answer(node).await;
            }
            "/readyz" if node.is_draining() => pages::readyz(Readiness::Draining),
            "/readyz" if !node.can_publish() => pages::readyz(Readiness::NoEngine),
            "/readyz" if self.shared.policy.awaits_keys() => pages::readyz(Readiness::NoKeys),
            "/readyz" => pages::readyz(Readiness::Ready),
            "/metrics" => {
                let process = usage::of_process(node.clock.unix_ms_at(0));
                let keys = self.shared.policy.remote_keys.as_ref().map(RemoteKeys::metrics);
                let certificates =
                    self.shared.encryption.as_ref().map(|encryption| encryption.gauges()).unwrap_or_default();
                let gauges = Gauges { keys, certificates, ..node.gauges() };
                respond::metrics(node.metrics.render(&gauges, &process))
            }
            path => pages::file(path).map_or_else(pages::healthz, |file| file.response(request)),
        })
    }

    async fn call(&self, request: Request<'_>, body: RequestBody) -> Result<Response, Refusal> {
        self.refund();
        if self.refusal == Some(Refusal::AtCapacity) {
            return Err(Refusal::AtCapacity);
        }
        self.revocation.set_working();
        api::answer(self.shared, request, body).await
    }

    async fn admit(
        &self,
        route: endpoint::Route,
        request: Request<'_>,
    ) -> Result<Upgrade<AdmittedConnection>, Refusal> {
        self.decided.take().map_or(Ok(()), Err)?;
        self.revocation.set_working();
        let (node, policy) = (&self.shared.node, &self.shared.policy);
        policy.check_origin(request.origins())?;
        if node.is_draining() {
            return Err(Refusal::Draining);
        }
        // The other endpoints need no room.
        let needs_room = matches!(route, endpoint::Route::Chat | endpoint::Route::Stream);
        if needs_room && !node.is_engine_up() {
            return Err(Refusal::NoEngine);
        }
        let client = policy.client(self.peer, request.headers("x-forwarded-for"));
        self.reassign_permit(client);
        let net: Net = client.into();
        self.refusal.map_or(Ok(()), Err)?;
        let charge = self.charge.take();
        if charge.is_none() {
            policy.addresses.handshake(net, policy.clock.now_ms())?;
        }
        let permit = node.connection_permit().ok_or(Refusal::AtCapacity)?;
        let lease = match charge {
            Some(charge) => charge.into_lease(),
            None => policy.addresses.connect(net)?,
        };
        let subprotocol = upgrade::select(subprotocols(route), request.offered());
        let registration = self.context.shard.register();
        if subprotocol == Some(V1_SUBPROTOCOL) {
            registration.speak(Dialect::V1);
        } else if route == endpoint::Route::Stream {
            registration.speak(Dialect::Sse);
        }
        let accepted = self.accept_offer(route, request);
        if let Some(offer) = accepted {
            registration.compress(offer.deflate);
        }
        let mut setup = EndpointSetup {
            node,
            policy,
            registration: &registration,
            client,
            net,
            awaits_other: &self.awaits_other,
            until_unix_ms: None,
        };
        let endpoint = match setup.endpoint(route, request, subprotocol).await {
            Ok(endpoint) => endpoint,
            Err(Denial::Http(refusal)) => return Err(refusal),
            // There is nothing to be upgraded, and a program reads the status.
            Err(Denial::Close(reason)) if route == endpoint::Route::Stream => {
                return Err(denial::in_http(&reason));
            }
            Err(Denial::Close(reason)) => self.deny(reason)?,
        };
        let info = ConnectionInfo { route, until_unix_ms: setup.until_unix_ms, permit };
        Ok(Upgrade {
            connection: AdmittedConnection { endpoint, registration, info, lease },
            subprotocol,
            extensions: accepted.map(|offer| offer.answer),
        })
    }

    fn poll_revoked(&self, cx: &mut Context<'_>, awaits_peer: bool) -> Poll<()> {
        let activity = match awaits_peer {
            true => Activity::AwaitingPeer,
            false if self.awaits_other.get() => Activity::AwaitingOther,
            false => Activity::Working,
        };
        self.revocation.poll_revoked(cx, activity)
    }

    fn refused(&self, refusal: &Refusal) {
        // The lease is returned now: closing the socket may take a while.
        drop(self.charge.take());
        self.shared.node.metrics.count_refusal(refusal.reason());
    }
}

impl RequestHandler<'_> {
    /// Takes back what was counted for the address, because pages are not counted: a person who loads one, or a program
    /// that watches the server, is not locked out by clients of the same address, and locks out none of them.
    fn refund(&self) {
        if let Some(charge) = self.charge.take() {
            self.shared.policy.refund(charge);
        }
    }

    /// Returns the offer of compression that is accepted, if one is.
    fn accept_offer(&self, route: endpoint::Route, request: Request<'_>) -> Option<AcceptedOffer> {
        let may_compress = self.shared.node.config().compression.enabled && route != endpoint::Route::Stream;
        if !may_compress {
            return None;
        }
        extensions::negotiate(request.headers("sec-websocket-extensions"))
    }

    /// Counts the handshake permit with those of the client that a proxy has named in its request. This happens once
    /// for each socket: a request that is refused is its last.
    fn reassign_permit(&self, client: IpAddr) {
        if self.shared.policy.is_client_in_request()
            && client != self.peer
            && let Some(permit) = self.permit.take()
        {
            permit.reassign(Group::of_client(client));
            self.permit.set(Some(permit));
        }
    }

    /// Answers a request for the stream of the dashboard.
    fn stats(&self, request: Request<'_>) -> Result<Response, Refusal> {
        let dashboard = &self.shared.dashboard;
        self.shared.keys.read().find(|name| request.headers(name)).ok_or(Refusal::ApiKey)?;
        if request.method() == "HEAD" {
            return Ok(respond::events(mpsc::channel(1).1));
        }
        let events = dashboard.watch(&self.shared.node)?;
        // A viewer stays: the permit is for others.
        drop(self.permit.take());
        Ok(respond::events(events))
    }

    /// Denies a request for a reason that a person must be able to read: with a completed upgrade and a close, because
    /// browsers show nothing of a refused handshake, or in HTTP where `admission.refuse` says so.
    fn deny(&self, reason: EndReason) -> Result<Endpoint, Refusal> {
        match self.shared.node.config().admission.refuse {
            Refuse::Close => Ok(Endpoint::Refused(Box::new(reason))),
            Refuse::Http => Err(denial::in_http(&reason)),
        }
    }
}

/// Returns the subprotocols that an endpoint speaks.
const fn subprotocols(route: endpoint::Route) -> &'static [&'static str] {
    match route {
        endpoint::Route::Echo => &["echo"],
        endpoint::Route::Chat => &[V1_SUBPROTOCOL],
        endpoint::Route::Secure | endpoint::Route::Messages => &[],
        endpoint::Route::WithTimeout | endpoint::Route::Heartbeat => &[],
        endpoint::Route::Stream => &[],
    }
}
