//! `throng health`: asks a server whether it is well, for the health checks of containers and service managers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use clap::Args;
use tokio::runtime::Builder;

use super::failure::{CHECK_FAILED, Failure, INTERNAL, USAGE};
use crate::config::Url;
use crate::outbound::{Client, Error, Method, Request as Question, Response, local};

/// Longest wait for the answer. A health check that waits longer reports that the server is not well.
const DEADLINE: Duration = Duration::from_secs(5);
/// Most bytes of an answer, which is a word or two.
const MAX_ANSWER: usize = 4 * 1024;

/// The arguments of `throng health`.
#[derive(Debug, Args)]
pub(super) struct Request {
    /// Address of the server: https://, http:// to a loopback or private address, or unix: and the path of its socket
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// Ask whether the server takes new clients (/readyz) instead of whether it answers (/healthz)
    #[arg(long)]
    ready: bool,
    /// Trust the certificates in this file (PEM) in place of those of the system
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Request {
    /// Asks the server once.
    ///
    /// # Errors
    /// The address or the file with certificates cannot be used ([`USAGE`]), the system gives no resources
    /// ([`INTERNAL`]), or the server is not well ([`CHECK_FAILED`]).
    pub(super) fn answer(&self) -> Result<(), Failure> {
        let path = if self.ready { "readyz" } else { "healthz" };
        let runtime = Builder::new_current_thread().enable_all().build().context("cannot start a runtime");
        let runtime = runtime.map_err(|error| Failure::new(INTERNAL, error))?;
        let answer = match self.url.strip_prefix("unix:") {
            Some(socket) => {
                runtime.block_on(local::get(Path::new(socket), &format!("/{path}"), DEADLINE, MAX_ANSWER))
            }
            None => runtime.block_on(self.ask(path)?),
        };
        let failed = |why: String| {
            Failure::new(CHECK_FAILED, anyhow!("{}/{path}: {why}", self.url.trim_end_matches('/')))
        };
        match answer {
            Ok(response) if response.status == 200 => Ok(()),
            Ok(response) => Err(failed(format!("answered {}", response.status))),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// Prepares the question to a server that is called by a URL.
    fn ask(&self, path: &str) -> Result<impl Future<Output = Result<Response, Error>> + use<>, Failure> {
        let text = format!("{}/{path}", self.url.trim_end_matches('/'));
        let url = Url::parse(&text).filter(|_| !self.url.contains('?')).with_context(|| {
            format!(
                "{}: must be https://HOST:PORT, http:// with a loopback or private address, or unix:PATH",
                self.url
            )
        });
        let url = url.map_err(|error| Failure::new(USAGE, error))?;
        let client =
            Client::new(self.ca.as_deref()).map_err(|problem| Failure::new(USAGE, anyhow!(problem)))?;
        Ok(async move {
            let question =
                Question { method: Method::Get, url: &url, headers: Vec::new(), body: Bytes::new() };
            client.request(question, DEADLINE, MAX_ANSWER).await
        })
    }
}
