//! The commands of a batch, each of which is checked when its turn comes.

use std::sync::Arc;
use std::vec;

use super::call::{Call, Command};
use super::error::ApiError;
use super::fields::Fields;
use super::object::{MAX_ITEMS, Value};
use crate::config::Config;

const COMMANDS: &str = "'commands' must be a list of 1 to 1000 objects, each with one field: publish, direct, \
                        disconnect or leave";

/// The commands of a batch in their order, or what is wrong with them. Each is checked when it is taken, so that a long
/// batch is checked in slices.
#[derive(Debug)]
pub struct Commands<'a> {
    commands: vec::IntoIter<Value<'a>>,
    /// The fields `data` of the first commands.
    written: vec::IntoIter<Option<Arc<str>>>,
    config: &'a Config,
}

impl<'a> Iterator for Commands<'a> {
    type Item = Result<Command<'a>, ApiError>;

    fn next(&mut self) -> Option<Self::Item> {
        let command = self.commands.next()?;
        Some(command_of(command, self.written.next().flatten(), self.config))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.commands.size_hint()
    }
}

impl ExactSizeIterator for Commands<'_> {}

impl<'a> Fields<'_, 'a> {
    pub(super) fn batch(self, written: Vec<Option<Arc<str>>>) -> Result<Call<'a>, ApiError> {
        let Self { mut object, key, config, .. } = self;
        let commands = object.required("commands")?;
        let is_parallel = match object.take("parallel") {
            None => false,
            Some(Value::Flag(is_parallel)) => is_parallel,
            Some(_) => return Err(ApiError::InvalidField("'parallel' must be true or false")),
        };
        object.finish()?;
        if key.is_some() {
            return Err(ApiError::InvalidField(
                "a batch has no key of its own: give each of its messages a 'key'",
            ));
        }
        match commands {
            Value::List(commands) if !commands.is_empty() => {
                debug_assert!(commands.len() <= MAX_ITEMS, "a longer list is no list");
                let (commands, written) = (commands.into_iter(), written.into_iter());
                Ok(Call::Batch { commands: Commands { commands, written, config }, is_parallel })
            }
            _ => Err(ApiError::InvalidField(COMMANDS)),
        }
    }
}

fn command_of<'a>(
    command: Value<'a>,
    data: Option<Arc<str>>,
    config: &'a Config,
) -> Result<Command<'a>, ApiError> {
    let Value::Object(command) = command else { return Err(ApiError::InvalidField(COMMANDS)) };
    let Some((name, Value::Object(object))) = command.only() else {
        return Err(ApiError::InvalidField(COMMANDS));
    };
    let fields = Fields { object, data, key: None, config };
    match name {
        "publish" => fields.publish().map(Command::Publish),
        "disconnect" => fields.disconnect().map(Command::Disconnect),
        "leave" => fields.leave().map(Command::Leave),
        "direct" => match fields.direct()? {
            Call::Direct(direct) => Ok(Command::Direct(direct)),
            _ => Err(ApiError::InvalidField("'to' must be a string in a batch")),
        },
        _ => Err(ApiError::InvalidField(COMMANDS)),
    }
}
