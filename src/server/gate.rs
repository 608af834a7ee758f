//! Decides over each request: page, refusal, or the endpoint that a connection is to have. Everything about the
//! request is checked before anything is registered.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc;

use super::denied::{self, Denied};
use super::handshakes::{Doing, Group, Place as Handshake, Ticket};
use super::rules::Rules;
use super::standing::Counted;
use super::usage;
use crate::admission::address::Net;
use crate::admission::limits::Lease;
use crate::admission::token::{Found, Identity, MAX_TOKEN_BYTES};
use crate::admission::{Check, Refusal};
use crate::config::{Config, Refuse, parse_duration};
use crate::connection::{Facts, Tools};
use crate::endpoint::{self, Chat, ChatRequest, Endpoint, Heartbeat, V1Request, WithTimeout};
use crate::http::pages::{self, Readiness};
use crate::http::upgrade;
use crate::http::{Admission, App, Request, Response, Route, respond, segment_after};
use crate::names::{RoomName, SessionId, UserId};
use crate::node::{ClaimRequest, ConnectionPermit};
use crate::protocol::close::EndReason;
use crate::protocol::command::Resume;
use crate::protocol::{Dialect, V1_SUBPROTOCOL};
use crate::shard::Registration;
use crate::shard::sink::Sink;

/// The shortest timeout a client may ask for on `/ws/with-timeout`.
const MIN_TIMEOUT: Duration = Duration::from_secs(1);
/// The dashboard's feed.
const STATS_STREAM: &str = "/api/stats/stream";

/// An admitted connection. Dropping it undoes everything.
pub(super) struct Admitted {
    // Rooms and the user id are given up before the slot.
    pub(super) endpoint: Endpoint,
    pub(super) registration: Registration,
    pub(super) facts: Facts,
    pub(super) lease: Option<Lease>,
}

/// One socket's way in.
pub(super) struct Gate<'a> {
    pub(super) tools: &'a Rc<Tools>,
    pub(super) rules: &'a Rules,
    pub(super) sink: Sink,
    /// Who speaks HTTP with us: a client, or a proxy.
    pub(super) peer: IpAddr,
    /// See [`Standing`](super::standing::Standing).
    pub(super) refusal: Option<Refusal>,
    pub(super) counted: Cell<Option<Counted>>,
    /// It waits for the answer of another connection.
    pub(super) asks: Cell<bool>,
    pub(super) ticket: &'a Ticket,
    /// Its place among the handshakes, until that is over.
    pub(super) handshake: &'a Cell<Option<Handshake>>,
}

impl App for Gate<'_> {
    type Endpoint = endpoint::Route;
    type Admitted = Admitted;

    fn route(&self, path: &str) -> Route<Self::Endpoint> {
        match path {
            "/healthz" | "/readyz" | STATS_STREAM => Route::Page,
            "/metrics" if self.tools.node.config.metrics.enabled => Route::Page,
            _ if pages::file(path).is_some() => Route::Page,
            _ => endpoint::Route::parse(path).map_or(Route::Unknown, Route::WebSocket),
        }
    }

    fn page(&self, request: Request<'_>) -> Result<Response, Refusal> {
        let node = &self.tools.node;
        self.uncount();
        if self.refusal == Some(Refusal::AtCapacity) && !matches!(request.path(), "/healthz" | "/readyz") {
            return Err(Refusal::AtCapacity);
        }
        Ok(match request.path() {
            STATS_STREAM => return self.stats(request),
            "/readyz" if node.is_draining() => pages::readyz(Readiness::Draining),
            "/readyz" if !node.can_publish() => pages::readyz(Readiness::NoEngine),
            "/readyz" => pages::readyz(Readiness::Ready),
            "/metrics" => {
                let process = usage::of_process(node.clock.unix_ms_at(0));
                respond::metrics(node.metrics.render(&node.gauges(), &process))
            }
            path => pages::file(path).map_or_else(pages::healthz, pages::File::response),
        })
    }

    async fn admit(
        &self,
        route: endpoint::Route,
        request: Request<'_>,
    ) -> Result<Admission<Admitted>, Refusal> {
        self.ticket.serve();
        let node = &self.tools.node;
        self.rules.origins.check(request.origins())?;
        if node.is_draining() {
            return Err(Refusal::Draining);
        }
        let forwarded = request.headers("x-forwarded-for");
        let client = self.rules.proxies.client(self.peer, forwarded);
        self.is_of(client);
        let net: Net = client.into();
        self.refusal.map_or(Ok(()), Err)?;
        let counted = self.counted.take();
        if counted.is_none() {
            self.rules.addresses.handshake(net, self.rules.clock.now_ms())?;
        }
        let place = node.connection_permit().ok_or(Refusal::AtCapacity)?;
        let lease = match counted {
            Some(counted) => counted.lease,
            None => self.rules.addresses.connect(net)?,
        };
        let speaks: &[&str] = match route {
            endpoint::Route::Echo => &["echo"],
            endpoint::Route::Chat => &[V1_SUBPROTOCOL],
            endpoint::Route::Secure | endpoint::Route::Messages => &[],
            endpoint::Route::WithTimeout | endpoint::Route::Heartbeat => &[],
        };
        let subprotocol = upgrade::select(speaks, request.offered());
        let registration = self.tools.shard.register(self.sink.clone());
        if subprotocol == Some(V1_SUBPROTOCOL) {
            registration.speak(Dialect::V1);
        }
        let mut visitor =
            Visitor { gate: self, place: &place, registration: &registration, net, until_unix_ms: None };
        let endpoint = match visitor.endpoint(route, request, subprotocol).await {
            Ok(endpoint) => endpoint,
            Err(Denied::Http(refusal)) => return Err(refusal),
            Err(Denied::Visibly(reason)) => self.refuse(reason)?,
        };
        let facts = Facts { endpoint: route.name(), until_unix_ms: visitor.until_unix_ms, place };
        Ok(Admission { admitted: Admitted { endpoint, registration, facts, lease }, subprotocol })
    }

    fn poll_go(&self, cx: &mut Context<'_>, is_idle: bool) -> Poll<()> {
        let doing = match is_idle {
            true => Doing::Waits,
            false if self.asks.get() => Doing::Asks,
            false => Doing::Serves,
        };
        self.ticket.poll_go(cx, doing)
    }

    fn refused(&self, refusal: &Refusal) {
        // Its end may take a while.
        drop(self.counted.take());
        self.tools.node.metrics.count_refusal(refusal.reason());
    }
}

impl Gate<'_> {
    /// Who asks for a page is counted as if the socket had never come: whoever loads one, or watches the server, is not
    /// shut out by the clients of the same address, and shuts out none of them.
    fn uncount(&self) {
        if let Some(counted) = self.counted.take() {
            self.rules.take_back(counted);
        }
    }

    /// A proxy has said in its request whose connection it is. Once for each socket: what is refused is its last.
    fn is_of(&self, client: IpAddr) {
        if !self.rules.has_headers
            && client != self.peer
            && let Some(place) = self.handshake.take()
        {
            place.belongs_to(Group::of_client(client));
            self.handshake.set(Some(place));
        }
    }

    /// The dashboard's feed, for those who may see it.
    fn stats(&self, request: Request<'_>) -> Result<Response, Refusal> {
        if !self.rules.keys.accept(|name| request.headers(name)) {
            return Err(Refusal::ApiKey);
        }
        if request.method() == "HEAD" {
            return Ok(respond::events(mpsc::channel(1).1));
        }
        let events = self.rules.feed.watch()?;
        // A viewer stays: the place is for others.
        drop(self.handshake.take());
        Ok(respond::events(events))
    }

    /// A refusal that a person must be able to read is a completed upgrade and a close, unless configured otherwise:
    /// browsers show nothing of a refused handshake.
    fn refuse(&self, reason: EndReason) -> Result<Endpoint, Refusal> {
        if self.tools.node.config.admission.refuse == Refuse::Close {
            return Ok(Endpoint::Refused(Box::new(reason)));
        }
        Err(denied::in_http(&reason))
    }
}

/// Who asks to come in.
struct Visitor<'a> {
    gate: &'a Gate<'a>,
    place: &'a ConnectionPermit,
    registration: &'a Registration,
    net: Net,
    until_unix_ms: Option<i64>,
}

impl Visitor<'_> {
    async fn endpoint(
        &mut self,
        route: endpoint::Route,
        request: Request<'_>,
        subprotocol: Option<&str>,
    ) -> Result<Endpoint, Denied> {
        let config = &self.place.node().config;
        Ok(match route {
            endpoint::Route::Echo => {
                Endpoint::Echo { is_raw: subprotocol == Some("echo") || request.query("raw").is_some() }
            }
            endpoint::Route::Secure => {
                let identity = self.identify(request, None)?;
                Endpoint::Secure(identity.name.unwrap_or(identity.sub).into())
            }
            endpoint::Route::Messages => Endpoint::Messages,
            endpoint::Route::WithTimeout => {
                Endpoint::WithTimeout(Box::new(WithTimeout::new(timeout(config, request)?)))
            }
            endpoint::Route::Heartbeat => {
                let endpoints = &config.endpoints;
                let heartbeat = Heartbeat::new(endpoints.heartbeat_interval, endpoints.heartbeat_misses);
                Endpoint::Heartbeat(Box::new(heartbeat))
            }
            endpoint::Route::Chat => Endpoint::Chat(Box::new(self.chat(request).await?)),
        })
    }

    async fn chat(&mut self, request: Request<'_>) -> Result<Chat, EndReason> {
        let node = self.place.node();
        let config = &node.config;
        let segment = segment_after(request.path(), endpoint::CHAT_PREFIX).ok_or(EndReason::InvalidUserId)?;
        let user: UserId = segment.parse().map_err(|_| EndReason::InvalidUserId)?;
        let room = request.query("room");
        let room: RoomName = room
            .as_deref()
            .unwrap_or(&config.chat.default_room)
            .parse()
            .map_err(|_| EndReason::InvalidRoom)?;
        let mut allowed = None;
        if config.auth.required {
            let identity = self.identify(request, Some(&user))?;
            if !identity.allows(room.as_str()) {
                return Err(EndReason::RoomForbidden);
            }
            allowed = identity.rooms.map(Vec::into_boxed_slice);
        }
        let v1 = match self.registration.dialect() {
            Dialect::Plain => None,
            Dialect::V1 => Some(v1_request(request)?),
        };
        let address = self.gate.rules.addresses.hash(self.net);
        let claiming = ClaimRequest {
            is_owner: config.auth.required,
            shown_session: request.query("session").and_then(|shown| shown.parse().ok()),
            own_session: v1.as_ref().map(|v1| v1.session),
            address,
        };
        // Whoever has the name may be asked first.
        self.gate.asks.set(true);
        let claim = node.claim(&user, self.registration.id(), claiming).await;
        self.gate.asks.set(false);
        let claim = claim?;
        self.registration.name(user);
        Chat::enter(node, self.registration, claim, ChatRequest { room, address, allowed, v1 })
    }

    /// The owner of a good token, who has to be `whose` where that is said. Why a bad one is bad is logged, never the
    /// token.
    fn identify(&mut self, request: Request<'_>, whose: Option<&UserId>) -> Result<Identity, EndReason> {
        let rules = self.gate.rules;
        let Some(verifier) = &rules.verifier else {
            if !rules.has_warned.swap(true, Relaxed) {
                tracing::warn!(
                    "no key is configured (auth.secret or auth.public_key): every token is refused"
                );
            }
            return Err(EndReason::AuthenticationFailed);
        };
        let token = match request.token() {
            Found::Token(token) => token,
            Found::TooLong(bytes) => {
                tracing::debug!(bytes, at_most = MAX_TOKEN_BYTES, "a token was refused: it is too long");
                return Err(EndReason::AuthenticationFailed);
            }
            Found::Absent | Found::Malformed => return Err(EndReason::AuthenticationFailed),
        };
        let whose = whose.map(UserId::as_str);
        let identity = verifier.verify(token.expose(), whose, rules.clock.wall_ms()).map_err(|error| {
            tracing::debug!(%error, "a token was refused");
            denied::of_token(error)
        })?;
        self.until_unix_ms = Some(identity.until_unix_ms);
        Ok(identity)
    }
}

/// What a client of `throng.v1` brings along, and the secret that it gets.
fn v1_request(request: Request<'_>) -> Result<V1Request, EndReason> {
    let session = SessionId::random().map_err(|error| {
        tracing::error!(%error, "the system has no random numbers");
        EndReason::Internal
    })?;
    // What is no position is that of no room: the client is told that nothing was recovered.
    let resume = request.query("resume").map(|text| {
        let resume = Resume::from_query(&text).unwrap_or(Resume { epoch: "", offset: 0 });
        endpoint::position(resume)
    });
    Ok(V1Request { session, resume })
}

/// The timeout of `/ws/with-timeout`: what the client asks for with `?timeout=5s`, within bounds.
fn timeout(config: &Config, request: Request<'_>) -> Result<Duration, Denied> {
    let endpoints = &config.endpoints;
    let Some(text) = request.query("timeout") else { return Ok(endpoints.timeout) };
    parse_duration(&text)
        .filter(|asked| (MIN_TIMEOUT..=endpoints.timeout_max).contains(asked))
        .ok_or(Denied::Http(Refusal::Malformed(Check::Timeout)))
}
