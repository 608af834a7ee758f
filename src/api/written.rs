//! The fields of a call that are passed on as they were written. Parsing overwrites them, so they are found before it.

use std::sync::Arc;

use super::method::Method;
use super::object::MAX_ITEMS;
use crate::protocol::command::raw;

/// The fields `data` of a call as they were written.
#[derive(Debug, Default)]
pub struct Written {
    /// That of the call.
    pub(super) data: Option<Arc<str>>,
    /// Those of the commands of a batch, in their order; none of them where none has one.
    pub(super) of_commands: Vec<Option<Arc<str>>>,
}

impl Written {
    /// Finds the fields in a body that is not parsed yet.
    #[must_use]
    pub fn find(method: Method, body: &[u8]) -> Self {
        if !raw::may_have_data(body) {
            return Self::default();
        }
        let data = |object| Some(Arc::from(std::str::from_utf8(raw::field(object, "data")?).ok()?));
        if method != Method::Batch {
            return Self { data: data(body), of_commands: Vec::new() };
        }
        let commands = raw::elements(raw::field(body, "commands").unwrap_or_default()).take(MAX_ITEMS);
        let of_command = |command| raw::members(command).next().and_then(|(_, object)| data(object));
        Self { data: None, of_commands: commands.map(of_command).collect() }
    }
}
