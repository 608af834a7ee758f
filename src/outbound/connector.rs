//! Opens connections: TLS for `https`, plain TCP for `http`, and for `http` only to addresses that are near.

use std::error::Error as StdError;
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec;

use hyper::Uri;
use hyper::http::uri::Scheme;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::config::is_near;

/// Longest time for name, TCP and TLS together. The deadline of the request is often shorter, but a connection that
/// the pool opens for nobody in particular has no other.
const CONNECT: Duration = Duration::from_secs(10);
/// Bytes that are sent must be acknowledged within this time.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

type BoxError = Box<dyn StdError + Send + Sync>;
type BoxFuture<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// An address that `http` must not reach.
#[derive(Debug)]
pub(super) struct NotPrivate;

impl fmt::Display for NotPrivate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("neither a loopback nor a private address")
    }
}

impl StdError for NotPrivate {}

/// Opens a connection for each URI that the pool asks for.
#[derive(Clone)]
pub(super) struct Connector {
    secure: HttpsConnector<HttpConnector>,
    near: HttpConnector<NearResolver>,
}

impl Connector {
    pub(super) fn new(tls: ClientConfig) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_tcp_user_timeout(Some(USER_TIMEOUT));
        let secure =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().wrap_connector(tcp);
        let mut near = HttpConnector::new_with_resolver(NearResolver { any: GaiResolver::new() });
        near.set_nodelay(true);
        near.set_tcp_user_timeout(Some(USER_TIMEOUT));
        Self { secure, near }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = BoxFuture<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        std::task::ready!(self.secure.poll_ready(cx))?;
        self.near.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting: Self::Future = if uri.scheme() == Some(&Scheme::HTTPS) {
            Box::pin(self.secure.call(uri))
        } else if is_address_far_away(&uri) {
            Box::pin(std::future::ready(Err(NotPrivate.into())))
        } else {
            let plain = self.near.call(uri);
            Box::pin(async { Ok(MaybeHttpsStream::Http(plain.await?)) })
        };
        Box::pin(async { tokio::time::timeout(CONNECT, connecting).await? })
    }
}

/// Returns true where the host is an IP address, which is not resolved, and not a near one.
fn is_address_far_away(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host.parse().is_ok_and(|address| !is_near(address))
}

/// Resolves names as the system does, and keeps the addresses that are loopback or private.
#[derive(Clone)]
struct NearResolver {
    any: GaiResolver,
}

impl Service<Name> for NearResolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = BoxFuture<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.any.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let found = self.any.call(name);
        Box::pin(async {
            let near: Vec<SocketAddr> = found.await?.filter(|address| is_near(address.ip())).collect();
            if near.is_empty() { Err(NotPrivate.into()) } else { Ok(near.into_iter()) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_the_url_is_checked() {
        for (uri, far) in [
            ("http://127.0.0.1:1/", false),
            ("http://[::1]:1/", false),
            ("http://8.8.8.8/", true),
            ("http://[2001:db8::1]/", true),
            ("http://[::ffff:8.8.8.8]/", true),
            ("http://localhost/", false),
        ] {
            assert_eq!(is_address_far_away(&uri.parse().unwrap()), far, "{uri}");
        }
    }
}
