//! The lists of users of whom nodes tell webhooks. The list of a node that has died is taken over by another one, which
//! tells that its users are offline.

use bytes::Bytes;
use smallvec::smallvec;

use super::ENTRY_LIFE_S;
use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::keys::Keys;
use crate::broker::redis::nodes::{Fields, NodeName};
use crate::broker::redis::script::{BadReply, Call, Reply, Script};
use crate::names::UserId;

/// Keeps the lists.
pub static TOLD_USERS: Script = Script::new("told_users", include_str!("told_users.lua"));
/// Returns the incarnations that have lists.
pub static TELLERS: Script = Script::new("tellers", include_str!("tellers.lua"));

/// Most users that one call takes over.
const MOST: usize = 256;

/// A step of the lists.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    /// This node tells webhooks from now on, and of this user if there is one.
    Enter(&'a NodeName, Option<&'a UserId>),
    /// Nothing is left to tell of the user.
    Forget(&'a UserId),
    /// This node tells no more.
    Leave,
    /// Some users of an incarnation that is over come to this node's list too.
    Take(Incarnation),
    /// These users of an incarnation that is over leave its list.
    Drop(Incarnation, &'a [UserId]),
    /// The list of an incarnation that is over is empty.
    End(Incarnation),
}

/// Returns the call of a step. It may be repeated.
#[must_use]
pub fn call(keys: &Keys, by: Incarnation, step: &Step<'_>) -> Call {
    let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let life = || Bytes::from(ENTRY_LIFE_S.to_string());
    let own = Bytes::from(by.to_string());
    let (args, other) = match step {
        Step::Enter(node, user) => {
            let mut args = vec!["enter".into(), own, text(node.as_str()), life()];
            args.extend(user.map(|user| text(user.as_str())));
            (args, by)
        }
        Step::Forget(user) => (vec!["forget".into(), own, text(user.as_str())], by),
        Step::Leave => (vec!["leave".into(), own], by),
        Step::End(other) => (vec!["end".into(), own, other.to_string().into()], *other),
        Step::Drop(other, users) => {
            let users = users.iter().map(|user| text(user.as_str()));
            (["drop".into(), own].into_iter().chain(users).collect(), *other)
        }
        Step::Take(other) => {
            let most = Bytes::from(MOST.to_string());
            (vec!["take".into(), own, life(), most], *other)
        }
    };
    let keys = smallvec![keys.tellers(), keys.told_users(by), keys.told_users(other)];
    Call { script: &TOLD_USERS, keys, args }
}

/// Parses the answer: the users who were taken, and none for the other steps.
///
/// # Errors
/// The script cannot have given it.
pub fn reply(reply: &Reply) -> Result<Vec<UserId>, BadReply> {
    let mut fields = Fields::new(&TOLD_USERS, reply)?;
    let mut users = Vec::new();
    while !fields.is_empty() {
        users.push(fields.name("a user")?);
    }
    Ok(users)
}

/// Returns the call that returns the incarnations with lists.
#[must_use]
pub fn tellers(keys: &Keys) -> Call {
    Call { script: &TELLERS, keys: smallvec![keys.tellers()], args: Vec::new() }
}

/// Parses the answer to [`tellers`]: the incarnations and the names of their nodes.
///
/// # Errors
/// The script cannot have given it.
pub fn tellers_of(reply: &Reply) -> Result<Vec<(Incarnation, NodeName)>, BadReply> {
    let mut fields = Fields::new(&TELLERS, reply)?;
    let mut tellers = Vec::new();
    while !fields.is_empty() {
        tellers.push((fields.name("an incarnation")?, fields.name("the name of a node")?));
    }
    Ok(tellers)
}
