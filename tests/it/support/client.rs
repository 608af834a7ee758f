//! A WebSocket client that keeps to the RFC: tokio-tungstenite, which shares no code with the server.
//!
//! It answers pings only while it is being read.

use std::future::Future;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::PATIENCE;
use super::canary;
use super::server::Server;

/// A connected client.
pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
    handshake: Response,
}

impl Client {
    /// Connects to `path`.
    pub(crate) async fn connect(server: &Server, path: &str) -> Self {
        Self::connect_with(server, path, &[]).await
    }

    /// Connects to `path` with further headers.
    pub(crate) async fn connect_with(server: &Server, path: &str, headers: &[(&str, &str)]) -> Self {
        match Self::attempt(server, path, headers).await {
            Ok(client) => client,
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// Asserts that connecting is refused; returns the HTTP status.
    pub(crate) async fn refused(server: &Server, path: &str, headers: &[(&str, &str)]) -> u16 {
        match Self::attempt(server, path, headers).await {
            Ok(_) => panic!("{path}: not refused"),
            Err(Error::Http(response)) => response.status().as_u16(),
            Err(error) => panic!("{path}: {error}"),
        }
    }

    async fn attempt(server: &Server, path: &str, headers: &[(&str, &str)]) -> Result<Self, Error> {
        let mut request = format!("ws://{}{path}", server.address()).into_client_request()?;
        canary::remember_target(path);
        for (name, value) in headers {
            canary::remember_header(name, value);
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a header's name");
            request.headers_mut().append(name, HeaderValue::from_str(value).expect("a header's value"));
        }
        let stream = patiently("connect", TcpStream::connect(server.address())).await?;
        // Boxed: the handshake's future is larger than those of all tests.
        let (socket, handshake) = patiently("handshake", Box::pin(client_async(request, stream))).await?;
        Ok(Self { socket, handshake })
    }

    /// Returns a header of the 101 response.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.handshake.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// Sends a message.
    pub(crate) async fn send(&mut self, message: Message) {
        patiently("send", self.socket.send(message)).await.expect("the server takes a message");
    }

    /// Sends a text message.
    pub(crate) async fn send_text(&mut self, text: impl Into<String>) {
        self.send(Message::text(text.into())).await;
    }

    /// Returns the next message other than ping and pong.
    pub(crate) async fn recv(&mut self) -> Message {
        patiently("a message", self.listen()).await
    }

    /// Returns the next message as [`Client::recv`] does, however long it takes; answers pings meanwhile.
    pub(crate) async fn listen(&mut self) -> Message {
        loop {
            let next = self.socket.next().await;
            match next.expect("a message before the end").expect("a message, not an error") {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    /// Returns the next message, which must be text.
    pub(crate) async fn recv_text(&mut self) -> String {
        match self.recv().await {
            Message::Text(text) => text.as_str().to_owned(),
            other => panic!("no text: {other:?}"),
        }
    }

    /// Returns the next message, which must be JSON.
    pub(crate) async fn recv_json(&mut self) -> Value {
        let text = self.recv_text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Asserts that the next message is this text.
    pub(crate) async fn expect_text(&mut self, text: &str) {
        assert_eq!(self.recv_text().await, text);
    }

    /// Asserts that the next message is this chat notice.
    pub(crate) async fn expect_notice(&mut self, notice: &str) {
        let event = self.recv_json().await;
        assert_eq!(
            (&event["type"], &event["message"]),
            (&Value::from("system"), &Value::from(notice)),
            "{event}"
        );
    }

    /// Asserts that a close with this code and reason comes next, and then the end.
    pub(crate) async fn expect_close(&mut self, code: u16, reason: &str) {
        match self.recv().await {
            Message::Close(Some(frame)) => {
                assert_eq!((u16::from(frame.code), frame.reason.as_str()), (code, reason));
            }
            other => panic!("no close {code} {reason:?}: {other:?}"),
        }
        let end = patiently("the end", self.socket.next()).await;
        assert!(matches!(end, None | Some(Err(Error::ConnectionClosed))), "after a close: {end:?}");
    }

    /// Performs the closing handshake and waits until the server has closed, too.
    pub(crate) async fn close(mut self) {
        // An error is fine: when the server has closed first, there is nothing to send and nothing to wait for.
        let _ = patiently("close", self.socket.close(None)).await;
        while let Some(Ok(_)) = patiently("the close's echo", self.socket.next()).await {}
    }
}

/// Waits for `future` at most [`PATIENCE`].
pub(crate) async fn patiently<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}
