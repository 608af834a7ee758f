//! A call to a server and its answer.

use bytes::Bytes;
use redis::{Cmd, Value};

use super::super::script::{self, Script};
pub(super) use super::super::script::{Reply, ServerError, brief};

/// Bytes that an argument takes besides its text: its length and line ends on the wire, and its handle in memory.
const ARGUMENT_BYTES: usize = 48;
/// Most calls of a link that wait for their answers. At 20 µs each the server needs 20 ms for them; more would wait in
/// the server as they do here.
pub(super) const MAX_CALLS: usize = 1_024;
/// Most bytes of calls of a link that wait for their answers: 8 KiB for each of [`MAX_CALLS`].
pub(super) const MAX_CALL_BYTES: usize = 8 * 1024 * 1024;

/// A request to a server.
#[derive(Debug, Clone)]
pub enum Call {
    /// To run a script: by its name, and by its text if the server does not know it yet.
    Script {
        /// The script.
        script: &'static Script,
        /// The keys that the script uses.
        keys: Vec<Bytes>,
        /// Its other arguments.
        args: Vec<Bytes>,
    },
    /// To carry out a command: its name and its arguments.
    Command(Vec<Bytes>),
}

impl Call {
    /// Builds the call of a command from its words.
    pub fn command<W: Into<Bytes>>(words: impl IntoIterator<Item = W>) -> Self {
        Self::Command(words.into_iter().map(Into::into).collect())
    }

    /// Returns roughly how many bytes the call takes on the wire or in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        let of = |words: &[Bytes]| words.iter().map(|word| word.len() + ARGUMENT_BYTES).sum::<usize>();
        match self {
            Self::Script { keys, args, .. } => of(keys) + of(args) + 2 * ARGUMENT_BYTES,
            Self::Command(words) => of(words),
        }
    }

    /// Returns the command of the first attempt, which names a script by its SHA-1.
    pub(super) fn request(&self) -> Cmd {
        match self {
            Self::Script { script, .. } => self.run("EVALSHA", script.sha()),
            Self::Command(words) => {
                let mut command = Cmd::with_capacity(words.len(), self.size());
                words.iter().for_each(|word| _ = command.arg(&word[..]));
                command
            }
        }
    }

    /// Returns the command for a server that does not know the script. None for a call without a script.
    pub(super) fn request_with_text(&self) -> Option<Cmd> {
        match self {
            Self::Script { script, .. } => Some(self.run("EVAL", script.text)),
            Self::Command(_) => None,
        }
    }

    fn run(&self, command_name: &str, script: &str) -> Cmd {
        let Self::Script { keys, args, .. } = self else { return Cmd::new() };
        let mut command = Cmd::with_capacity(3 + keys.len() + args.len(), self.size() + script.len());
        command.arg(command_name).arg(script).arg(keys.len());
        keys.iter().chain(args).for_each(|word| _ = command.arg(&word[..]));
        command
    }
}

impl From<Value> for Reply {
    fn from(value: Value) -> Self {
        let all = |values: Vec<Value>| values.into_iter().map(Self::from).collect();
        match value {
            Value::Nil => Self::Nil,
            Value::Int(number) => Self::Int(number),
            Value::Boolean(is_true) => Self::Int(is_true.into()),
            Value::BulkString(bytes) | Value::BigNumber(bytes) => Self::Bytes(bytes.into()),
            Value::SimpleString(text) | Value::VerbatimString { text, .. } => Self::Bytes(text.into()),
            Value::Okay => Self::Bytes(Bytes::from_static(b"OK")),
            Value::Double(number) => Self::Bytes(number.to_string().into()),
            Value::Array(values) | Value::Set(values) | Value::Push { data: values, .. } => {
                Self::Array(all(values))
            }
            Value::Map(pairs) => {
                Self::Map(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
            }
            Value::Attribute { data, .. } => Self::from(*data),
            Value::ServerError(error) => Self::Error(ServerError::from(&error)),
            // The crate may come to know more kinds of values; no command or script here returns any.
            _ => Self::Nil,
        }
    }
}

impl From<script::Call> for Call {
    fn from(call: script::Call) -> Self {
        let script::Call { script, keys, args } = call;
        Self::Script { script, keys: keys.into_vec(), args }
    }
}

impl From<&redis::ServerError> for ServerError {
    fn from(error: &redis::ServerError) -> Self {
        Self::new(error.code(), error.details().unwrap_or_default())
    }
}

/// Why a call has no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Too many calls, or bytes of them, wait for their answers. Certainly not carried out.
    #[error("too many calls wait for the answers of the server")]
    Full,
    /// The link is down. Certainly not carried out.
    #[error("there is no connection to the server")]
    NotSent,
    /// The link broke, or the deadline passed, before the answer: the call may have been carried out or not.
    #[error("the answer of the server is lost")]
    Lost,
    /// The server's answer is an error.
    #[error("the server answers {0}")]
    Server(#[from] ServerError),
}
