//! Requests to other servers over HTTP/1.1: webhooks, hooks and sets of keys. Addresses come from the configuration,
//! never from a client.
//!
//! Redirects are not followed, because a signed request is for one receiver, and proxies named in the environment are
//! ignored. `http` reaches loopback and private addresses alone. Every request has a deadline and a bound for the body
//! of its answer. Connections are kept and used again; the runtime of the request that opened one drives it.

mod connector;
pub mod local;
pub mod signature;
pub mod thread;
pub mod trust;

#[cfg(test)]
mod tests;

use std::error::Error as StdError;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::config::Url;

use self::connector::{Connector, NotPrivate};
pub use self::trust::OwnCertificate;

/// Most bytes of the head of an answer. Hyper needs at least 8 KiB.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Most idle connections that are kept for one receiver: the lanes of a webhook, and as many for hooks.
const MAX_IDLE: usize = 16;
/// Time after which an idle connection is closed. Many servers close theirs after 60 to 75 seconds.
const IDLE: Duration = Duration::from_secs(50);

/// The method of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads the resource.
    Get,
    /// Sends a body to the resource.
    Post,
}

/// A request to another server.
#[derive(Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// The resource.
    pub url: &'a Url,
    /// Names and values. `Host`, `Content-Length` and `User-Agent` are added.
    pub headers: Vec<(String, String)>,
    /// The body; empty for none.
    pub body: Bytes,
}

/// A whole answer, whatever its status.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The whole body.
    pub body: Bytes,
    headers: HeaderMap,
}

impl Response {
    /// Returns the first value of a header, where that is visible ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request cannot be written.
    #[error("cannot be asked: {0}")]
    Request(String),
    /// The host of an `http` URL has an address that is neither loopback nor private.
    #[error("http is for loopback and private addresses alone: use https")]
    NotPrivate,
    /// The answer was not complete in time.
    #[error("no complete answer in time")]
    Deadline,
    /// The body of the answer exceeds its bound.
    #[error("the answer's body exceeds its bound")]
    TooLong,
    /// There is no connection: the receiver could not be reached or is not trusted. It got nothing of the request.
    #[error("{0}")]
    Unreached(String),
    /// The connection broke, or the receiver does not speak HTTP/1.1. It may have got the request.
    #[error("{0}")]
    Failed(String),
}

/// A client with its pool of connections. Clones share the pool.
#[derive(Clone)]
pub struct Client {
    pool: Pool<Connector, Full<Bytes>>,
}

impl Client {
    /// Makes a client that trusts the authorities in a file, or those that this machine trusts.
    ///
    /// # Errors
    /// The file cannot be read or holds no certificate; the text names it.
    pub fn new(ca_file: Option<&Path>) -> Result<Self, String> {
        Self::showing(ca_file, None)
    }

    /// Makes a client as [`Client::new`] does, which shows a certificate to servers that ask for one.
    ///
    /// # Errors
    /// A file cannot be used; the text names it.
    pub fn showing(ca_file: Option<&Path>, own: Option<OwnCertificate<'_>>) -> Result<Self, String> {
        let roots = match trust::roots(ca_file) {
            Ok(roots) => roots,
            // `http` to the same machine needs nobody's trust.
            Err(problem) if ca_file.is_none() => {
                tracing::warn!(problem, "no https to other servers: set outbound.ca_file");
                rustls::RootCertStore::empty()
            }
            Err(problem) => return Err(problem),
        };
        let connector = Connector::new(trust::configuration(roots, own)?);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE)
            .pool_timer(TokioTimer::new())
            .http1_max_buf_size(MAX_HEAD_BYTES)
            .build(connector);
        Ok(Self { pool })
    }

    /// Sends a request, and returns the whole answer.
    ///
    /// # Errors
    /// There was no complete answer within `deadline`, or its body is longer than `max_body`.
    ///
    /// # Cancel safety
    /// The receiver may or may not have got the request.
    pub async fn request(
        &self,
        request: Request<'_>,
        deadline: Duration,
        max_body: usize,
    ) -> Result<Response, Error> {
        let request = written(request)?;
        let asked = async {
            let answer = self.pool.request(request).await.map_err(|error| match reason(&error) {
                Error::Failed(text) if error.is_connect() => Error::Unreached(text),
                other => other,
            })?;
            whole(answer, max_body).await
        };
        tokio::time::timeout(deadline, asked).await.unwrap_or(Err(Error::Deadline))
    }
}

/// Reads an answer to its end.
async fn whole(answer: hyper::Response<Incoming>, max_body: usize) -> Result<Response, Error> {
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, max_body).collect().await.map_err(|error| reason(&*error))?;
    Ok(Response { status: head.status.as_u16(), body: body.to_bytes(), headers: head.headers })
}

/// Writes a request as hyper wants it.
fn written(request: Request<'_>) -> Result<hyper::Request<Full<Bytes>>, Error> {
    let cannot = |error: &dyn StdError| Error::Request(error.to_string());
    let method = match request.method {
        Method::Get => hyper::Method::GET,
        Method::Post => hyper::Method::POST,
    };
    let mut written = hyper::Request::new(Full::new(request.body));
    *written.method_mut() = method;
    *written.uri_mut() = request.url.as_str().parse().map_err(|error| cannot(&error))?;
    let headers = written.headers_mut();
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("throng/", env!("CARGO_PKG_VERSION"))));
    for (name, value) in request.headers {
        let name: HeaderName = name.parse().map_err(|error| cannot(&error))?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|error| cannot(&error))?;
        headers.append(name, value);
    }
    // Hyper writes it from the URL.
    headers.remove(HOST);
    Ok(written)
}

/// Tells why a request failed from the chain of its errors.
fn reason(error: &(dyn StdError + 'static)) -> Error {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<NotPrivate>() {
            return Error::NotPrivate;
        }
        if error.is::<LengthLimitError>() {
            return Error::TooLong;
        }
        let text = error.to_string();
        // Some errors repeat their source.
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    Error::Failed(texts.join(": "))
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}
