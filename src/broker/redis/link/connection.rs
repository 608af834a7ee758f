//! One connection to a server: bytes out, values in.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::call::{Call, Reply, ServerError};
use super::reason::DownReason;
use super::settings::ServerSettings;
use super::tls;
use super::wire::{self, Decoder, Frame, Push};

/// After this long without traffic the kernel asks whether the peer is still there, and asks again as often.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// Bytes that are read at once.
const READ_BYTES: usize = 16 << 10;
/// Most bytes of the buffer for writing that are kept while it is empty.
const MAX_KEPT: usize = 256 << 10;

/// TCP, or TLS over it.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection on which the server has taken the login.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    input: Decoder,
    output: BytesMut,
    /// Bytes were written that the stream may still hold.
    must_flush: bool,
}

impl Connection {
    /// Connects, logs in, and asks for the protocol RESP3.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses the login.
    pub(super) async fn open(settings: &ServerSettings) -> Result<Self, DownReason> {
        let deadline = settings.timings.connect;
        let opening = Box::pin(async {
            let stream = stream(settings).await?;
            let (input, output) = Default::default();
            let mut connection = Self { stream, input, output, must_flush: false };
            connection.log_in(settings).await?;
            Ok(connection)
        });
        timeout(deadline, opening).await.unwrap_or(Err(DownReason::ConnectDeadline(deadline)))
    }

    async fn log_in(&mut self, settings: &ServerSettings) -> Result<(), DownReason> {
        let mut words: Vec<&[u8]> = vec![b"HELLO", b"3"];
        if let Some(password) = &settings.password {
            let username = settings.username.as_deref().unwrap_or("default");
            words.extend([&b"AUTH"[..], username.as_bytes(), password.expose()]);
        }
        self.send(words.into_iter());
        match self.reply().await? {
            Reply::Map(_) => Ok(()),
            Reply::Error(error) => Err(DownReason::of_login(error)),
            _ => Err(DownReason::NotRedis("the answer to HELLO is no map".into())),
        }
    }

    /// Queues a command. It is written with the next [progress](Self::progress).
    pub(super) fn send<'a>(&mut self, words: impl Iterator<Item = &'a [u8]> + Clone) {
        wire::command(&mut self.output, words);
    }

    /// Queues a call, as [`Connection::send`] does. `with_text`: for a server that does not know the script.
    pub(super) fn send_call(&mut self, call: &Call, with_text: bool) {
        call.encode(&mut self.output, with_text);
    }

    /// Writes what is queued, as far as the kernel takes it, and waits until something was read. May be dropped while
    /// it waits: nothing is lost.
    ///
    /// # Errors
    /// The connection has ended.
    pub(super) async fn progress(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll_progress(context)).await
    }

    fn poll_progress(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(Err(error)) = self.poll_write(context) {
            return Poll::Ready(Err(error));
        }
        let buffer = self.input.buffer();
        buffer.reserve(READ_BYTES);
        match ready!(pin!(self.stream.read_buf(buffer)).poll(context)) {
            Ok(0) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            if ready!(pin!(self.stream.write_buf(&mut self.output)).poll(context))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.must_flush = true;
        }
        if self.output.capacity() > MAX_KEPT {
            self.output = BytesMut::new();
        }
        if self.must_flush {
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            self.must_flush = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Returns the next value that has been read; `None` until there is another one.
    ///
    /// # Errors
    /// The server does not keep to the protocol.
    pub(super) fn next_frame(&mut self) -> Result<Option<Frame>, DownReason> {
        self.input.next_frame().map_err(|malformed| DownReason::NotRedis(malformed.to_string()))
    }

    /// Waits for the next value.
    ///
    /// # Errors
    /// The connection has ended, or the server does not keep to the protocol.
    pub(super) async fn frame(&mut self) -> Result<Frame, DownReason> {
        loop {
            if let Some(frame) = self.next_frame()? {
                return Ok(frame);
            }
            self.progress().await.map_err(|error| DownReason::of_io(&error))?;
        }
    }

    /// Waits for the answer to the only command that waits for one.
    async fn reply(&mut self) -> Result<Reply, DownReason> {
        loop {
            if let Frame::Reply(reply) = self.frame().await? {
                return Ok(reply);
            }
        }
    }

    /// Carries out a command of the set-up.
    ///
    /// # Errors
    /// The connection has ended, or the server refuses the command.
    pub(super) async fn ask(&mut self, command: &'static str, args: &[Bytes]) -> Result<Reply, DownReason> {
        self.send(command.split(' ').map(str::as_bytes).chain(args.iter().map(|arg| &arg[..])));
        match self.reply().await? {
            Reply::Error(error) => Err(DownReason::of_refusal(command, error)),
            reply => Ok(reply),
        }
    }

    /// Waits for a push of some kind, which the last command, `command`, brings about.
    ///
    /// # Errors
    /// The connection has ended, or the server refuses the command.
    pub(super) async fn expect(
        &mut self,
        command: &'static str,
        is_wanted: fn(&Push) -> bool,
    ) -> Result<(), DownReason> {
        loop {
            match self.frame().await? {
                Frame::Reply(Reply::Error(error)) => return Err(DownReason::of_refusal(command, error)),
                Frame::Push(push) if is_wanted(&push) => return Ok(()),
                Frame::Reply(_) | Frame::Push(_) => {}
            }
        }
    }

    /// Carries out a call. Returns the server's reply or error.
    ///
    /// # Errors
    /// The connection has ended.
    pub(super) async fn call(&mut self, call: &Call) -> Result<Result<Reply, ServerError>, DownReason> {
        let mut with_text = false;
        loop {
            self.send_call(call, with_text);
            match self.reply().await? {
                Reply::Error(error) if !with_text && call.is_unknown(&error) => with_text = true,
                Reply::Error(error) => return Ok(Err(error)),
                reply => return Ok(Ok(reply)),
            }
        }
    }
}

async fn stream(settings: &ServerSettings) -> Result<Box<dyn Stream>, DownReason> {
    let ServerSettings { host, port, .. } = settings;
    let config = match settings.tls.clone() {
        Some(files) => Some(tls::configuration(files).await?),
        None => None,
    };
    let of_io = |error: io::Error| DownReason::of_io(&error);
    let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(of_io)?;
    set_options(&stream, settings.timings.user_timeout).map_err(of_io)?;
    let Some(config) = config else { return Ok(Box::new(stream)) };
    let name = ServerName::try_from(host.clone());
    let name =
        name.map_err(|_| DownReason::Tls(format!("{host:?} is no name that a certificate can have")))?;
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(of_io)?;
    Ok(Box::new(stream))
}

fn set_options(stream: &TcpStream, user_timeout: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE))?;
    socket.set_tcp_user_timeout(Some(user_timeout))
}
