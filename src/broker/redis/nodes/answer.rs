//! Reads the replies of scripts, field by field.

use std::slice::Iter;
use std::str::FromStr;

use bytes::Bytes;

use crate::broker::redis::script::{BadReply, Reply, Script};

/// The fields of a reply that have not been read yet.
#[derive(Debug)]
pub(in crate::broker::redis) struct Fields<'a> {
    script: &'static str,
    rest: Iter<'a, Reply>,
}

impl<'a> Fields<'a> {
    pub(in crate::broker::redis) fn new(script: &Script, reply: &'a Reply) -> Result<Self, BadReply> {
        match reply {
            Reply::Array(fields) => Ok(Self { script: script.name, rest: fields.iter() }),
            _ => Err(BadReply { script: script.name, wanted: "an array" }),
        }
    }

    /// Returns the error that something else was wanted.
    pub(in crate::broker::redis) fn bad(&self, wanted: &'static str) -> BadReply {
        BadReply { script: self.script, wanted }
    }

    pub(in crate::broker::redis) fn is_empty(&self) -> bool {
        self.rest.len() == 0
    }

    pub(in crate::broker::redis) fn bytes(&mut self, wanted: &'static str) -> Result<&'a Bytes, BadReply> {
        match self.rest.next() {
            Some(Reply::Bytes(bytes)) => Ok(bytes),
            _ => Err(self.bad(wanted)),
        }
    }

    /// Reads a number that is not negative.
    pub(in crate::broker::redis) fn number(&mut self, wanted: &'static str) -> Result<u64, BadReply> {
        match self.rest.next() {
            Some(Reply::Int(number)) => u64::try_from(*number).map_err(|_| self.bad(wanted)),
            _ => Err(self.bad(wanted)),
        }
    }

    /// Reads a text that has a type of its own.
    pub(in crate::broker::redis) fn name<N: FromStr>(&mut self, wanted: &'static str) -> Result<N, BadReply> {
        let text = std::str::from_utf8(self.bytes(wanted)?).ok();
        text.and_then(|text| text.parse().ok()).ok_or(self.bad(wanted))
    }

    /// Returns the value, once nothing is left.
    pub(in crate::broker::redis) fn end<T>(&self, value: T) -> Result<T, BadReply> {
        if self.is_empty() { Ok(value) } else { Err(self.bad("no further field")) }
    }
}

/// The outcome of a step towards an event of which one node tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It has not happened, or another node tells.
    No,
    /// It has happened: this node tells, or waits.
    Yes,
    /// It may happen later: the time is not over.
    TooEarly,
}

/// Reads the outcome of a step.
pub(in crate::broker::redis) fn outcome(script: &Script, reply: &Reply) -> Result<Outcome, BadReply> {
    match reply {
        Reply::Int(0) => Ok(Outcome::No),
        Reply::Int(1) => Ok(Outcome::Yes),
        Reply::Int(2) => Ok(Outcome::TooEarly),
        _ => Err(BadReply { script: script.name, wanted: "0, 1 or 2" }),
    }
}

/// Reads a reply that is 1 for yes and 0 for no.
pub(in crate::broker::redis) fn yes_or_no(script: &Script, reply: &Reply) -> Result<bool, BadReply> {
    match reply {
        Reply::Int(0) => Ok(false),
        Reply::Int(1) => Ok(true),
        _ => Err(BadReply { script: script.name, wanted: "0 or 1" }),
    }
}
