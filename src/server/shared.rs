//! The values that the acceptor and all workers of a server share.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use super::api::ApiGate;
use super::dashboard::Dashboard;
use super::denial::{self, FAILED};
use super::encryption::Encryption;
use super::keys::OperatorKeys;
use super::listed::RoomList;
use super::policy::{AdmissionPolicy, AdmissionRules};
use super::reload::{ReloadError, Reloader, Running};
use super::transport::Transport;
use crate::admission::token::{Identity, Token};
use crate::config::Config;
use crate::endpoint::{Renewed, TokenRenewal};
use crate::live::Live;
use crate::names::UserId;
use crate::node::Node;
use crate::protocol::event::CommandError;

/// The node, the admission rules, the keys, the API and the dashboard of a server.
pub(super) struct Shared {
    pub(super) node: Arc<Node>,
    /// The address of the dashboard, if it has one of IP, and how it is spoken to.
    dashboard_at: (Transport, Option<SocketAddr>),
    /// TLS, where there is a certificate.
    pub(super) encryption: Option<Arc<Encryption>>,
    pub(super) policy: AdmissionPolicy,
    pub(super) keys: Live<OperatorKeys>,
    pub(super) api: ApiGate,
    pub(super) dashboard: Dashboard,
    /// The rooms that everybody may see.
    pub(super) rooms: RoomList,
    /// Reads the settings again, where that is possible.
    pub(super) reloader: Option<Reloader>,
}

impl Shared {
    /// Makes what is shared for a node, whose dashboard is at `dashboard_at`.
    ///
    /// # Errors
    /// The configuration contradicts itself, which loading it has ruled out, or the system has no random numbers for
    /// the operator's key.
    pub(super) fn new(
        node: Arc<Node>,
        dashboard_at: (Transport, Option<SocketAddr>),
        encryption: Option<Encryption>,
        reloader: Option<Reloader>,
    ) -> io::Result<Arc<Self>> {
        let config = Arc::clone(&*node.config());
        let policy = AdmissionPolicy::new(&config, node.clock.clone())?;
        let keys = Live::new(OperatorKeys::new(&config.api).map_err(io::Error::other)?);
        let encryption = encryption.map(Arc::new);
        let (api, dashboard, rooms) = (ApiGate::default(), Dashboard::default(), RoomList::default());
        let shared =
            Arc::new(Self { node, dashboard_at, encryption, policy, keys, api, dashboard, rooms, reloader });
        if let Some(reloader) = &shared.reloader {
            let server: Weak<dyn Running> = Arc::<Self>::downgrade(&shared);
            reloader.attach(server);
        }
        Ok(shared)
    }

    /// Writes the URL of the dashboard to the log.
    pub(super) fn log_dashboard(&self) {
        // The target is that of the other lines about the start.
        tracing::info!(target: "throng::server", "dashboard: {}", self.dashboard_url(&self.keys.read()));
    }

    fn dashboard_url(&self, keys: &OperatorKeys) -> String {
        let (transport, address) = self.dashboard_at;
        keys.url(transport, address)
    }

    /// Looks after what belongs to no connection; to be called ten times a second with 0, 1, 2…
    pub(super) fn keep_house(&self, turn: usize) {
        self.node.keep_house(turn);
        self.policy.keep_house(turn);
    }
}

impl Running for Shared {
    fn config(&self) -> Arc<Config> {
        Arc::clone(&*self.node.config())
    }

    fn replace_config(&self, config: &Config) -> Result<(), ReloadError> {
        // Everything that can fail comes first.
        let rules = AdmissionRules::new(config)?;
        let keys = self.keys.read().renewed(&config.api).map_err(io::Error::other)?;
        if let Some(encryption) = &self.encryption {
            encryption.replace(&config.tls)?;
        }
        self.node.webhooks.reconfigure(&config.webhooks)?;
        let is_new_page = self.dashboard_url(&keys) != self.dashboard_url(&self.keys.read());
        self.policy.replace(rules, &config.limits).map_err(io::Error::other)?;
        self.node.replace_config(config.clone());
        self.keys.replace(keys);
        if is_new_page {
            self.log_dashboard();
        }
        Ok(())
    }
}

impl TokenRenewal for Shared {
    fn renew(&self, token: &str, user: &UserId) -> Result<Renewed, CommandError> {
        let token = Token::new(token).ok_or(CommandError::InvalidToken(FAILED))?;
        let identity = self.policy.verify(&token, Some(user)).map_err(|reason| denial::in_answer(&reason))?;
        if self.node.is_revoked(&identity.mark) {
            return Err(CommandError::InvalidToken("it is revoked"));
        }
        let Identity { rooms, until_unix_ms, mark, .. } = identity;
        Ok(Renewed { allowed: rooms.map(Vec::into_boxed_slice), until_unix_ms, mark })
    }
}
