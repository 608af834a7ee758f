//! Connects to a server: opens both connections, and reads how the server describes itself.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::call::Reply;
use super::connection::Connection;
use super::facts::{self, ServerFacts};
use super::reason::DownReason;
use super::sentinel;
use super::settings::ServerSettings;
use super::wire::Push;

/// Two connections to one server that can be used.
pub(super) struct Connections {
    /// For calls.
    pub(super) calls: Connection,
    /// For subscriptions: a connection that has some falls under the server's limit for the output of subscribers.
    pub(super) subscriptions: Connection,
    /// The server's own description.
    pub(super) facts: Arc<ServerFacts>,
}

/// Connects twice, checks the server, and waits until a probe has gone all the way.
///
/// # Errors
/// The server cannot be reached, or cannot be used.
pub(super) async fn connect(
    settings: &ServerSettings,
    probe_channel: &Bytes,
) -> Result<Connections, DownReason> {
    let Some(sentinels) = &settings.sentinels else { return connect_to(settings, probe_channel).await };
    let (host, port) = sentinel::find_master(sentinels).await?;
    let connected = connect_to(&ServerSettings { host, port, ..settings.clone() }, probe_channel).await;
    if connected.is_err() {
        sentinel::doubt(sentinels);
    }
    connected
}

async fn connect_to(settings: &ServerSettings, probe_channel: &Bytes) -> Result<Connections, DownReason> {
    let deadline = settings.timings.answer;
    let mut calls = Connection::open(settings).await?;
    let mut subscriptions = Connection::open(settings).await?;
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
        subscriptions.send([b"SSUBSCRIBE", &probe_channel[..]].into_iter());
        subscriptions.expect("SSUBSCRIBE", |push| matches!(push, Push::Subscribed(_))).await?;
        calls.ask("SPUBLISH", &[probe_channel.clone(), super::PROBE]).await?;
        subscriptions.expect("SSUBSCRIBE", |push| matches!(push, Push::Message { .. })).await
    };
    timeout(deadline, first_probe).await.unwrap_or(Err(DownReason::ProbeLost(deadline)))?;
    Ok(Connections { calls, subscriptions, facts: Arc::new(facts) })
}

/// Waits for the work, at most until the deadline.
///
/// # Errors
/// As the work, or [`DownReason::AnswerDeadline`].
pub(super) async fn within<T>(
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
    let mut connection = Connection::open(settings).await?;
    within(settings.timings.answer, connection.ask(command, args)).await
}

/// Names the connection, and returns what the server says about itself.
async fn greet(connection: &mut Connection, settings: &ServerSettings) -> Result<String, DownReason> {
    connection.ask("CLIENT SETNAME", &[settings.client_name.clone().into()]).await?;
    let mut info = String::new();
    for command in ["INFO server", "INFO persistence", "INFO replication"] {
        info.push_str(&text(connection.ask(command, &[]).await?)?);
        info.push('\n');
    }
    Ok(info)
}

/// Returns a reply's text.
fn text(reply: Reply) -> Result<String, DownReason> {
    match reply {
        Reply::Bytes(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        other => Err(DownReason::NotRedis(format!("text was asked for, and {other:?} came"))),
    }
}
