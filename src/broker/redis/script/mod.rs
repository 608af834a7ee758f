//! The scripts that run on the server, and the typed form of their calls and replies.
//!
//! A script is one atomic step: what it writes reaches replicas and the append-only file together, or not at all. It is
//! named by its text, so nodes of two versions can use the same server.

pub mod erase;
pub mod forget;
pub mod page;
pub mod publish;
mod reply;
pub mod sync;
#[cfg(test)]
mod tests;

use std::fmt::{self, Write as _};
use std::sync::OnceLock;

use bytes::Bytes;
use sha1::{Digest, Sha1};
use smallvec::SmallVec;

pub use self::publish::PublishReply;
pub use self::sync::SyncReply;
pub use reply::{BadReply, Lives, Reply, ServerError, brief};

/// A script in Lua.
pub struct Script {
    /// The name, for logs.
    pub name: &'static str,
    /// The text.
    pub text: &'static str,
    sha: OnceLock<String>,
}

impl Script {
    /// Creates a script from its text.
    #[must_use]
    pub const fn new(name: &'static str, text: &'static str) -> Self {
        Self { name, text, sha: OnceLock::new() }
    }

    /// Returns the SHA-1 of the text in hexadecimal digits, by which `EVALSHA` names the script.
    pub fn sha(&self) -> &str {
        self.sha.get_or_init(|| {
            let mut digits = String::with_capacity(40);
            for byte in Sha1::digest(self.text) {
                let _ = write!(digits, "{byte:02x}"); // Writing to a string cannot fail.
            }
            digits
        })
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Script({})", self.name)
    }
}

/// A call of a script: `EVALSHA sha number-of-keys key… argument…`.
#[derive(Clone, Debug)]
pub struct Call {
    /// The script.
    pub script: &'static Script,
    /// The keys, all in one slot. There is at least one.
    pub keys: SmallVec<[Bytes; 3]>,
    /// The arguments.
    pub args: Vec<Bytes>,
}

impl Call {
    /// Returns how many bytes the keys and arguments have.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.keys.iter().chain(&self.args).map(Bytes::len).sum()
    }
}

/// Returns a number as an argument.
fn number(number: u64) -> Bytes {
    Bytes::from(number.to_string())
}
