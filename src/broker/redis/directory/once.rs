//! The idempotency keys of private messages: a message sent twice under one key is delivered once.

use bytes::Bytes;
use smallvec::smallvec;

use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::keys::Keys;
use crate::broker::redis::nodes::{Fields, yes_or_no};
use crate::broker::redis::script::{BadReply, Call, Reply, Script};
use crate::names::{Key, UserId};

/// Remembers keys of private messages.
pub static ONCE: Script = Script::new("once", include_str!("once.lua"));

/// Age beyond which an attempt without a result will never have one, in milliseconds: a message is delivered or given
/// up within a second, and the calls before and after take no more than two each.
pub const ATTEMPT_MS: u64 = 5_000;

/// An attempt to deliver a message under a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt<'a> {
    /// The recipient, with whom the key is kept.
    pub to: &'a UserId,
    /// The sender.
    pub from: &'a UserId,
    /// The key.
    pub key: &'a Key,
    /// The incarnation that makes the attempt.
    pub by: Incarnation,
    /// The number of the attempt, which this incarnation uses for no other. A call that is repeated because its answer
    /// was lost keeps the number.
    pub number: u64,
}

/// The engine's answer to the beginning of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begun {
    /// The key is new: the message is to be delivered, and its result stored or the attempt withdrawn.
    First,
    /// The message was delivered before, with this result.
    Repeat(u64),
    /// Another attempt is delivering the message, and has no result yet.
    Pending,
    /// Another attempt has stored no result, and will not any more. Perhaps it has delivered the message.
    Lost,
}

impl Attempt<'_> {
    /// Returns the call that begins the attempt. [`begun`] parses the answer.
    #[must_use]
    pub fn begin(&self, keys: &Keys) -> Call {
        self.call(keys, "begin", Bytes::new())
    }

    /// Returns the call that stores the result of a delivered message. [`is_stored`] parses the answer.
    #[must_use]
    pub fn finish(&self, keys: &Keys, result: u64) -> Call {
        self.call(keys, "finish", result.to_string().into())
    }

    /// Returns the call that forgets the key, because nothing was delivered. [`is_stored`] parses the answer.
    #[must_use]
    pub fn withdraw(&self, keys: &Keys) -> Call {
        self.call(keys, "withdraw", Bytes::new())
    }

    fn call(&self, keys: &Keys, step: &'static str, result: Bytes) -> Call {
        let field = [self.from.as_str(), self.key.as_str()].join("\0");
        let attempt = format!("{}:{}", self.by, self.number);
        let args = vec![step.into(), field.into(), attempt.into(), result];
        Call { script: &ONCE, keys: smallvec![keys.user(self.to)], args }
    }
}

/// Parses the answer to [`Attempt::begin`].
///
/// # Errors
/// The script cannot have given it.
pub fn begun(reply: &Reply) -> Result<Begun, BadReply> {
    let mut fields = Fields::new(&ONCE, reply)?;
    let begun = match &fields.bytes("a status")?[..] {
        b"first" => Begun::First,
        b"repeat" => Begun::Repeat(fields.number("a result")?),
        b"pending" => {
            let is_recent = fields.number("an age")? < ATTEMPT_MS;
            if is_recent { Begun::Pending } else { Begun::Lost }
        }
        _ => return Err(fields.bad("a known status")),
    };
    fields.end(begun)
}

/// Parses the answer to [`Attempt::finish`] and [`Attempt::withdraw`]: true when the attempt was still the one that the
/// key belongs to, and had no result.
///
/// # Errors
/// The script cannot have given it.
pub fn is_stored(reply: &Reply) -> Result<bool, BadReply> {
    yes_or_no(&ONCE, reply)
}
