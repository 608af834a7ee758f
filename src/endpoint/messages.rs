//! `/ws/messages`: validated messages. Whatever fails is answered and ends the connection with 1007.

use std::borrow::Cow;

use serde::Serialize;

use super::Peer;
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
                _ => "Invalid message format".into(),
            };
            let end = EndReason::ValidationFailed(reason);
            peer.reply(&event::json(&Failure { error: &end.text(), code: end.code() }));
            Err(end)
        }
    }
}
