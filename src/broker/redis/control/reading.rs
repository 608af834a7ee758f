//! The words of a message between nodes, read: those behind its kind.

use bytes::Bytes;

use super::contents;
use super::message::{Answer, EndCause, Kind, MAX_CONNECTIONS, MAX_TEXT, Message, Order, Outcome, Request};
use super::parser::Words;
use crate::broker::redis::directory::connection_of_bits;
use crate::broker::redis::revocations;
use crate::names::{Offset, Position};

/// Reads a request. `carries` is true for [`CARRY`].
pub(super) fn request(kind: Kind, carries: bool, words: &mut Words<'_>, body: Bytes) -> Option<Message> {
    let (number, node) = (words.hex()?, words.name()?);
    let (by, target, until_ms) = (words.name()?, words.name()?, words.decimal()?);
    if !kind.has_text() && !body.is_empty() {
        return None;
    }
    let order = match kind {
        Kind::End => {
            let connection = connection_of_bits(words.hex()?);
            let cause = match words.word()? {
                "replaced" => EndCause::Replaced,
                "kicked" => EndCause::Kicked,
                _ => return None,
            };
            Order::End { connection, cause, user: words.name()? }
        }
        Kind::Probe => {
            let connection = connection_of_bits(words.hex()?);
            Order::Probe { connection, address: u32::try_from(words.decimal()?).ok()? }
        }
        Kind::Revoke => {
            let (kind, hash, before) = (words.word()?, words.word()?, words.word()?);
            let until_s = words.decimal()?.try_into().ok()?;
            Order::Revoke(revocations::of_words(kind, hash, before, until_s)?)
        }
        Kind::Direct => {
            let (epoch, offset) = (words.name()?, words.decimal()?);
            let (at_unix_ms, from) = (words.decimal()?, words.name()?);
            let to = words.list(MAX_CONNECTIONS)?.into_iter().map(connection_of_bits).collect();
            if body.len() > MAX_TEXT {
                return None;
            }
            let content = contents::parse(std::str::from_utf8(&body).ok()?, carries, words)?;
            Order::Direct { to, from, content, id: Position { epoch, offset: Offset(offset) }, at_unix_ms }
        }
        Kind::Ask => Order::Ask(whole(body, words.decimal()?)?),
    };
    Some(Message::Request(Request { number, node, by, target, until_ms, order }))
}

/// Returns a text that has the length that its message names: it is not UTF-8 necessarily, and must be complete.
fn whole(text: Bytes, len: u64) -> Option<Bytes> {
    (text.len() as u64 == len && text.len() <= MAX_TEXT).then_some(text)
}

/// Reads an answer.
pub(super) fn answer(kind: Kind, words: &mut Words<'_>, text: Bytes) -> Option<Message> {
    let number = words.hex()?;
    let (target, by) = (words.name()?, words.name()?);
    let outcome = match kind {
        Kind::Ask => {
            let outcome = Outcome::Told(whole(text, words.decimal()?)?);
            return Some(Message::Answer(Answer { number, target, by, outcome }));
        }
        Kind::End => Outcome::Ended { existed: words.yes_or_no()?, missing: words.decimal()? },
        Kind::Probe => Outcome::Alive(words.yes_or_no()?),
        Kind::Direct => Outcome::Delivered(u32::try_from(words.decimal()?).ok()?),
        Kind::Revoke => Outcome::Revoked(u32::try_from(words.decimal()?).ok()?),
    };
    text.is_empty().then_some(Message::Answer(Answer { number, target, by, outcome }))
}
