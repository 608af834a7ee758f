//! JSON objects of calls. Each field is taken once, with its type checked, and a field that is left is an error.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::error::ApiError;
use crate::protocol::command::Parser;
use crate::protocol::event::CommandError;

/// Most elements of a list.
pub(super) const MAX_ITEMS: usize = 1_000;
/// Most characters of an unknown field's name that the answer repeats.
const MAX_NAME: usize = 64;

/// A value of a field. Reading one never fails.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Flag(bool),
    Number(u64),
    List(Vec<Value<'a>>),
    Object(Object<'a>),
    /// A value that no field accepts: `null`, a negative number or a fraction, or a list of more than [`MAX_ITEMS`].
    /// Also that of `data`, which is passed on as it was written.
    Other,
}

/// The fields of a call, or of an object in it, that were not taken yet.
#[derive(Debug, Default)]
pub struct Object<'a> {
    fields: Vec<(&'a str, Value<'a>)>,
    has_twice: bool,
}

impl<'a> Object<'a> {
    /// Most fields that are kept. No call has as many, so one of those that are kept is unknown.
    pub const MAX_FIELDS: usize = 16;

    /// Parses the body of a call, which is overwritten.
    ///
    /// # Errors
    /// [`ApiError::InvalidJson`], or [`ApiError::InvalidField`] where it is no object.
    pub fn parse(body: &'a mut [u8]) -> Result<Self, ApiError> {
        Parser::default().object::<Self>(body).map_err(|error| match error {
            CommandError::InvalidJson => ApiError::InvalidJson,
            _ => ApiError::InvalidField("the body must be an object"),
        })
    }

    /// Adds a field of the path or the query, whose value is text.
    pub fn add(&mut self, name: &'a str, value: &'a str) {
        if self.fields.len() == Self::MAX_FIELDS {
            return;
        }
        self.has_twice |= self.fields.iter().any(|(known, _)| *known == name);
        self.fields.push((name, Value::Text(value)));
    }

    /// Takes a field.
    pub(super) fn take(&mut self, name: &str) -> Option<Value<'a>> {
        let at = self.fields.iter().position(|(known, _)| *known == name)?;
        Some(self.fields.swap_remove(at).1)
    }

    /// Takes a field that must be there.
    ///
    /// # Errors
    /// [`ApiError::MissingField`].
    pub(super) fn required(&mut self, name: &'static str) -> Result<Value<'a>, ApiError> {
        self.take(name).ok_or(ApiError::MissingField(name))
    }

    /// Takes the only field of an object that has just one.
    pub(super) fn only(mut self) -> Option<(&'a str, Value<'a>)> {
        if self.fields.len() == 1 && !self.has_twice { self.fields.pop() } else { None }
    }

    /// Checks that no field is left.
    ///
    /// # Errors
    /// [`ApiError::UnknownField`], or [`ApiError::InvalidField`] where a field occurs twice.
    pub(super) fn finish(self) -> Result<(), ApiError> {
        if self.has_twice {
            return Err(ApiError::InvalidField("a field occurs twice"));
        }
        match self.fields.first() {
            Some((name, _)) => {
                Err(ApiError::UnknownField(name.chars().take(MAX_NAME).collect::<String>().into()))
            }
            None => Ok(()),
        }
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match deserializer.deserialize_any(ValueVisitor)? {
            Value::Object(object) => object,
            _ => Self::default(),
        })
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
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
    fn visit_i64<E>(self, number: i64) -> Result<Value<'de>, E> {
        Ok(u64::try_from(number).map_or(Value::Other, Value::Number))
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
        let mut items = Vec::new();
        while items.len() < MAX_ITEMS {
            match seq.next_element()? {
                Some(item) => items.push(item),
                None => return Ok(Value::List(items)),
            }
        }
        let mut is_longer = false;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            is_longer = true;
        }
        Ok(if is_longer { Value::Other } else { Value::List(items) })
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        let mut object = Object::default();
        while let Some(name) = map.next_key::<&str>()? {
            if object.fields.len() == Object::MAX_FIELDS {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            object.has_twice |= object.fields.iter().any(|(known, _)| *known == name);
            // Data is passed on as it was written, so nothing is built of it.
            let value = if name == "data" {
                map.next_value::<IgnoredAny>().map(|_| Value::Other)
            } else {
                map.next_value()
            };
            object.fields.push((name, value?));
        }
        Ok(Value::Object(object))
    }
}
