//! Connects to a server: opens both connections, and reads how the server describes itself.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::TcpKeepalive;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo, ProtocolVersion,
    PushInfo, PushKind, RedisConnectionInfo, TlsCertificates, Value,
};
use tokio::time::timeout;

use super::call::{MAX_CALLS, Reply, ServerError};
use super::facts::{self, ServerFacts};
use super::pushes::{Closed, Pushes};
use super::reason::DownReason;
use super::sentinel;
use super::settings::{ServerSettings, TlsSettings};

/// After this long without traffic the kernel asks whether the peer is still there, and asks again as often.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// Bytes to be written that the client gathers before it writes: those of some hundred calls.
const WRITE_BYTES: usize = 64 * 1024;

/// Two connections to one server that can be used.
pub(super) struct Connections {
    /// For calls.
    pub(super) calls: MultiplexedConnection,
    /// For subscriptions: a connection that has some falls under the server's limit for the output of subscribers.
    pub(super) subscriptions: MultiplexedConnection,
    /// The server's own description.
    pub(super) facts: Arc<ServerFacts>,
}

/// Connects twice, checks the server, and waits until a probe has gone all the way.
///
/// # Errors
/// The server cannot be reached, or cannot be used.
pub(super) async fn connect(
    settings: &ServerSettings,
    pushes: &Arc<Pushes>,
) -> Result<Connections, DownReason> {
    let Some(sentinels) = &settings.sentinels else { return connect_to(settings, pushes).await };
    let (host, port) = sentinel::find_master(sentinels).await?;
    let connected = connect_to(&ServerSettings { host, port, ..settings.clone() }, pushes).await;
    if connected.is_err() {
        sentinel::doubt(sentinels);
    }
    connected
}

async fn connect_to(settings: &ServerSettings, pushes: &Arc<Pushes>) -> Result<Connections, DownReason> {
    let client = client(settings).await?;
    let deadline = settings.timings.answer;
    let breaks = Arc::clone(pushes.breaks());
    let end =
        move |push: PushInfo| if push.kind == PushKind::Disconnection { breaks.close() } else { Ok(()) };
    let mut calls = open(&client, settings, end).await?;
    let receiver = Arc::clone(pushes);
    let mut subscriptions = open(&client, settings, move |push| receiver.receive(push)).await?;
    let greeting = async {
        let info = greet(&mut calls, settings).await?;
        let facts = facts::read(&info)?;
        let other = facts::read(&greet(&mut subscriptions, settings).await?)?;
        if other.run_id != facts.run_id {
            return Err(DownReason::TwoServers);
        }
        if facts.is_cluster != settings.is_cluster {
            return Err(DownReason::OtherMode { is_cluster: facts.is_cluster });
        }
        Ok(facts)
    };
    let facts = within(deadline, Box::pin(greeting)).await?;
    let first_probe = async {
        let channel = pushes.probe_channel();
        ask(&mut subscriptions, "SSUBSCRIBE", std::slice::from_ref(&channel)).await?;
        ask(&mut calls, "SPUBLISH", &[channel, super::PROBE]).await?;
        pushes.first_probe().await;
        Ok(())
    };
    timeout(deadline, first_probe).await.unwrap_or(Err(DownReason::ProbeLost(deadline)))?;
    Ok(Connections { calls, subscriptions, facts: Arc::new(facts) })
}

async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, DownReason>>,
) -> Result<T, DownReason> {
    timeout(deadline, work).await.unwrap_or(Err(DownReason::AnswerDeadline(deadline)))
}

/// Carries out one command on a connection of its own.
///
/// # Errors
/// The server cannot be reached, refuses the login or the command, or does not answer in time.
pub async fn ask_once(
    settings: &ServerSettings,
    command: &'static str,
    args: &[Bytes],
) -> Result<Reply, DownReason> {
    let client = client(settings).await?;
    let mut connection = open(&client, settings, |_| Ok(())).await?;
    within(settings.timings.answer, ask(&mut connection, command, args)).await
}

/// Carries out a command of the set-up.
pub(super) async fn ask(
    connection: &mut MultiplexedConnection,
    command: &'static str,
    args: &[Bytes],
) -> Result<Reply, DownReason> {
    let mut request = redis::Cmd::new();
    command.split(' ').for_each(|word| _ = request.arg(word));
    args.iter().for_each(|arg| _ = request.arg(&arg[..]));
    match connection.send_packed_command(&request).await {
        Ok(Value::ServerError(error)) => Err(DownReason::of_refusal(command, ServerError::from(&error))),
        Ok(value) => Ok(value.into()),
        Err(error) => Err(DownReason::of_connecting(&error, Duration::ZERO)),
    }
}

/// Names the connection, and returns what the server says about itself.
async fn greet(
    connection: &mut MultiplexedConnection,
    settings: &ServerSettings,
) -> Result<String, DownReason> {
    ask(connection, "CLIENT SETNAME", &[settings.client_name.clone().into()]).await?;
    let mut info = String::new();
    for command in ["INFO server", "INFO persistence", "INFO replication"] {
        info.push_str(&text(ask(connection, command, &[]).await?)?);
        info.push('\n');
    }
    Ok(info)
}

/// Returns a reply's text.
pub(super) fn text(reply: Reply) -> Result<String, DownReason> {
    match reply {
        Reply::Bytes(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        other => Err(DownReason::NotRedis(format!("text was asked for, and {other:?} came"))),
    }
}

async fn open(
    client: &Client,
    settings: &ServerSettings,
    receive: impl Fn(PushInfo) -> Result<(), Closed> + Send + Sync + 'static,
) -> Result<MultiplexedConnection, DownReason> {
    let deadline = settings.timings.connect;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(deadline))
        .set_response_timeout(None)
        .set_pipeline_buffer_size(MAX_CALLS)
        .set_write_backpressure_boundary(WRITE_BYTES)
        .set_push_sender(receive);
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .map_err(|error| DownReason::of_connecting(&error, deadline))
}

async fn client(settings: &ServerSettings) -> Result<Client, DownReason> {
    let (host, port) = (settings.host.clone(), settings.port);
    let address = match settings.tls {
        None => ConnectionAddr::Tcp(host, port),
        Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
    };
    let mut login =
        RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
    if let Some(username) = &settings.username {
        login = login.set_username(username);
    }
    if let Some(password) = &settings.password {
        // A secret is made from text.
        login = login.set_password(String::from_utf8_lossy(password.expose()));
    }
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive)
        .set_user_timeout(settings.timings.user_timeout);
    let unusable = |error: redis::RedisError| DownReason::Tls(error.to_string());
    let info = address.into_connection_info().map_err(unusable)?;
    let info = info.set_redis_settings(login).set_tcp_settings(tcp);
    match settings.tls.clone() {
        None => Client::open(info).map_err(unusable),
        Some(tls) => Client::build_with_tls(info, certificates(tls).await?).map_err(unusable),
    }
}

/// Reads the files of a TLS connection.
async fn certificates(tls: TlsSettings) -> Result<TlsCertificates, DownReason> {
    let read = |path: std::path::PathBuf| async move {
        let shown = path.display().to_string();
        // Files are read on a thread of their own: the disk may be slow, or far away.
        let bytes = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
        match bytes {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(DownReason::Tls(format!("cannot read {shown}: {error}"))),
            Err(error) => Err(DownReason::Tls(format!("cannot read {shown}: {error}"))),
        }
    };
    let root_cert = match tls.ca_file {
        Some(path) => Some(read(path).await?),
        None => None,
    };
    let client_tls = match tls.identity {
        Some((certificate, key)) => {
            Some(ClientTlsConfig { client_cert: read(certificate).await?, client_key: read(key).await? })
        }
        None => None,
    };
    Ok(TlsCertificates { client_tls, root_cert })
}
