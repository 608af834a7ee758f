//! `/ws/messages`: validates messages. An invalid message is answered and ends the connection with 1007; one that
//! exceeds the rate limit is only answered.

use std::borrow::Cow;

use serde::Serialize;

use super::peer::Peer;
use crate::chat::validate;
use crate::protocol::close::EndReason;
use crate::protocol::event::{self, CommandError};

#[derive(Serialize)]
struct Success<'a> {
    status: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
struct Failure<'a> {
    error: &'a str,
    code: u16,
}

/// Answers a message that exceeded the rate limit, with the close code that repeating it leads to.
pub(super) fn refuse(error: CommandError, peer: &Peer<'_>) {
    let code = EndReason::RateLimited.code();
    peer.reply(&event::json(&Failure { error: &error.to_string(), code }));
}

/// The answer to a message that cannot be read as one.
const INVALID: &str = "Invalid message format";

pub(super) fn text(text: &mut [u8], peer: &mut Peer<'_>) -> Result<(), EndReason> {
    let max = peer.config().endpoints.max_message_chars;
    let checked = peer.parser.parse(text).and_then(|fields| validate::text(fields.message, max));
    match checked {
        Ok(message) => {
            let message = &format!("Received: {message}");
            peer.reply(&event::json(&Success { status: "success", message }));
            Ok(())
        }
        Err(error) => {
            let reason: Cow<'static, str> = match error {
                CommandError::MissingField(_) => "Missing 'message' field".into(),
                CommandError::MessageTooLong { max } => format!("Message too long (max {max} chars)").into(),
                CommandError::InvalidJson | CommandError::InvalidMessage(_) => INVALID.into(),
                // Answers to chat commands, which cannot come up here. Listed one by one, so that a new error has to be
                // decided on.
                CommandError::UnknownType | CommandError::InvalidRoom | CommandError::NotInRoom => {
                    INVALID.into()
                }
                CommandError::DataTooLong { .. } => INVALID.into(),
                CommandError::AlreadyJoined | CommandError::TooManyRooms { .. } => INVALID.into(),
                CommandError::UserNotFound | CommandError::Forbidden(_) => INVALID.into(),
                CommandError::RateLimited { .. } | CommandError::InvalidToken(_) => INVALID.into(),
                CommandError::Unavailable | CommandError::NoMoreRooms => INVALID.into(),
            };
            let end = EndReason::ValidationFailed(reason);
            peer.reply(&event::json(&Failure { error: &end.text(), code: end.code() }));
            Err(end)
        }
    }
}
