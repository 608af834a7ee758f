//! The words of the shared table of cases: its values, and events and errors as it names them.

use serde_json::{Value, json};

use crate::error::SendError;
use crate::event::{Ended, Event, State};

/// Returns an event as the table names it. `resumed` tells what became of the missed messages of a room.
pub(super) fn as_json(event: Event) -> Value {
    match event {
        Event::State(state) => state_as_json(state),
        Event::Message { room, user, text, offset, .. } => {
            json!({"type": "message", "room": room.as_str(), "user": user.as_str(), "message": text, "offset": offset})
        }
        Event::Direct { user, text, .. } => json!({"type": "direct", "user": user.as_str(), "message": text}),
        Event::Recovered { room, messages } => {
            json!({"type": "resumed", "room": room.as_str(), "recovered": true, "missed": messages})
        }
        Event::Missed { room, messages } => {
            json!({"type": "resumed", "room": room.as_str(), "recovered": messages == Some(0), "missed": messages})
        }
        Event::Gap { room, from, to } => {
            json!({"type": "gap", "room": room.as_str(), "from": from, "to": to})
        }
        Event::Typing { room, user } => {
            json!({"type": "typing", "room": room.as_str(), "user": user.as_str()})
        }
        Event::PresenceDiff { room, joined, left, members } => {
            let [joined, left] =
                [joined, left].map(|users| users.iter().map(ToString::to_string).collect::<Vec<_>>());
            json!({"type": "presence_diff", "room": room.as_str(), "joined": joined, "left": left, "members": members})
        }
        Event::Limited { retry_after } => {
            json!({"type": "limited", "retry_after_ms": retry_after.as_millis() as u64})
        }
        Event::Refused { code, .. } => json!({"type": "error", "code": code}),
        Event::Expelled { room, code, .. } => json!({"type": "error", "room": room.as_str(), "code": code}),
        Event::Welcome { room, .. } => json!({"type": "joined", "room": room.as_str()}),
    }
}

fn state_as_json(state: State) -> Value {
    // A connection that ends without a close frame has the code 1006 in the other clients.
    let ended = |Ended { code, reason }| (code.unwrap_or(1006), reason);
    match state {
        State::Connecting { .. } => json!({"type": "state", "name": "connecting"}),
        State::Online => json!({"type": "state", "name": "online"}),
        State::Waiting { delay, reason, .. } => {
            let (code, reason) = ended(reason);
            let ms = delay.as_secs_f64() * 1_000.0;
            let delay_ms = if ms.fract() == 0.0 { json!(ms as u64) } else { json!(ms) };
            json!({"type": "state", "name": "waiting", "delay_ms": delay_ms, "code": code, "reason": reason})
        }
        State::Stopped { reason } => {
            let (code, reason) = ended(reason);
            json!({"type": "state", "name": "stopped", "code": code, "reason": reason})
        }
    }
}

/// Returns the code of an error as the table names it.
pub(super) fn code_of(error: &SendError) -> String {
    match error {
        SendError::Refused { code, .. } => code,
        SendError::QueueFull => "queue_full",
        SendError::TooLong { .. } => "message_too_long",
        SendError::BadData(_) => "invalid_argument",
        SendError::BadName(_) => "invalid_room",
        SendError::Disconnected => "disconnected",
        SendError::UnknownOutcome => "unknown_outcome",
        SendError::Unread => "unread",
        SendError::Stopped(_) => "stopped",
    }
    .to_owned()
}

/// Returns a whole number of the table.
pub(super) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Returns an object with the fields of both; those of `over` win.
pub(super) fn merged(object: &Value, over: &Value) -> Value {
    let mut merged = object.clone();
    if let (Some(fields), Some(over)) = (merged.as_object_mut(), over.as_object()) {
        fields.extend(over.clone());
    }
    merged
}

/// Puts a value of `for` in the place of `$for`.
pub(super) fn filled(steps: &Value, value: &Value) -> Vec<Value> {
    let text = steps.to_string().replace("\"$for\"", &value.to_string());
    serde_json::from_str(&text).expect("steps")
}
