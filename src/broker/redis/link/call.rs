//! A call to a server and its answer.

use bytes::{Bytes, BytesMut};

use super::super::script::{self, Script};
pub(super) use super::super::script::{Reply, ServerError, brief};
use super::wire;

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

    /// Appends the command: one that names a script by its SHA-1, or one with its text, for a server that does not know
    /// it.
    pub(super) fn encode(&self, out: &mut BytesMut, with_text: bool) {
        match self {
            Self::Script { script, keys, args } => {
                let (command, name) =
                    if with_text { ("EVAL", script.text) } else { ("EVALSHA", script.sha()) };
                let key_count = keys.len().to_string();
                let head = [command, name, &key_count].map(str::as_bytes);
                let rest = keys.iter().chain(args).map(|word| &word[..]);
                wire::command(out, head.into_iter().chain(rest));
            }
            Self::Command(words) => wire::command(out, words.iter().map(|word| &word[..])),
        }
    }

    /// Returns true when the server does not know the script, so that its text has to be sent.
    pub(super) fn is_unknown(&self, error: &ServerError) -> bool {
        matches!(self, Self::Script { .. }) && error.code == "NOSCRIPT"
    }
}

impl From<script::Call> for Call {
    fn from(call: script::Call) -> Self {
        let script::Call { script, keys, args } = call;
        Self::Script { script, keys: keys.into_vec(), args }
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
