//! Kinds of values: how a value is parsed from TOML or text, what is allowed, and how it is written back.
//!
//! This file has the trait and the kinds that are measured, counted or chosen; `text` and `list` have the others.

use std::net::SocketAddr;
use std::time::Duration;

use toml::Value;

use crate::names::units::{parse_duration, parse_size, show_duration, show_size};

use super::types::REDACTED;

/// A value as a layer gave it, not yet parsed.
#[derive(Clone, Copy)]
pub(super) enum Raw<'a> {
    /// A value of the file, which has a TOML type.
    Toml(&'a Value),
    /// A value of the environment or of a flag: text, whatever type the key has.
    Text(&'a str),
}

impl<'a> Raw<'a> {
    /// Returns the text, or the content of a TOML string; `None` for other TOML types.
    pub(super) fn text(self) -> Option<&'a str> {
        match self {
            Self::Toml(value) => value.as_str(),
            Self::Text(text) => Some(text),
        }
    }

    /// Returns the value as TOML for messages: on one line, cut after 80 characters.
    pub(super) fn shown(self) -> String {
        let text = match self {
            Self::Toml(value) => value.to_string(),
            Self::Text(text) => format!("{text:?}"),
        };
        let mut line: String = text.replace('\n', " ").chars().take(80).collect();
        if line.len() < text.len() {
            line.push('…');
        }
        line
    }
}

/// Why a value is not allowed.
pub(super) struct InvalidValue {
    /// The invalid part (`[0].pattern`); empty where it is the whole value.
    pub(super) part: String,
    /// The value as given, redacted where it is a secret; `None` where it must not be shown.
    pub(super) given: Option<String>,
    /// The problem, and what is allowed instead.
    pub(super) problem: String,
}

/// A kind of value: its parser, its writer and the sentence that says what is allowed.
pub(super) trait Kind {
    type Value;
    /// True where the value must never be shown.
    const SECRET: bool = false;

    /// Parses a value; `None` where it is not allowed, and [`Kind::explain`] says why.
    fn parse(&self, raw: Raw<'_>) -> Option<Self::Value>;
    /// Returns the value as TOML, secrets redacted; `None` where it is not set.
    fn show(&self, value: &Self::Value) -> Option<Value>;
    /// Returns what is allowed, as the end of a sentence that begins with "must be".
    fn allowed(&self) -> String;

    /// Says why [`Kind::parse`] refused the value.
    fn explain(&self, raw: Raw<'_>) -> Vec<InvalidValue> {
        let given = if Self::SECRET { REDACTED.to_owned() } else { raw.shown() };
        vec![InvalidValue {
            part: String::new(),
            given: Some(given),
            problem: format!("must be {}", self.allowed()),
        }]
    }
}

/// A whole number, at least the first field and at most the second.
pub(super) struct Count(pub(super) usize, pub(super) usize);

impl Kind for Count {
    type Value = usize;
    fn parse(&self, raw: Raw<'_>) -> Option<usize> {
        let number = match raw {
            Raw::Toml(value) => usize::try_from(value.as_integer()?).ok()?,
            Raw::Text(text) => text.trim().replace('_', "").parse().ok()?,
        };
        (self.0..=self.1).contains(&number).then_some(number)
    }
    fn show(&self, value: &usize) -> Option<Value> {
        i64::try_from(*value).ok().map(Value::Integer)
    }
    fn allowed(&self) -> String {
        format!("a whole number from {} to {}", self.0, self.1)
    }
}

/// A number of bytes, at least the first field and at most the second.
pub(super) struct Size(pub(super) usize, pub(super) usize);

impl Kind for Size {
    type Value = usize;
    fn parse(&self, raw: Raw<'_>) -> Option<usize> {
        let bytes = match raw {
            Raw::Toml(Value::Integer(number)) => usize::try_from(*number).ok()?,
            other => parse_size(other.text()?)?,
        };
        (self.0..=self.1).contains(&bytes).then_some(bytes)
    }
    fn show(&self, value: &usize) -> Option<Value> {
        let text = show_size(*value);
        Some(text.parse().map_or_else(|_| Value::String(text), Value::Integer))
    }
    fn allowed(&self) -> String {
        format!("a size from {} to {}, like \"64KiB\" or plain bytes", show_size(self.0), show_size(self.1))
    }
}

/// A number of bytes as in [`Size`], or 0, which has a special meaning.
pub(super) struct SizeOrZero(pub(super) usize, pub(super) usize);

impl Kind for SizeOrZero {
    type Value = usize;
    fn parse(&self, raw: Raw<'_>) -> Option<usize> {
        Size(0, 0).parse(raw).or_else(|| Size(self.0, self.1).parse(raw))
    }
    fn show(&self, value: &usize) -> Option<Value> {
        Size(0, 0).show(value)
    }
    fn allowed(&self) -> String {
        format!("0 or {}", Size(self.0, self.1).allowed())
    }
}

/// A duration of at least the first field and at most the second, in milliseconds.
pub(super) struct Time(pub(super) u64, pub(super) u64);

impl Kind for Time {
    type Value = Duration;
    fn parse(&self, raw: Raw<'_>) -> Option<Duration> {
        let duration = parse_duration(raw.text()?)?;
        (Duration::from_millis(self.0)..=Duration::from_millis(self.1))
            .contains(&duration)
            .then_some(duration)
    }
    fn show(&self, value: &Duration) -> Option<Value> {
        Some(Value::String(show_duration(*value)))
    }
    fn allowed(&self) -> String {
        let [from, to] = [self.0, self.1].map(|ms| show_duration(Duration::from_millis(ms)));
        format!("a duration with its unit from {from} to {to}, like \"25s\" or \"100ms\"")
    }
}

/// A boolean.
pub(super) struct Flag;

impl Kind for Flag {
    type Value = bool;
    fn parse(&self, raw: Raw<'_>) -> Option<bool> {
        match raw {
            Raw::Toml(value) => value.as_bool(),
            Raw::Text(text) => text.trim().parse().ok(),
        }
    }
    fn show(&self, value: &bool) -> Option<Value> {
        Some(Value::Boolean(*value))
    }
    fn allowed(&self) -> String {
        "true or false".into()
    }
}

/// A variant of `E` by its name; the field lists names and variants.
pub(super) struct Choice<E: 'static>(pub(super) &'static [(&'static str, E)]);

impl<E: Copy + PartialEq> Kind for Choice<E> {
    type Value = E;
    fn parse(&self, raw: Raw<'_>) -> Option<E> {
        let text = raw.text()?;
        self.0.iter().find(|(name, _)| *name == text).map(|(_, variant)| *variant)
    }
    fn show(&self, value: &E) -> Option<Value> {
        let (name, _) = self.0.iter().find(|(_, variant)| variant == value)?;
        Some(Value::String((*name).into()))
    }
    fn allowed(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(|(name, _)| *name).collect();
        format!("one of {}", names.join(", "))
    }
}

/// An IP address and port to listen on.
pub(super) struct ListenAddress;

impl Kind for ListenAddress {
    type Value = SocketAddr;
    fn parse(&self, raw: Raw<'_>) -> Option<SocketAddr> {
        raw.text()?.parse().ok()
    }
    fn show(&self, value: &SocketAddr) -> Option<Value> {
        Some(Value::String(value.to_string()))
    }
    fn allowed(&self) -> String {
        "an IP address and a port, like 127.0.0.1:8080, 0.0.0.0:80 or [::1]:0".into()
    }
}
