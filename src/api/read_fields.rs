//! The fields of calls that change nothing, checked. In a query every value is text.

use super::call::Read;
use super::error::ApiError;
use super::fields::{Fields, room_name, user_id};
use super::object::Value;
use crate::node::survey::MAX_ROWS;
use crate::protocol::command::MAX_HISTORY_LIMIT;

/// Rows of a page when the call does not say.
const DEFAULT_ROWS: usize = 100;
/// Most characters of a pattern.
const MAX_PATTERN: usize = 64;

impl Fields<'_, '_> {
    pub(super) fn rooms(mut self) -> Result<Read, ApiError> {
        let pattern = match self.object.take("pattern") {
            None => None,
            Some(Value::Text(pattern)) if pattern.len() <= MAX_PATTERN => Some(pattern.to_owned()),
            Some(_) => {
                return Err(ApiError::InvalidField("'pattern' must be a string of at most 64 characters"));
            }
        };
        let after = self.object.take("after").map(|after| room_name(&after)).transpose()?;
        let limit = self.rows()?;
        self.finish_without_key()?;
        Ok(Read::Rooms { pattern, after, limit })
    }

    pub(super) fn room(mut self) -> Result<Read, ApiError> {
        let room = self.object.required("room")?;
        self.finish_without_key()?;
        Ok(Read::Room(room_name(&room)?))
    }

    pub(super) fn presence(mut self) -> Result<Read, ApiError> {
        let room = room_name(&self.object.required("room")?)?;
        let after = self.object.take("after").map(|after| user_id(&after)).transpose()?;
        let limit = self.rows()?;
        self.finish_without_key()?;
        Ok(Read::Presence { room, after, limit })
    }

    pub(super) fn history(mut self) -> Result<Read, ApiError> {
        let room = room_name(&self.object.required("room")?)?;
        let epoch = match self.object.take("epoch") {
            None => None,
            Some(Value::Text(epoch)) => Some(epoch.to_owned()),
            Some(_) => return Err(ApiError::InvalidField("'epoch' must be a string")),
        };
        let before = self.object.take("before").map(|before| number(&before)).transpose();
        let before = before.map_err(|NotANumber| ApiError::InvalidField("'before' must be an offset"))?;
        let most = MAX_HISTORY_LIMIT as usize;
        let limit = self.limit(most, most, "'limit' must be a number from 1 to 100")?;
        self.finish_without_key()?;
        Ok(Read::History { room, epoch, before, limit })
    }

    pub(super) fn users(mut self) -> Result<Read, ApiError> {
        let after = self.object.take("after").map(|after| user_id(&after)).transpose()?;
        let limit = self.rows()?;
        self.finish_without_key()?;
        Ok(Read::Users { after, limit })
    }

    pub(super) fn user(mut self) -> Result<Read, ApiError> {
        let user = self.object.required("user")?;
        self.finish_without_key()?;
        Ok(Read::User(user_id(&user)?))
    }

    pub(super) fn info(self) -> Result<Read, ApiError> {
        self.finish_without_key()?;
        Ok(Read::Info)
    }

    pub(super) fn slow(mut self) -> Result<Read, ApiError> {
        let limit = self.limit(10, 100, "'limit' must be a number from 1 to 100")?;
        self.finish_without_key()?;
        Ok(Read::Slow { limit })
    }

    /// Takes the number of rows of a page.
    fn rows(&mut self) -> Result<usize, ApiError> {
        self.limit(DEFAULT_ROWS, MAX_ROWS, "'limit' must be a number from 1 to 1000")
    }

    fn limit(&mut self, default: usize, most: usize, wrong: &'static str) -> Result<usize, ApiError> {
        let Some(limit) = self.object.take("limit") else { return Ok(default) };
        let limit = number(&limit).ok().and_then(|limit| usize::try_from(limit).ok());
        limit.filter(|limit| (1..=most).contains(limit)).ok_or(ApiError::InvalidField(wrong))
    }
}

/// The value is no number.
struct NotANumber;

fn number(value: &Value<'_>) -> Result<u64, NotANumber> {
    match value {
        Value::Number(number) => Ok(*number),
        Value::Text(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().map_err(|_| NotANumber)
        }
        _ => Err(NotANumber),
    }
}
