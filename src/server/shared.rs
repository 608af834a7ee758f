//! The values that the acceptor and all workers of a server share.

use std::io;
use std::sync::Arc;

use super::api::ApiGate;
use super::dashboard::Dashboard;
use super::denial::{self, FAILED};
use super::keys::OperatorKeys;
use super::policy::AdmissionPolicy;
use crate::admission::token::{Identity, Token};
use crate::endpoint::{Renewed, TokenRenewal};
use crate::names::UserId;
use crate::node::Node;
use crate::protocol::event::CommandError;

/// The node, the admission rules, the keys, the API and the dashboard of a server.
pub(super) struct Shared {
    pub(super) node: Arc<Node>,
    pub(super) policy: AdmissionPolicy,
    pub(super) keys: OperatorKeys,
    pub(super) api: ApiGate,
    pub(super) dashboard: Dashboard,
}

impl Shared {
    /// Makes what is shared for a node.
    ///
    /// # Errors
    /// The configuration contradicts itself, which loading it has ruled out, or the system has no random numbers for
    /// the operator's key.
    pub(super) fn new(node: Arc<Node>) -> io::Result<Arc<Self>> {
        let policy = AdmissionPolicy::new(&node.config, node.clock.clone())?;
        let keys = OperatorKeys::new(&node.config.api).map_err(io::Error::other)?;
        let api = ApiGate::new(&node.config.api, keys.len());
        Ok(Arc::new(Self { node, policy, keys, api, dashboard: Dashboard::default() }))
    }

    /// Looks after what belongs to no connection; to be called ten times a second with 0, 1, 2…
    pub(super) fn keep_house(&self, turn: usize) {
        self.node.keep_house(turn);
        self.policy.keep_house(turn);
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
