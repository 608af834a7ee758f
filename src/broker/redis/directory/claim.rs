//! Claims a user id for a connection.

use bytes::Bytes;
use smallvec::smallvec;

use super::{CLOCK_MARGIN_MS, ENTRY_LIFE_S, MAX_CONNECTIONS, Owner, SessionHash, Spent};
use crate::broker::redis::keys::Keys;
use crate::broker::redis::nodes::{Fields, LiveNodes};
use crate::broker::redis::script::{BadReply, Call, Reply, Script};
use crate::names::UserId;

/// Enters a connection in the entry of its user.
pub static CLAIM: Script = Script::new(
    "claim",
    concat!(include_str!("../script/now.lua"), include_str!("common.lua"), include_str!("claim.lua")),
);

/// The fate of other connections that hold the user id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Policy {
    /// They go on holding it.
    Allow,
    /// The claim is refused, unless the only holder is this connection, which did not answer.
    Reject {
        /// A holder that is known to be dead, and is replaced if it still holds the user id.
        dead: Option<Owner>,
    },
    /// They are replaced: by configuration, or because a token proves who the user is.
    Replace,
}

/// A claim of a user id.
#[derive(Clone, Debug)]
pub struct Claim<'a> {
    /// The user id.
    pub user: &'a UserId,
    /// The connection that is to hold it.
    pub owner: &'a Owner,
    /// The hash of the connection's own session secret.
    pub session: Option<SessionHash>,
    /// The hash of the secret that the client has shown. The connection with this secret is replaced, whatever the
    /// policy is.
    pub shown: Option<SessionHash>,
    /// The fate of other holders.
    pub policy: Policy,
}

/// The result of a claim.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClaimReply {
    /// The connection holds the user id.
    Claimed {
        /// The tokens that are missing in the user's rate bucket; zero when none are.
        spent: Spent,
        /// Connections that were replaced, by this claim or an earlier one, and that their nodes have not released yet.
        /// Their nodes are to be told.
        replaced: Vec<Owner>,
    },
    /// This connection holds the user id, and nothing was changed.
    Held(Owner),
    /// The claiming connection has been replaced by another one since it was entered. It has to end.
    Replaced,
    /// The user has [`MAX_CONNECTIONS`] connections.
    Full,
}

/// Returns the call that claims a user id. It may be repeated when its answer is lost.
#[must_use]
pub fn call(keys: &Keys, claim: &Claim<'_>, live: &LiveNodes) -> Call {
    let (policy, dead) = match &claim.policy {
        Policy::Allow => ("allow", Bytes::new()),
        Policy::Reject { dead } => ("reject", dead.as_ref().map_or_else(Bytes::new, Owner::id)),
        Policy::Replace => ("replace", Bytes::new()),
    };
    let args = vec![
        claim.owner.id(),
        claim.owner.node.as_str().to_owned().into(),
        claim.session.as_ref().map_or(Bytes::from_static(b"-"), SessionHash::digits),
        claim.shown.as_ref().map_or_else(Bytes::new, SessionHash::digits),
        policy.into(),
        dead,
        live.list.clone(),
        live.as_of_ms.to_string().into(),
        CLOCK_MARGIN_MS.to_string().into(),
        ENTRY_LIFE_S.to_string().into(),
        MAX_CONNECTIONS.to_string().into(),
    ];
    Call { script: &CLAIM, keys: smallvec![keys.user(claim.user)], args }
}

/// Parses the answer to a claim.
///
/// # Errors
/// The script cannot have given it.
pub fn reply(reply: &Reply) -> Result<ClaimReply, BadReply> {
    let mut fields = Fields::new(&CLAIM, reply)?;
    match &fields.bytes("a status")?[..] {
        b"claimed" => {
            let spent =
                Spent { missing: fields.number("what is missing")?, age_ms: fields.number("an age")? };
            Ok(ClaimReply::Claimed { spent, replaced: owners(&mut fields)? })
        }
        b"held" => {
            let holder = owner(&mut fields)?;
            fields.end(ClaimReply::Held(holder))
        }
        b"gone" => fields.end(ClaimReply::Replaced),
        b"full" => fields.end(ClaimReply::Full),
        _ => Err(fields.bad("a known status")),
    }
}

/// Reads the connections that are left in an answer.
pub(super) fn owners(fields: &mut Fields<'_>) -> Result<Vec<Owner>, BadReply> {
    let mut owners = Vec::new();
    while !fields.is_empty() {
        owners.push(owner(fields)?);
    }
    Ok(owners)
}

fn owner(fields: &mut Fields<'_>) -> Result<Owner, BadReply> {
    let id = std::str::from_utf8(fields.bytes("a connection")?).ok();
    let (incarnation, connection) = id.and_then(Owner::parse_id).ok_or(fields.bad("a connection"))?;
    Ok(Owner { node: fields.name("the name of a node")?, incarnation, connection })
}
