//! A request to a server on this machine that listens at a Unix socket.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::{Error, Response, reason, whole};

/// Asks for the resource at `path` of the server at `socket`, and returns the whole answer.
///
/// # Errors
/// There was no complete answer within `deadline`, or its body is longer than `max_body`.
///
/// # Cancel safety
/// The server may or may not have got the request.
pub async fn get(socket: &Path, path: &str, deadline: Duration, max_body: usize) -> Result<Response, Error> {
    let asked = async {
        let stream =
            UnixStream::connect(socket).await.map_err(|error| Error::Unreached(error.to_string()))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| reason(&error))?;
        let request = hyper::Request::get(path).header(HOST, "localhost").body(Empty::<Bytes>::new());
        let request = request.map_err(|error| Error::Request(error.to_string()))?;
        let answered = async move {
            let answer = sender.send_request(request).await.map_err(|error| reason(&error))?;
            whole(answer, max_body).await
        };
        // The connection moves the bytes, and ends when the sender is dropped. Its own failure shows in the answer.
        let (answer, _) = tokio::join!(answered, connection);
        answer
    };
    tokio::time::timeout(deadline, asked).await.unwrap_or(Err(Error::Deadline))
}
