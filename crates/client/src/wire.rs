//! The socket: dialling, and frames in and out.

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

use super::core::{Core, Lost};
use super::failure::lost;
use super::tls::Tls;

/// The largest event that is read. A page of history has 100 messages, of 500 characters unless the server is told
/// otherwise.
const MAX_MESSAGE_BYTES: usize = 16 << 20;
/// As much as a read of the socket gives, and a write takes, in most cases.
const BUFFER_BYTES: usize = 8 << 10;
/// For the server's answer to our close.
const FAREWELL: Duration = Duration::from_secs(2);

/// Makes connections.
pub(super) struct Dialer {
    token: Option<HeaderValue>,
    tls: Tls,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dialer")
    }
}

/// A connection that is being made.
pub(super) type Dialling = Pin<Box<dyn Future<Output = Result<Box<Wire>, Lost>> + Send>>;

impl Dialer {
    pub(super) fn new(tls: Tls, token: Option<HeaderValue>) -> Self {
        Self { token, tls }
    }

    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Begins to connect.
    pub(super) fn dial(&self, url: String) -> Dialling {
        let (token, tls) = (self.token.clone(), self.tls.clone());
        Box::pin(async move {
            let config = WebSocketConfig::default()
                .read_buffer_size(BUFFER_BYTES)
                .write_buffer_size(BUFFER_BYTES)
                .max_message_size(Some(MAX_MESSAGE_BYTES))
                .max_frame_size(Some(MAX_MESSAGE_BYTES));
            let mut request = url.into_client_request().map_err(lost)?;
            let headers = request.headers_mut();
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("throng.v1"));
            if let Some(token) = token {
                headers.insert(AUTHORIZATION, token);
            }
            let (socket, _) = Box::pin(tls.connect(request, config)).await.map_err(lost)?;
            Ok(Box::new(Wire { socket, needs_flush: false, has_failed: false }))
        })
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Wire {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    needs_flush: bool,
    /// Nothing can be written any more. What the server has said before is still read: it tells why.
    has_failed: bool,
}

impl Wire {
    /// Writes what `core` has to say; with `may_read`, ready with the next text that comes in.
    ///
    /// # Cancel safety
    /// Keeps no waker's state of its own: can be polled again at any time.
    pub(super) fn poll(
        &mut self,
        core: &mut Core,
        may_read: bool,
        context: &mut Context<'_>,
    ) -> Poll<Result<Utf8Bytes, Lost>> {
        if !self.has_failed && matches!(self.poll_write(core, context), Poll::Ready(Err(_))) {
            self.has_failed = true;
        }
        if may_read { self.poll_read(context) } else { Poll::Pending }
    }

    fn poll_write(&mut self, core: &mut Core, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut socket = Pin::new(&mut self.socket);
        while core.frames() > 0 {
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

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<Utf8Bytes, Lost>> {
        let mut socket = Pin::new(&mut self.socket);
        // Ends when the socket has nothing more, or tokio's budget is spent.
        loop {
            return Poll::Ready(match std::task::ready!(socket.as_mut().poll_next(context)) {
                Some(Ok(Message::Text(text))) => Ok(text),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Binary(_))) => Err(Lost::because("the server sends binary")),
                Some(Ok(Message::Close(frame))) => {
                    // The answer was made while reading. Should it not leave at once, nobody waits for it.
                    let _ = socket.as_mut().poll_flush(context);
                    Err(frame.map_or_else(|| Lost::because(""), closed))
                }
                Some(Err(error)) => Err(lost(error)),
                None => Err(Lost::because("")),
            });
        }
    }

    /// Says good-bye, and waits a moment for the answer.
    pub(super) async fn close(mut self: Box<Self>) {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        let farewell = async {
            // A connection that is no more needs no good-bye.
            if self.socket.send(Message::Close(Some(frame))).await.is_ok() {
                while let Some(Ok(_)) = self.socket.next().await {}
            }
        };
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }
}

fn closed(frame: CloseFrame) -> Lost {
    Lost::closed(frame.code.into(), frame.reason.as_str().to_owned())
}
