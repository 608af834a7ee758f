//! The report of broken promises: which, where, and the two texts that prove each.

use std::fmt;

/// Most violations that are kept: the first ones show the cause.
const MAX_KEPT: usize = 100;

/// A promise of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Guarantee {
    /// G1: one message per room, epoch and offset.
    Order,
    /// G2: the next offset, or a `gap` that names the missing ones.
    NoSilentGap,
    /// G3: exactly the missed messages, or a new position.
    Resume,
    /// G4: an acknowledged message is appended once; a refused one is not.
    Ack,
    /// G5: at most once live, exactly once after dropping duplicates.
    Delivery,
    /// A user comes once and leaves with the last connection.
    Presence,
    /// The form: `welcome` first, answers only to commands, `disconnect` last.
    Protocol,
}

/// One broken promise.
#[derive(Debug, Clone)]
pub(crate) struct Violation {
    pub(crate) guarantee: Guarantee,
    pub(crate) client: String,
    pub(crate) room: String,
    pub(crate) offset: Option<u64>,
    pub(crate) what: String,
    /// The text known before: one seen by another client, the last one seen by this client, or the command.
    pub(crate) before: String,
    /// The text that contradicts it.
    pub(crate) now: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { guarantee, client, room, offset, what, before, now } = self;
        let offset = offset.map_or("-".to_owned(), |offset| offset.to_string());
        write!(f, "{guarantee:?}: client {client}, room {room:?}, offset {offset}: {what}")?;
        write!(f, "\n    before: {before}\n    now:    {now}")
    }
}

/// All broken promises of a test.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) violations: Vec<Violation>,
    /// Number of violations, with those that were not kept.
    pub(crate) count: usize,
}

impl Report {
    /// Adds a violation.
    pub(crate) fn add(&mut self, violation: Violation) {
        self.count += 1;
        if self.violations.len() < MAX_KEPT {
            self.violations.push(violation);
        }
    }

    /// True when this promise was broken.
    pub(crate) fn breaks(&self, guarantee: Guarantee) -> bool {
        self.violations.iter().any(|violation| violation.guarantee == guarantee)
    }

    /// Panics with the report unless it is empty.
    #[track_caller]
    pub(crate) fn expect_clean(&self) {
        assert!(self.count == 0, "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} violations", self.count)?;
        self.violations.iter().take(20).try_for_each(|violation| write!(f, "\n  {violation}"))
    }
}
