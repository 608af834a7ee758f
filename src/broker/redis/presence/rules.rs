//! The rules of the exchange that tests break on purpose, to prove that they would notice.

/// A rule of the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// The users of a node that is gone stay for a while.
    Hold,
    /// No users leave while the link is down and until the room was read.
    HoldThroughABreak,
    /// A hole in a node's numbers is read.
    ReadHoles,
    /// After a break of the link the room is read.
    ReadAfterABreak,
    /// Pushes that come while the room is read are applied after it.
    KeepWhileReading,
    /// A call whose answer is not known is repeated.
    Repeat,
    /// A difference is written only onto what it is a difference to.
    CheckTheBase,
    /// A node writes anew what the engine has lost.
    WriteAnew,
    /// An entry that is older than what was heard is ignored.
    KeepTheNewer,
    /// The users of dead nodes leave.
    SeeTheDead,
    /// The entries of dead nodes are removed.
    RemoveTheDead,
    /// A node that leaves the room removes its entry.
    Close,
    /// All nodes tell names, or none does.
    AgreeOnTheForm,
}

/// Returns true when this rule is broken.
#[cfg(test)]
pub(super) fn is_broken(rule: Rule) -> bool {
    tests::BROKEN.get() == Some(rule)
}

/// Returns false: only tests break rules.
#[cfg(not(test))]
pub(super) const fn is_broken(_: Rule) -> bool {
    false
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;

    use super::Rule;

    thread_local! {
        /// The rule that is broken on this thread.
        pub(in super::super) static BROKEN: Cell<Option<Rule>> = const { Cell::new(None) };
    }
}
