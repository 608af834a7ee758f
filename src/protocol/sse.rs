//! Server-sent events (the HTML standard, section 9.2): the messages of a room for those who only read. Unlike frames
//! of a WebSocket they are text, one event behind the other, in the body of a response without an end.

use bytes::Bytes;
use memchr::memmem;

use super::close::EndReason;
use super::frame::{self, Frame};
use crate::names::{Position, RoomName};

/// A comment, which keeps the line alive and which clients ignore.
pub const COMMENT: &[u8] = b":\n\n";
/// Milliseconds after which a browser whose stream has ended comes back, unless the last event says otherwise.
const RETRY_MS: u64 = 2_000;
/// Bytes of an event around its payload, roughly.
const AROUND: usize = 64;

/// Encodes the head of the response. Pages of `origin` may read it; the caller has checked that they may.
#[must_use]
pub fn head(origin: Option<&str>) -> Vec<u8> {
    let cors = origin.map_or_else(String::new, |origin| {
        format!("access-control-allow-origin: {origin}\r\nvary: origin\r\n")
    });
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store, no-transform\r\n\
         x-accel-buffering: no\r\nx-content-type-options: nosniff\r\nconnection: close\r\n{cors}\r\n"
    )
    .into_bytes()
}

/// Encodes the first event, which says where in the room the messages behind it begin.
#[must_use]
pub fn welcome(room: &RoomName, at: Position, recovered: bool) -> Vec<u8> {
    let Position { epoch, offset } = at;
    format!(
        "retry: {RETRY_MS}\nid: {epoch}:{offset}\nevent: welcome\ndata: {{\"type\":\"welcome\",\"room\":\"{room}\",\
         \"epoch\":\"{epoch}\",\"offset\":{offset},\"recovered\":{recovered}}}\n\n"
    )
    .into_bytes()
}

/// Encodes a message from the frame that the other dialects get. The id is the position under which it was said.
#[must_use]
pub fn message(frame: &Frame) -> Bytes {
    let payload = frame::payload(frame);
    let mut out = Vec::with_capacity(payload.len() + AROUND);
    if let Some((epoch, offset)) = id_of(payload) {
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(epoch);
        out.push(b':');
        out.extend_from_slice(offset);
        out.push(b'\n');
    }
    out.extend_from_slice(b"data: ");
    let start = out.len();
    out.extend_from_slice(payload);
    // A line break would end the field. JSON has them only between its parts, where a blank means the same.
    let end = out.len();
    for at in memchr::memchr2_iter(b'\n', b'\r', payload) {
        out[(start + at).min(end - 1)] = b' ';
    }
    out.extend_from_slice(b"\n\n");
    out.into()
}

/// Returns the epoch and the offset in the `id` of a message, as they are written.
fn id_of(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    const FIELD: &[u8] = b",\"id\":\"";
    // The first occurrence is the field: in the text before it every quote is escaped, and the data is behind it.
    let id = &payload[memmem::find(payload, FIELD)? + FIELD.len()..];
    let id = &id[..memchr::memchr(b'"', id)?];
    let dash = memchr::memchr(b'-', id)?;
    Some((&id[..dash], &id[dash + 1..]))
}

/// Encodes the last event: why the stream ends, and when the client should come back. A browser comes back in any case;
/// where that is of no use, the answer to its request says so.
#[must_use]
pub fn farewell(reason: &EndReason, after_ms: u64) -> Bytes {
    let reconnect = reason.advice().reconnect;
    let retry = if reconnect { format!("retry: {}\n", after_ms.max(1)) } else { String::new() };
    // The reasons are constants without line breaks, quotes and backslashes, except those of the WebSocket protocol.
    let (code, text) = (reason.code(), reason.text());
    format!(
        "{retry}event: disconnect\ndata: {{\"type\":\"disconnect\",\"code\":{code},\"reason\":\"{text}\",\
         \"reconnect\":{reconnect},\"after_ms\":{after_ms}}}\n\n"
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{Epoch, Offset};
    use crate::protocol::event::{self, Content};

    #[test]
    fn a_message_is_one_event_on_two_lines() {
        let (user, room, epoch) = ("bob".parse().unwrap(), "lobby".parse().unwrap(), Epoch::random());
        let data = "{\r\n\"id\" : [1,\n\"\\n,\\\"id\\\":\\\"x-1\"] }";
        let content = Content { text: "hi,\"id\":\"x-2\"\n", data: Some(data), name: None };
        let frame = event::message(&user, content, &room, epoch, Offset(7), 12);
        let event = message(&frame);
        let text = std::str::from_utf8(&event).unwrap();
        let (head, rest) = text.split_once('\n').unwrap();
        assert_eq!(head, format!("id: {epoch}:7"));
        let json = rest.strip_prefix("data: ").unwrap().strip_suffix("\n\n").unwrap();
        assert!(!json.contains(['\n', '\r']), "{json}");
        let sent: serde_json::Value = serde_json::from_slice(frame::payload(&frame)).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(json).unwrap(), sent);
    }

    #[test]
    fn the_last_event_says_when_to_come_back() {
        let stop = farewell(&EndReason::TokenExpired, 7);
        assert!(stop.starts_with(b"retry: 7\nevent: disconnect\ndata: {"), "{stop:?}");
        assert!(farewell(&EndReason::RoomForbidden, 0).starts_with(b"event: disconnect\n"));
    }
}
