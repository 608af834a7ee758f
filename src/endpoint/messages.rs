//! `/ws/messages`: validated messages. Whatever fails is answered and ends the connection with 1007; what comes too
//! fast is answered alone.

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

/// Answers a message that came too fast, with the code that the connection will end with if more do.
pub(super) fn refuse(error: CommandError, peer: &Peer<'_>) {
    let code = EndReason::RateLimited.code();
    peer.reply(&event::json(&Failure { error: &error.to_string(), code }));
}

/// What is said of a message that is none.
const INVALID: &str = "Invalid message format";

pub(super) fn text(text: &mut [u8], peer: &mut Peer<'_>) -> Result<(), EndReason> {
    let max = peer.node.config.endpoints.max_message_chars;
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
                // Answers to commands of the chat. Named one by one, so that a new one is decided on.
                CommandError::UnknownType | CommandError::InvalidRoom | CommandError::NotInRoom => {
                    INVALID.into()
                }
                CommandError::AlreadyJoined | CommandError::TooManyRooms { .. } => INVALID.into(),
                CommandError::UserNotFound | CommandError::Forbidden(_) => INVALID.into(),
                CommandError::RateLimited { .. } => INVALID.into(),
                CommandError::Unavailable | CommandError::NoMoreRooms => INVALID.into(),
            };
            let end = EndReason::ValidationFailed(reason);
            peer.reply(&event::json(&Failure { error: &end.text(), code: end.code() }));
            Err(end)
        }
    }
}
