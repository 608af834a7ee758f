//! Creates the endpoint of a request that passed the checks of its address: verifies the token, claims the user id, and
//! enters the room.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::denial::Denial;
use super::policy::AdmissionPolicy;
use crate::admission::address::Net;
use crate::admission::token::{FoundToken, Identity, MAX_TOKEN_BYTES};
use crate::admission::{Check, Refusal};
use crate::config::{Config, parse_duration};
use crate::endpoint::{
    self, Chat, ChatRequest, Endpoint, Heartbeat, Stream, StreamRequest, V1Request, WithTimeout,
};
use crate::hooks::{ConnectAnswer, Newcomer};
use crate::http::{Request, segment_after};
use crate::names::{self, DisplayName, NameError, Position, RoomName, SessionId, UserId};
use crate::node::{ClaimRequest, Node, NotPermitted};
use crate::protocol::Dialect;
use crate::protocol::close::EndReason;
use crate::protocol::command::Resume;
use crate::shard::Registration;

/// Shortest timeout that a client may ask for on `/ws/with-timeout`.
const MIN_TIMEOUT: Duration = Duration::from_secs(1);

/// The user who stands for all readers without a token, where rooms are evicted.
const READER: &str = "server-sent-events";

/// The creation of one endpoint.
pub(super) struct EndpointSetup<'a> {
    pub(super) node: &'a Arc<Node>,
    pub(super) policy: &'a AdmissionPolicy,
    pub(super) registration: &'a Registration,
    /// The client's address.
    pub(super) client: IpAddr,
    /// The same as limits count it.
    pub(super) net: Net,
    /// Set while something outside the client is waited for: the engine, or another connection that is asked for its
    /// user id.
    pub(super) awaits_other: &'a Cell<bool>,
    /// When the verified token expires, in milliseconds since the Unix epoch.
    pub(super) until_unix_ms: Option<i64>,
}

impl EndpointSetup<'_> {
    /// Creates the endpoint for a route.
    ///
    /// # Errors
    /// Why the request is denied.
    pub(super) async fn endpoint(
        &mut self,
        route: endpoint::Route,
        request: Request<'_>,
        subprotocol: Option<&str>,
    ) -> Result<Endpoint, Denial> {
        let config = Arc::clone(&*self.node.config());
        Ok(match route {
            endpoint::Route::Echo => {
                Endpoint::Echo { is_raw: subprotocol == Some("echo") || request.query("raw").is_some() }
            }
            endpoint::Route::Secure => {
                let identity = self.identify(request, None).await?;
                Endpoint::Secure(Box::new(identity.name.unwrap_or(identity.sub).into()))
            }
            endpoint::Route::Messages => Endpoint::Messages,
            endpoint::Route::WithTimeout => {
                Endpoint::WithTimeout(Box::new(WithTimeout::new(timeout(&config, request)?)))
            }
            endpoint::Route::Heartbeat => {
                let endpoints = &config.endpoints;
                let heartbeat = Heartbeat::new(endpoints.heartbeat_interval, endpoints.heartbeat_misses);
                Endpoint::Heartbeat(Box::new(heartbeat))
            }
            endpoint::Route::Chat => Endpoint::Chat(Box::new(self.chat(request).await?)),
            endpoint::Route::Stream => Endpoint::Stream(Box::new(self.stream(request).await?)),
        })
    }

    async fn chat(&mut self, request: Request<'_>) -> Result<Chat, EndReason> {
        let node = self.node;
        let config = Arc::clone(&*node.config());
        let segment = segment_after(request.path(), endpoint::CHAT_PREFIX).ok_or(EndReason::InvalidUserId)?;
        let mut user: UserId = parse_name(&segment, EndReason::InvalidUserId)?;
        let room = request.query("room");
        let room = room.as_deref().unwrap_or(&config.chat.default_room);
        let room: RoomName = parse_name(room, EndReason::InvalidRoom)?;
        let (mut allowed, mut name) = (None, None);
        if config.auth.required {
            let identity = self.identify(request, Some(&user)).await?;
            if !identity.allows(room.as_str()) {
                return Err(EndReason::RoomForbidden);
            }
            name = identity.name.as_deref().and_then(shown_name);
            allowed = identity.rooms.map(Vec::into_boxed_slice);
        } else if let Some(claimed) = request.query("name") {
            name = Some(parse_name(&claimed, EndReason::InvalidName)?);
        }
        let v1 = match self.registration.dialect() {
            Dialect::Plain | Dialect::Sse => None,
            Dialect::V1 => Some(v1_request(request, self.until_unix_ms)?),
        };
        let mut is_owner = config.auth.required;
        if node.hooks.is_some() {
            let asked = Box::pin(self.ask_hooks(request, &user, &room, name.as_ref())).await?;
            is_owner |= asked.is_certain;
            user = asked.user.unwrap_or(user);
            name = asked.name.as_deref().and_then(shown_name).or(name);
            allowed = asked.rooms.map(Vec::into_boxed_slice).or(allowed);
        }
        let address = self.policy.addresses.hash(self.net);
        let resume = v1.as_ref().and_then(|v1| v1.resume);
        self.open_room(&room, &user, address, resume).await?;
        let claiming = ClaimRequest {
            is_owner,
            shown_session: request.query("session").and_then(|shown| shown.parse().ok()),
            own_session: v1.as_ref().map(|v1| v1.session),
            address,
        };
        // The connection that holds the user id may be asked whether it is alive.
        self.awaits_other.set(true);
        let claim = node.claim(&user, self.registration.id(), claiming).await;
        self.awaits_other.set(false);
        let claim = claim?;
        self.registration.name(user);
        Chat::enter(node, self.registration, claim, ChatRequest { room, name, address, allowed, v1 })
    }

    /// Asks the hooks whether a newcomer may connect, on which terms, and enter the first room. Without hooks everybody
    /// may.
    async fn ask_hooks(
        &mut self,
        request: Request<'_>,
        user: &UserId,
        room: &RoomName,
        name: Option<&DisplayName>,
    ) -> Result<ConnectAnswer, EndReason> {
        let config = Arc::clone(&*self.node.config());
        let newcomer = Newcomer {
            user: user.as_str(),
            room: room.as_str(),
            address: self.client.to_string(),
            name: name.map(DisplayName::as_str),
            headers: told_headers(&config.hooks.headers, request),
        };
        self.awaits_other.set(true);
        let answer = self.node.may_connect(&newcomer).await;
        self.awaits_other.set(false);
        let answer = answer?.unwrap_or_default();
        let allows = |pattern: &String| names::matches_pattern(pattern, room.as_str());
        if answer.rooms.as_ref().is_some_and(|patterns| !patterns.iter().any(allows)) {
            return Err(EndReason::RoomForbidden);
        }
        if let Some(until) = answer.until_unix_ms {
            self.until_unix_ms = Some(self.until_unix_ms.map_or(until, |earlier| earlier.min(until)));
        }
        let user = answer.user.as_ref().unwrap_or(user);
        if let Some(permission) = self.node.permission(user, room, None) {
            self.awaits_other.set(true);
            let permitted = permission.wait().await;
            self.awaits_other.set(false);
            permitted.map_err(NotPermitted::end_reason)?;
        }
        Ok(answer)
    }

    /// Subscribes to a room for a client that only reads. It needs no user id, because nobody is shown that it is
    /// there.
    async fn stream(&mut self, request: Request<'_>) -> Result<Stream, EndReason> {
        let node = self.node;
        let config = Arc::clone(&*node.config());
        let room = segment_after(request.path(), endpoint::STREAM_PREFIX).ok_or(EndReason::InvalidRoom)?;
        let room: RoomName = parse_name(&room, EndReason::InvalidRoom)?;
        let mut opener = None;
        if config.auth.required {
            let identity = self.identify(request, None).await?;
            if !identity.allows(room.as_str()) {
                return Err(EndReason::RoomForbidden);
            }
            opener = identity.sub.parse().ok();
        }
        let opener: UserId = opener.map_or_else(|| parse_name(READER, EndReason::Internal), Ok)?;
        if node.hooks.is_some() {
            // Readers without a token are asked about as one user.
            Box::pin(self.ask_hooks(request, &opener, &room, None)).await?;
        }
        let address = self.policy.addresses.hash(self.net);
        // A browser that comes back sends the header; the parameter is for the first time.
        let header = request.headers("last-event-id").next();
        let header = header.and_then(|text| std::str::from_utf8(text).ok()).map(Cow::Borrowed);
        let resume = header.filter(|text| !text.is_empty()).or_else(|| request.query("resume")).map(position);
        self.open_room(&room, &opener, address, resume).await?;
        let origin = request.origins().next().and_then(|origin| std::str::from_utf8(origin).ok());
        let wish = StreamRequest { room: &room, opener: &opener, address, resume, origin };
        Stream::begin(node, self.registration, &wish)
    }

    /// Waits until the engine, if there is one, has opened a room.
    async fn open_room(
        &self,
        room: &RoomName,
        user: &UserId,
        address: u32,
        resume: Option<Position>,
    ) -> Result<(), EndReason> {
        let id = self.registration.id();
        let Some(opening) = self.node.opening(room, user, address, resume, Some(id)) else { return Ok(()) };
        self.awaits_other.set(true);
        let opened = opening.wait().await;
        self.awaits_other.set(false);
        opened.map_err(endpoint::refused_entry)
    }

    /// Returns the owner of a good token, who has to be `user` where that is given. The log says why a token is bad,
    /// and never holds the token.
    async fn identify(&mut self, request: Request<'_>, user: Option<&UserId>) -> Result<Identity, EndReason> {
        let token = match request.token() {
            FoundToken::Token(token) => token,
            FoundToken::TooLong(bytes) => {
                tracing::debug!(bytes, at_most = MAX_TOKEN_BYTES, "a token was refused: it is too long");
                return Err(EndReason::AuthenticationFailed);
            }
            FoundToken::Absent | FoundToken::Malformed => return Err(EndReason::AuthenticationFailed),
        };
        let mut verified = self.policy.verify(&token, user);
        if let (Err(EndReason::Overloaded), Some(keys)) = (&verified, &self.policy.remote_keys) {
            self.awaits_other.set(true);
            let is_fetched = keys.fetch_again().await;
            self.awaits_other.set(false);
            if is_fetched {
                verified = self.policy.verify(&token, user).map_err(|reason| match reason {
                    EndReason::Overloaded if self.policy.has_good_keys() => EndReason::AuthenticationFailed,
                    other => other,
                });
            }
        }
        let identity = verified?;
        self.until_unix_ms = Some(identity.until_unix_ms);
        if self.node.config().auth.required {
            self.registration.set_token(identity.mark);
        }
        // Behind that: a token that is revoked from now on is found with its connection.
        if self.node.is_revoked(&identity.mark) {
            tracing::debug!("a token was refused: it is revoked");
            return Err(EndReason::TokenRevoked);
        }
        Ok(identity)
    }
}

/// Returns the headers of a request that the hook is told, several of one name with commas between.
fn told_headers<'c>(names: &'c [String], request: Request<'_>) -> BTreeMap<&'c str, String> {
    let value = |name: &str| {
        let values: Vec<_> =
            request.headers(&name.to_lowercase()).map(|value| String::from_utf8_lossy(value)).collect();
        (!values.is_empty()).then(|| values.join(", "))
    };
    names.iter().filter_map(|name| Some((name.as_str(), value(name)?))).collect()
}

/// Parses a name of the request. `reason` ends a connection with a wrong one; the log says what is wrong with it.
fn parse_name<N: FromStr<Err = NameError>>(text: &str, reason: EndReason) -> Result<N, EndReason> {
    text.parse().map_err(|error: NameError| {
        tracing::debug!(%error, reason = %reason.text(), "a name was refused");
        reason
    })
}

/// Returns the name of a token, if people may be shown it. A token is good without one, because its owner can do
/// nothing about it.
fn shown_name(name: &str) -> Option<DisplayName> {
    let name = name.parse();
    name.inspect_err(|error| tracing::debug!(%error, "the name in a token is not shown")).ok()
}

/// Reads the position that a client resumes from. Text that is no position becomes a position of no room: the client
/// hears that nothing was recovered.
fn position(text: Cow<'_, str>) -> Position {
    let resume = Resume::from_query(&text).unwrap_or(Resume { epoch: "", offset: 0 });
    endpoint::position(resume)
}

/// Creates the session secret of a client that speaks `throng.v1`, and reads the position that it resumes from.
fn v1_request(request: Request<'_>, until_unix_ms: Option<i64>) -> Result<V1Request, EndReason> {
    let session = SessionId::random().map_err(|error| {
        tracing::error!(%error, "cannot make a session secret: the system has no random numbers");
        EndReason::Internal
    })?;
    let resume = request.query("resume").map(position);
    Ok(V1Request { session, resume, until_unix_ms })
}

/// Returns the timeout of `/ws/with-timeout`: the one that the client asks for with `?timeout=5s`, within bounds.
fn timeout(config: &Config, request: Request<'_>) -> Result<Duration, Denial> {
    let endpoints = &config.endpoints;
    let Some(text) = request.query("timeout") else { return Ok(endpoints.timeout) };
    parse_duration(&text)
        .filter(|asked| (MIN_TIMEOUT..=endpoints.timeout_max).contains(asked))
        .ok_or(Denial::Http(Refusal::Malformed(Check::Timeout)))
}
