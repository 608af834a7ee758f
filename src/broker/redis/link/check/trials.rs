//! Calls that are tried, because a server's access control list may refuse them.

use bytes::Bytes;

use super::super::call::{Call, ServerError};
use super::{Report, error};
use crate::broker::redis::script::Script;

/// Lifetime of a key of the trials, in seconds and in milliseconds, should it not be deleted.
const LIFETIME_S: &str = "60";
const LIFETIME_MS: &str = "60000";

static TRIAL: Script = Script::new("trial", "return redis.call('INFO', 'replication')");

/// A call that a server must not refuse.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The command or script, as a message names it.
    pub name: &'static str,
    /// The call. Its keys are of no use to anything else.
    pub call: Call,
}

impl Trial {
    /// Judges an error. It is none when a server of a cluster is not responsible for the keys: the server has looked at
    /// its access control list first, and would have carried out the call.
    pub(super) fn judge(&self, error: &ServerError, report: &mut Report) {
        if !matches!(&*error.code, "MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN") {
            refused(self.name, error, report);
        }
    }
}

/// Adds the refusal of a command to a report.
pub(super) fn refused(name: &str, refusal: &ServerError, report: &mut Report) {
    let (advice, is_lasting) = match &*refusal.code {
        "OOM" => ("the server is at its maxmemory: give it more, or shorten history.ttl", false),
        "NOREPLICAS" => ("min-replicas-to-write is not met: start the replicas", false),
        "MISCONF" => ("the server cannot write its data: make room on its disk", false),
        "NOPERM" => ("allow it in the access control list of redis.username", true),
        "LOADING" | "BUSY" | "READONLY" | "MASTERDOWN" => ("", false),
        _ => ("", true),
    };
    report.add(error(format!("the server refuses {name} ({refusal})"), advice), is_lasting);
}

/// Returns trials of each command that the scripts of nodes use, and of running scripts. `scratch` is a key of no other
/// use, below the prefix of all keys; the trials leave nothing behind.
#[must_use]
pub fn trials(scratch: &str) -> Vec<Trial> {
    let key = |suffix: &str| format!("{scratch}:{suffix}");
    let (hash, stream) = (key("h"), key("s"));
    let command = |name: &'static str, args: &[&str]| {
        let words = std::iter::once(name).chain(args.iter().copied());
        Trial { name, call: Call::command(words.map(|word| Bytes::copy_from_slice(word.as_bytes()))) }
    };
    let script = Call::Script { script: &TRIAL, keys: vec![hash.clone().into()], args: Vec::new() };
    vec![
        Trial { name: "EVAL or EVALSHA", call: script },
        command("HSET", &[&hash, "field", "1"]),
        command("HGET", &[&hash, "field"]),
        command("HMGET", &[&hash, "field"]),
        command("HGETALL", &[&hash]),
        command("HDEL", &[&hash, "other"]),
        command("EXPIRE", &[&hash, LIFETIME_S]),
        command("PEXPIRE", &[&hash, LIFETIME_MS]),
        command("PTTL", &[&hash]),
        command("XADD", &[&stream, "MINID", "~", "1-0", "1-0", "field", "1"]),
        command("XRANGE", &[&stream, "-", "+", "COUNT", "1"]),
        command("XREVRANGE", &[&stream, "+", "-", "COUNT", "1"]),
        command("EXISTS", &[&hash]),
        command("SPUBLISH", &[scratch, "q1"]),
        command("DEL", &[&hash]),
        command("DEL", &[&stream]),
    ]
}
