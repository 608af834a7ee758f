//! The choices about the protocol that the server speaks.

use std::time::Duration;

use anyhow::ensure;

use super::super::arguments::Scenario;
use super::super::plan::{Receivers, Workload};
use super::super::protocol::{Client, Protocol, Wishes};
use super::{Profile, seconds};

/// Returns the protocol of a run. A server that is started for `echo` sends each text back.
pub(super) fn chosen(scenario: &Scenario) -> anyhow::Result<Protocol> {
    let common = scenario.common();
    let chosen = common.protocol.protocol;
    ensure!(
        chosen == Protocol::Throng || !common.target.url.is_empty(),
        "--protocol needs --url: the server that a run starts speaks the protocol of throng"
    );
    let is_echo = matches!(scenario, Scenario::Echo(_));
    ensure!(
        !is_echo || !chosen.has_join(),
        "echo: needs a server that sends each text back, which rooms of this protocol do not: use fanout"
    );
    Ok(if is_echo && chosen == Protocol::Throng { Protocol::Echo } else { chosen })
}

/// Returns the client that the command line describes.
pub(super) fn client(scenario: &Scenario, protocol: Protocol, url: &str) -> anyhow::Result<Client> {
    let given = &scenario.common().protocol;
    let heartbeat = seconds("--heartbeat", given.heartbeat)?;
    ensure!(heartbeat >= Duration::from_millis(100), "--heartbeat {}: must be at least 0.1", given.heartbeat);
    let wishes = Wishes {
        channel: given.channel.as_deref(),
        token: given.token.as_deref(),
        secret: given.secret.as_deref(),
        heartbeat,
    };
    Client::new(protocol, url, &wishes)
}

/// Returns the connections that receive a message.
pub(super) fn receivers(
    scenario: &Scenario,
    protocol: Protocol,
    profile: &Profile,
) -> anyhow::Result<Receivers> {
    let usual = match protocol {
        Protocol::Echo => Receivers::Publisher,
        Protocol::Pusher => Receivers::Others,
        _ => profile.receivers,
    };
    let receivers = scenario.common().protocol.receivers.unwrap_or(usual);
    if let (Receivers::Others, Workload::Traffic { stalled }) = (receivers, profile.workload) {
        let most = (profile.connections - stalled).saturating_sub(profile.rooms);
        ensure!(
            profile.publishers <= most,
            "--publishers {}: at most {most} where publishers do not receive their own messages, because another \
             connection in the room has to tell when one has come",
            profile.publishers
        );
    }
    Ok(receivers)
}
