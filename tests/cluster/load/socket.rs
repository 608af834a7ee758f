//! A connection of a client, on tokio-tungstenite, with a deadline for every wait.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// Longest wait for the response to a handshake. A node that is stopped takes connections and answers none.
const HANDSHAKE: Duration = Duration::from_secs(3);

/// Longest wait until a node takes a command. A node that does not read any more is as good as gone.
const SEND: Duration = Duration::from_secs(5);

/// Longest wait for the echo of a close.
const CLOSE: Duration = Duration::from_secs(1);

/// A reason why there is no connection.
#[derive(Debug)]
pub(super) enum Refusal {
    /// No node answers there, or it asks to come back: 503.
    Away,
    /// The node answered with another status than 101 and 503.
    Status(u16),
}

/// The next thing that comes from a connection.
#[derive(Debug)]
pub(super) enum Heard {
    Event(Value),
    /// The server closed with this code, and the reason.
    Closed(u16, String),
    /// The connection broke.
    Broken,
}

/// An open connection.
pub(super) struct Socket {
    stream: WebSocketStream<TcpStream>,
}

impl Socket {
    /// Connects to a path of a node in the dialect `throng.v1`.
    pub(super) async fn connect(node: SocketAddr, path: &str) -> Result<Self, Refusal> {
        match timeout(HANDSHAKE, Box::pin(Self::attempt(node, path))).await {
            Ok(Ok(socket)) => Ok(socket),
            Ok(Err(Error::Http(response))) if response.status() != 503 => {
                Err(Refusal::Status(response.status().as_u16()))
            }
            Ok(Err(_)) | Err(_) => Err(Refusal::Away),
        }
    }

    async fn attempt(node: SocketAddr, path: &str) -> Result<Self, Error> {
        let mut request = format!("ws://{node}{path}").into_client_request()?;
        request.headers_mut().append("sec-websocket-protocol", HeaderValue::from_static("throng.v1"));
        let stream = TcpStream::connect(node).await?;
        stream.set_nodelay(true)?;
        let (stream, _) = client_async(request, stream).await?;
        Ok(Self { stream })
    }

    /// Sends a command; false when the node does not take it.
    pub(super) async fn send(&mut self, command: &Value) -> bool {
        let message = Message::text(command.to_string());
        matches!(timeout(SEND, self.stream.send(message)).await, Ok(Ok(())))
    }

    /// Waits for the next event or the end.
    ///
    /// # Cancel safety
    /// Cancel safe: what was received in part stays in the stream.
    pub(super) async fn next(&mut self) -> Heard {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => {
                    return Heard::Event(serde_json::from_str(text.as_str()).unwrap_or_default());
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Heard::Closed(frame.code.into(), frame.reason.as_str().to_owned());
                }
                Some(Ok(Message::Close(None)) | Err(_)) | None => return Heard::Broken,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Closes as a client should: with a close frame, reading up to its echo. Events that come meanwhile are lost to
    /// the client, which asks for them when it is back.
    pub(super) async fn close(mut self) {
        let _ = timeout(CLOSE, async {
            let _ = self.stream.close(None).await;
            while let Some(Ok(_)) = self.stream.next().await {}
        })
        .await;
    }

    /// Ends the connection with a reset, as the loss of a network does.
    pub(super) fn reset(self) {
        let _ = SockRef::from(self.stream.get_ref()).set_linger(Some(Duration::ZERO));
    }
}
