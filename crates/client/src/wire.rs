//! The client's WebSocket connection: makes it, writes the frames that the state machine ([`Core`]) has queued, and
//! reads the server's frames.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::connection_end::ConnectionEnd;
use super::core::Core;
use super::failure::connection_end_of;
use super::tls::Tls;
use super::token::{Fetching, TokenSource};

/// Largest message from the server that is read, in bytes. The largest one that is expected, a page of history, has 64
/// KiB with the server's default limits.
const MAX_MESSAGE_BYTES: usize = 16 << 20;
/// Size of the read and of the write buffer, in bytes. Most reads and writes are smaller.
const BUFFER_BYTES: usize = 8 << 10;
/// Longest wait for the server's answer to a close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Makes connections, all with the same source of tokens and TLS configuration.
pub(super) struct Dialer {
    token: TokenSource,
    tls: Tls,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dialer")
    }
}

/// A connection that is being made.
pub(super) type Dialling = Pin<Box<dyn Future<Output = Result<Box<Wire>, ConnectionEnd>> + Send>>;

impl Dialer {
    pub(super) fn new(tls: Tls, token: TokenSource) -> Self {
        Self { token, tls }
    }

    /// Begins to get a fresh token; returns `None` where there is no function for it.
    pub(super) fn fetch_token(&self) -> Option<Fetching> {
        self.token.fetch()
    }

    /// Returns a future that connects to `url`.
    pub(super) fn dial(&self, url: String) -> Dialling {
        let (token, tls) = (self.token.clone(), self.tls.clone());
        Box::pin(async move {
            let config = WebSocketConfig::default()
                .read_buffer_size(BUFFER_BYTES)
                .write_buffer_size(BUFFER_BYTES)
                .max_message_size(Some(MAX_MESSAGE_BYTES))
                .max_frame_size(Some(MAX_MESSAGE_BYTES));
            let mut request = url.into_client_request().map_err(connection_end_of)?;
            let headers = request.headers_mut();
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("throng.v1"));
            if let Some(token) = token.header().await.map_err(|why| ConnectionEnd::with_reason(&why))? {
                headers.insert(AUTHORIZATION, token);
            }
            let (socket, _) = Box::pin(tls.connect(request, config)).await.map_err(connection_end_of)?;
            Ok(Box::new(Wire { socket, needs_flush: false, has_failed: false }))
        })
    }
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Wire {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    needs_flush: bool,
    /// True once a write has failed. Reading goes on, because the server may already have sent a close frame that says
    /// why it ended the connection.
    has_failed: bool,
}

impl Wire {
    /// Writes the frames that `core` has queued. With `may_read` it also reads: it is ready with the next text frame,
    /// or with the end of the connection. It is always pending without `may_read`. A failed write is not reported; the
    /// end comes from reading.
    ///
    /// # Cancel safety
    /// All state is in this value: polling can stop and start again at any time.
    pub(super) fn poll(
        &mut self,
        core: &mut Core,
        may_read: bool,
        context: &mut Context<'_>,
    ) -> Poll<Result<Utf8Bytes, ConnectionEnd>> {
        if !self.has_failed && matches!(self.poll_write(core, context), Poll::Ready(Err(_))) {
            self.has_failed = true;
        }
        if may_read { self.poll_read(context) } else { Poll::Pending }
    }

    fn poll_write(&mut self, core: &mut Core, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut socket = Pin::new(&mut self.socket);
        while core.queued_frames() > 0 {
            std::task::ready!(socket.as_mut().poll_ready(context))?;
            let Some(frame) = core.pop_frame() else { break };
            socket.as_mut().start_send(Message::text(frame))?;
            self.needs_flush = true;
        }
        if self.needs_flush {
            std::task::ready!(socket.poll_flush(context))?;
            self.needs_flush = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<Utf8Bytes, ConnectionEnd>> {
        let mut socket = Pin::new(&mut self.socket);
        // Skips control frames. A flood of them does not hold the task: tokio's budget makes `poll_next` pending.
        loop {
            return Poll::Ready(match std::task::ready!(socket.as_mut().poll_next(context)) {
                Some(Ok(Message::Text(text))) => Ok(text),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Binary(_))) => Err(ConnectionEnd::with_reason(
                    "the server sent a binary frame, which throng.v1 does not have",
                )),
                Some(Ok(Message::Close(frame))) => {
                    // Reading has queued the answer to the close. It is flushed once, without waiting for it to leave.
                    let _ = socket.as_mut().poll_flush(context);
                    // Without a code the server has not said why it ended the connection.
                    Err(frame.map_or_else(|| ConnectionEnd::with_reason(""), end_of_close_frame))
                }
                Some(Err(error)) => Err(connection_end_of(error)),
                None => Err(ConnectionEnd::with_reason("")),
            });
        }
    }

    /// Sends a close frame with code 1000, and waits at most two seconds for the answer.
    pub(super) async fn close(mut self: Box<Self>) {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        let handshake = async {
            // A connection that is already gone needs no close.
            if self.socket.send(Message::Close(Some(frame))).await.is_ok() {
                while let Some(Ok(_)) = self.socket.next().await {}
            }
        };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, handshake).await;
    }
}

fn end_of_close_frame(frame: CloseFrame) -> ConnectionEnd {
    ConnectionEnd::with_code(frame.code.into(), frame.reason.as_str().to_owned())
}
