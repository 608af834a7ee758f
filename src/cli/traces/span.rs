//! A span, made of the fields of a line, and its form in OTLP's JSON.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Level, Metadata};

/// A line that becomes a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A WebSocket connection, or a stream of events, has ended.
    Connection,
    /// A call of the server API was answered.
    Call,
}

impl Kind {
    /// Returns the kind of a line with this metadata, if its module writes such lines.
    pub(super) fn of(metadata: &Metadata<'_>) -> Option<Self> {
        match metadata.target() {
            "throng::connection" => Some(Self::Connection),
            "throng::server::api" => Some(Self::Call),
            _ => None,
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::Connection => "connection ended",
            Self::Call => "api call",
        }
    }
}

/// The value of an attribute, as OTLP writes it in JSON: a whole number is text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) enum Value {
    #[serde(rename = "stringValue")]
    Text(String),
    #[serde(rename = "intValue")]
    Whole(String),
    #[serde(rename = "boolValue")]
    Truth(bool),
}

/// An attribute.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Attribute {
    pub(super) key: String,
    pub(super) value: Value,
}

/// A span.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Span {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    parent_span_id: String,
    name: String,
    /// 2: a server's.
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<Attribute>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip)]
    is_sampled_by_caller: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Status {
    /// 2: an error.
    code: u8,
    message: String,
}

impl Span {
    /// Returns true if the caller follows this trace, whatever share is kept of the others.
    pub(super) fn is_wanted_by_caller(&self) -> bool {
        self.is_sampled_by_caller
    }
}

/// Collects the fields of a line.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Recorder {
    fn push(&mut self, field: &Field, value: Value) {
        self.fields.push((field.name(), value));
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.fields.iter().find_map(|(field, value)| match value {
            Value::Text(text) if *field == name => Some(text.as_str()),
            _ => None,
        })
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.fields.iter().find_map(|(field, value)| match value {
            Value::Whole(number) if *field == name => number.parse().ok(),
            _ => None,
        })
    }

    /// Makes the span of a line that was written at `end`; `None` if it is another line of the same module.
    pub(super) fn finish(self, kind: Kind, level: Level, end: SystemTime) -> Option<Span> {
        if self.message != kind.message() {
            return None;
        }
        let took = match kind {
            Kind::Connection => Duration::from_millis(self.number("duration_ms")?),
            Kind::Call => Duration::from_micros(self.number("duration_us")?),
        };
        let (name, problem) = match kind {
            Kind::Connection => (
                format!("connection {}", self.text("endpoint").unwrap_or_default()),
                // A warning means that the server was at fault.
                (level <= Level::WARN).then(|| self.text("reason").unwrap_or_default().to_owned()),
            ),
            Kind::Call => (
                format!("api {}", self.text("method").unwrap_or_default()),
                self.text("outcome").filter(|outcome| *outcome != "ok").map(str::to_owned),
            ),
        };
        let caller = self.text("traceparent").and_then(Caller::parse);
        let Caller { trace_id, parent_span_id, is_sampled } = caller.unwrap_or_else(|| Caller {
            trace_id: format!("{:032x}", fastrand::u128(1..)),
            parent_span_id: String::new(),
            is_sampled: false,
        });
        let attributes = self
            .fields
            .into_iter()
            .filter(|(name, _)| !matches!(*name, "duration_ms" | "duration_us" | "traceparent"));
        Some(Span {
            trace_id,
            span_id: format!("{:016x}", fastrand::u64(1..)),
            parent_span_id,
            name,
            kind: 2,
            start_time_unix_nano: unix_nanos(end.checked_sub(took).unwrap_or(end)),
            end_time_unix_nano: unix_nanos(end),
            attributes: attributes
                .map(|(name, value)| Attribute { key: format!("throng.{name}"), value })
                .collect(),
            status: problem.map(|message| Status { code: 2, message }),
            is_sampled_by_caller: is_sampled,
        })
    }
}

fn unix_nanos(at: SystemTime) -> String {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

/// The trace that a call belongs to, by its header `traceparent` (W3C Trace Context, section 3.2).
struct Caller {
    trace_id: String,
    parent_span_id: String,
    is_sampled: bool,
}

impl Caller {
    /// Parses a header that the server has found to be right.
    fn parse(header: &str) -> Option<Self> {
        let mut parts = header.split('-').skip(1);
        let (trace_id, parent_span_id) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        let flags = u8::from_str_radix(parts.next()?, 16).ok()?;
        Some(Self { trace_id, parent_span_id, is_sampled: flags & 1 == 1 })
    }
}

impl Visit for Recorder {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, Value::Text(value.to_owned()));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, Value::Whole(value.to_string()));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, Value::Whole(value.to_string()));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, Value::Truth(value));
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.push(field, Value::Text(text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorder(message: &str, fields: &[(&'static str, Value)]) -> Recorder {
        Recorder { message: message.into(), fields: fields.to_vec() }
    }

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    #[test]
    fn a_connection_becomes_a_span_of_its_time() {
        let fields = [
            ("endpoint", text("chat")),
            ("reason", text("bad")),
            ("duration_ms", Value::Whole("1500".into())),
            ("messages", Value::Whole("7".into())),
        ];
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(10);
        let made = |level| recorder("connection ended", &fields).finish(Kind::Connection, level, end);
        let span = made(Level::DEBUG).unwrap();
        assert_eq!((span.name.as_str(), span.status.clone()), ("connection chat", None));
        assert_eq!(
            (span.start_time_unix_nano.as_str(), span.end_time_unix_nano.as_str()),
            ("8500000000", "10000000000")
        );
        assert_eq!((span.trace_id.len(), span.span_id.len(), span.parent_span_id.len()), (32, 16, 0));
        let messages = Attribute { key: "throng.messages".into(), value: Value::Whole("7".into()) };
        assert!(span.attributes.contains(&messages) && span.attributes.len() == 3, "{span:?}");
        assert_eq!(made(Level::WARN).unwrap().status, Some(Status { code: 2, message: "bad".into() }));
        assert_eq!(recorder("another line", &fields).finish(Kind::Connection, Level::DEBUG, end), None);
    }

    #[test]
    fn a_call_belongs_to_the_trace_of_its_caller() {
        let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let mut fields = vec![
            ("method", text("publish")),
            ("outcome", text("rate_limited")),
            ("duration_us", Value::Whole("20".into())),
            ("traceparent", text(traceparent)),
        ];
        let made = |fields: &[_]| {
            recorder("api call", fields).finish(Kind::Call, Level::INFO, SystemTime::now()).unwrap()
        };
        let span = made(&fields);
        assert_eq!(
            (span.trace_id.as_str(), span.parent_span_id.as_str(), span.name.as_str()),
            ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "api publish")
        );
        assert!(span.is_wanted_by_caller());
        assert_eq!(span.status, Some(Status { code: 2, message: "rate_limited".into() }));
        fields[3].1 = text(&traceparent.replace("-01", "-00"));
        assert!(!made(&fields).is_wanted_by_caller());
    }
}
