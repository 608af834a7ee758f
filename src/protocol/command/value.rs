//! Values of fields, of any type. Reading one never fails, so that an invalid field does not hide the others and the
//! reply can name the command's id.

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

use crate::protocol::event::CommandError;

/// The error of a command that repeats a field.
pub(super) const FIELD_TWICE: CommandError = CommandError::InvalidMessage("a field occurs twice");

/// The value of a field, as far as a command can use it.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
pub(super) enum Value<'a> {
    /// The object has no such field.
    #[default]
    Missing,
    Text(&'a str),
    /// A whole number of 0 to 2^64 - 1, written without sign, fraction or exponent.
    Number(u64),
    Flag(bool),
    Object,
    /// A value that no field accepts: `null`, an array, any other number, or a repeated field.
    Other,
}

impl<'a> Value<'a> {
    /// Sets the field's value and returns true. For a repeated field, sets [`Value::Other`] and returns false.
    pub(super) fn set_once(&mut self, value: Value<'a>) -> bool {
        let is_first = *self == Self::Missing;
        *self = if is_first { value } else { Self::Other };
        is_first
    }
}

/// The fields of a position, `{"epoch":…,"offset":…}`.
#[derive(Debug, Default)]
pub(super) struct Position<'a> {
    pub(super) epoch: Value<'a>,
    pub(super) offset: Value<'a>,
    /// Whether one of the fields was repeated.
    pub(super) has_twice: bool,
}

/// Reads a value. If it is an object and a position is given, the object's fields go there.
pub(super) struct ValueReader<'p, 'a>(pub(super) Option<&'p mut Position<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueReader(None))
    }
}

impl<'de> DeserializeSeed<'de> for ValueReader<'_, 'de> {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueReader<'_, 'de> {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(text))
    }
    // Never called: the parser passes borrowed text alone. Text that is not borrowed would not live long enough.
    fn visit_str<E>(self, _: &str) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }
    fn visit_bool<E>(self, is_set: bool) -> Result<Value<'de>, E> {
        Ok(Value::Flag(is_set))
    }
    // The parser passes negative numbers here, -0 among them.
    fn visit_i64<E>(self, _: i64) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }
    fn visit_u64<E>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number))
    }
    fn visit_f64<E>(self, _: f64) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }
    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }
    fn visit_none<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        let Some(position) = self.0 else {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Value::Object);
        };
        while let Some(name) = map.next_key::<&str>()? {
            let field = match name {
                "epoch" => &mut position.epoch,
                "offset" => &mut position.offset,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            position.has_twice |= !field.set_once(map.next_value()?);
        }
        Ok(Value::Object)
    }
}
