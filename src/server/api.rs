//! The server API over HTTP: checks the key, the head and the limits of each call, reads its body, answers it, and
//! writes its line in the log. The calls themselves are in [`api`](crate::api).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{ALLOW, CONNECTION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::dashboard::info;
use super::keys::{Access, OperatorKey, OperatorKeys};
use super::reload::ReloadError;
use super::shared::Shared;
use crate::admission::Refusal;
use crate::admission::origin::OriginList;
use crate::api::{
    self, Answer, ApiError, Call, Disconnect, Leave, Object, Outcome, Read, Revoke, Service, Slice, Target,
    Written,
};
use crate::config::{Api, Reloaded};
use crate::http::{BodyError, Request, RequestBody, Response, respond, segments_after};
use crate::rate_limit::{Rate, Refused};

/// The start of the paths of all calls.
pub(super) const PREFIX: &str = "/api/";

/// Longest wait for the answers to a call. Then it is not known whether its messages were published.
const DEADLINE: Duration = Duration::from_secs(10);

/// The limits of the API.
#[derive(Debug, Default)]
pub(super) struct ApiGate {
    in_flight: AtomicUsize,
}

impl ApiGate {
    /// Counts a call with this key, until the result is dropped.
    fn enter(&self, key: &OperatorKey, now_ms: u64, api: &Api) -> Result<InFlight<'_>, ApiError> {
        let per_second = api.requests_per_second;
        if per_second > 0 {
            let taken = key.bucket.lock().take(now_ms, &Rate::new(per_second, per_second));
            taken.map_err(|Refused { retry_after_ms }| ApiError::RateLimited { retry_after_ms })?;
        }
        let is_free = |calls| (calls < api.max_in_flight).then_some(calls + 1);
        let counted = self.in_flight.fetch_update(Relaxed, Relaxed, is_free);
        counted.map(|_| InFlight(&self.in_flight)).map_err(|_| ApiError::AtCapacity)
    }
}

/// Counts a call among those that are under way until it is dropped.
struct InFlight<'g>(&'g AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Answers a call.
///
/// # Errors
/// The connection failed before the body was there, so that no answer arrives.
pub(super) async fn answer(
    shared: &Shared,
    request: Request<'_>,
    body: RequestBody,
) -> Result<Response, Refusal> {
    let begin = Instant::now();
    let keys = shared.keys.share();
    let outcome = match authorize(&keys, request) {
        Ok(key) => {
            // No path of a call has more parts than three.
            let parts: Vec<_> = segments_after(request.path(), PREFIX).take(4).collect();
            let target = Target::of_path(&parts);
            let method = target.as_ref().map_or("unknown", |target| target.method.name());
            let mut subject = Subject::default();
            let head = head(key, request, target);
            let outcome = match carry_out(shared, key, head, request, body, &mut subject).await {
                Ok(outcome) => outcome,
                Err(error) => Outcome::Error(error),
            };
            log(method, key, &subject, &outcome, begin.elapsed(), traceparent(request));
            outcome
        }
        Err(error) => {
            // Somebody who tries keys shows in the metrics, and does not fill the log.
            shared.node.metrics.count_refusal(Refusal::ApiKey.reason());
            Outcome::Error(error)
        }
    };
    Ok(response(&outcome))
}

/// Returns the key that a request shows.
fn authorize<'k>(keys: &'k OperatorKeys, request: Request<'_>) -> Result<&'k OperatorKey, ApiError> {
    let found = keys.find(|name| request.headers(name));
    found.filter(|key| key.access != Access::Pages).ok_or(ApiError::ApiKey)
}

/// A call whose head is right.
struct Head<'r> {
    target: Target<'r>,
    idempotency_key: Option<&'r str>,
    has_body: bool,
}

/// Checks the head of a request whose path means `target`.
fn head<'r>(
    key: &OperatorKey,
    request: Request<'r>,
    target: Option<Target<'r>>,
) -> Result<Head<'r>, ApiError> {
    let target = target.ok_or(ApiError::UnknownPath)?;
    let has_body = match request.method() {
        "POST" => true,
        "GET" if target.method.only_reads() => false,
        _ => return Err(ApiError::Method { allow: target.method.allow() }),
    };
    if key.access != Access::Full && !target.method.only_reads() {
        return Err(ApiError::ReadOnlyKey);
    }
    if !is_own_origin(request) {
        return Err(ApiError::Origin);
    }
    if has_body && !is_json(request) {
        return Err(ApiError::ContentType);
    }
    Ok(Head { target, idempotency_key: idempotency_key(request)?, has_body })
}

async fn carry_out(
    shared: &Shared,
    key: &OperatorKey,
    head: Result<Head<'_>, ApiError>,
    request: Request<'_>,
    body: RequestBody,
    subject: &mut Subject,
) -> Result<Outcome, ApiError> {
    let node = &shared.node;
    let Head { target: Target { method, field }, idempotency_key, has_body } = head?;
    if node.is_draining() {
        return Err(ApiError::Draining);
    }
    let config = Arc::clone(&*node.config());
    let _in_flight = shared.api.enter(key, node.now_ms(), &config.api)?;
    let max = config.limits.max_request_body;
    let mut body = body.read(max).await.map_err(|error| match error {
        BodyError::TooLarge => ApiError::BodyTooLarge { max },
        BodyError::Timeout | BodyError::Lost => ApiError::Timeout,
    })?;
    let query: Vec<_> = request.query_pairs().take(Object::MAX_FIELDS).collect();
    // A long body takes as long to parse as a whole slice.
    let mut slice = Slice::begin();
    let written = Written::find(method, &body);
    slice.pause().await;
    let mut object = if has_body { Object::parse(&mut body)? } else { Object::default() };
    if has_body && !query.is_empty() {
        return Err(ApiError::InvalidField("a call with a body has its fields there, not in the query"));
    }
    query.iter().for_each(|(name, value)| object.add(name, value));
    if let Some((name, value)) = &field {
        object.add(name, value);
    }
    let call = Call::new(method, object, written, idempotency_key, &config)?;
    *subject = Subject::of(&call);
    slice.pause().await;
    Ok(api::run(node, &ThisServer(shared), call, Instant::now() + DEADLINE, slice).await)
}

/// The parts of the server that calls need besides the node.
struct ThisServer<'s>(&'s Shared);

impl Service for ThisServer<'_> {
    fn info(&self) -> String {
        info::json(&self.0.node)
    }

    /// Reads the settings again, on a thread that may wait for files.
    async fn reload(&self) -> Result<Answer, ApiError> {
        let reloader = self.0.reloader.clone().ok_or(ApiError::NotReloadable)?;
        let reloaded = spawn_blocking(move || reloader.reload()).await;
        match reloaded.map_err(|_panicked| ApiError::Unavailable)? {
            Ok(Reloaded { changed, restart, .. }) => Ok(Answer::Reloaded { changed, restart }),
            Err(ReloadError::Config(errors)) => {
                Err(ApiError::InvalidSettings(errors.0.iter().map(ToString::to_string).collect()))
            }
            Err(ReloadError::Encryption(error)) => Err(ApiError::InvalidSettings([error.to_string()].into())),
            Err(ReloadError::NotRunning | ReloadError::System(_)) => Err(ApiError::Unavailable),
        }
    }
}

/// Returns true for a request that comes from no page, or from a page of the host that it is sent to: the dashboard. A
/// browser lets no page write `Origin` or `Host`, nor read the key that another page was given.
fn is_own_origin(request: Request<'_>) -> bool {
    if request.origins().next().is_none() {
        return true;
    }
    let mut hosts = request.headers("host");
    let host = hosts.next().and_then(|host| std::str::from_utf8(host).ok());
    let Some(host) = host.filter(|_| hosts.next().is_none()) else { return false };
    // Behind a proxy that speaks TLS, the page came by https, and the request by http.
    let own = ["http", "https"].map(|scheme| format!("{scheme}://{host}"));
    OriginList::parse(&own).is_ok_and(|own| own.check(request.origins()).is_ok())
}

/// Returns true for a body that calls itself JSON. Pages of other origins cannot send that without asking first.
fn is_json(request: Request<'_>) -> bool {
    let mut types = request.headers("content-type");
    let is_it = types.next().is_some_and(|value| {
        let essence = value.split(|byte| *byte == b';').next().unwrap_or_default();
        essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
    });
    is_it && types.next().is_none()
}

fn idempotency_key(request: Request<'_>) -> Result<Option<&str>, ApiError> {
    let mut keys = request.headers("idempotency-key");
    match (keys.next(), keys.next()) {
        (None, _) => Ok(None),
        (Some(key), None) => std::str::from_utf8(key).map(Some).map_err(|_| ApiError::InvalidKey),
        (Some(_), Some(_)) => Err(ApiError::InvalidKey),
    }
}

/// The room or user that a call is about, for the log.
#[derive(Debug, Default)]
struct Subject {
    room: Option<String>,
    user: Option<String>,
    parts: usize,
}

impl Subject {
    fn of(call: &Call<'_>) -> Self {
        let none = Self { parts: 1, ..Self::default() };
        match call {
            Call::Publish(publish) => Self { room: Some(publish.room.to_string()), ..none },
            Call::Direct(direct) => Self { user: Some(direct.to.to_string()), ..none },
            Call::Disconnect(Disconnect { user, .. }) => Self { user: Some(user.to_string()), ..none },
            Call::Leave(Leave { user, room }) => {
                Self { user: Some(user.to_string()), room: Some(room.to_string()), ..none }
            }
            Call::Forget(room) => Self { room: Some(room.to_string()), ..none },
            Call::Read(Read::Room(room) | Read::Presence { room, .. } | Read::History { room, .. }) => {
                Self { room: Some(room.to_string()), ..none }
            }
            Call::Read(Read::User(user)) => Self { user: Some(user.to_string()), ..none },
            Call::Read(_) => none,
            Call::Revoke(Revoke::User { user, .. }) => Self { user: Some(user.to_string()), ..none },
            Call::Revoke(Revoke::Token { .. }) => none,
            Call::Broadcast(all) => Self { parts: all.len(), ..none },
            Call::DirectToMany(all) => Self { parts: all.len(), ..none },
            Call::Batch { commands, .. } => Self { parts: commands.len(), ..none },
            Call::Reload => none,
        }
    }
}

/// Writes the line of a call: never its text, and of its key the name alone.
fn log(
    method: &str,
    key: &OperatorKey,
    subject: &Subject,
    outcome: &Outcome,
    took: Duration,
    traceparent: Option<&str>,
) {
    let Subject { room, user, parts } = subject;
    let (key, outcome, failed) = (&*key.name, outcome.word(), outcome.failed());
    let duration_us = took.as_micros() as u64;
    tracing::info!(method, key, room, user, parts, failed, outcome, duration_us, traceparent, "api call");
}

/// Returns the header that names the trace that a call belongs to, if it has the form of W3C Trace Context, section
/// 3.2: `00-`, 32 hex digits, `-`, 16 hex digits, `-`, two hex digits. Neither number is zero.
fn traceparent(request: Request<'_>) -> Option<&str> {
    let header = std::str::from_utf8(request.headers("traceparent").next()?).ok()?;
    let parts: Vec<&str> = header.split('-').collect();
    let is_hex = |part: &&str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let has_form = parts.iter().map(|part| part.len()).eq([2, 32, 16, 2]) && parts.iter().all(is_hex);
    let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    (has_form && parts[0] == "00" && !is_zero(parts[1]) && !is_zero(parts[2])).then_some(header)
}

fn response(outcome: &Outcome) -> Response {
    let (status, body) = match outcome.json() {
        Ok(json) => (outcome.status(), json),
        Err(error) => {
            tracing::error!(%error, "an answer of the API cannot be written as JSON");
            (500, String::new())
        }
    };
    let mut response = respond::json(StatusCode::from_u16(status).unwrap_or_default(), body);
    let Outcome::Error(error) = outcome else { return response };
    let headers = response.headers_mut();
    if let Some(seconds) = error.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if error.is_before_body() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    match error {
        ApiError::Method { allow } => {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        ApiError::ApiKey => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        _ => {}
    }
    response
}
