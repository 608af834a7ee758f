//! The options about the protocol that the server speaks.

use clap::Args;

use crate::plan::Receivers;
use crate::protocol::Protocol;
use crate::units::seconds;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Protocol")]
pub(in super::super) struct ProtocolArguments {
    /// The protocol of the server on top of WebSocket
    #[arg(long, value_enum, default_value_t = Protocol::Throng)]
    pub(in super::super) protocol: Protocol,
    /// Channel or topic that each connection joins and publishes in, with {i} and {r} as in the URL [default:
    /// centrifugo: bench-{r}; phoenix: room:bench-{r}; pusher: private-bench-{r}]
    #[arg(long, value_name = "NAME")]
    pub(in super::super) channel: Option<String>,
    /// Token that each connection presents in its protocol, with {i} and {r} as in the URL: centrifugo, socketio
    #[arg(long, value_name = "TOKEN")]
    pub(in super::super) token: Option<String>,
    /// Secret of the application, which signs subscriptions: pusher
    #[arg(long, value_name = "SECRET")]
    pub(in super::super) secret: Option<String>,
    /// Connections that receive a message [default: room; echo: publisher; pusher: others]
    #[arg(long, value_enum)]
    pub(in super::super) receivers: Option<Receivers>,
    /// Time between two heartbeats of a client: phoenix, pusher
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "25")]
    pub(in super::super) heartbeat: f64,
}
