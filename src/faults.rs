//! Fault injection: breaks one guarantee on purpose, to prove that the tests notice. It is compiled only with the
//! feature `fault-injection`, and active only for the fault that the environment variable `BREAK_THRONG` names.

/// A guarantee that can be broken. G2 to G5 are those that the checker of the tests verifies
/// (tests/it/support/checker).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `skip-offset`: every seventh message of a room is delivered to no one (G2).
    SkipOffset,
    /// `drop-dedupe`: a message is appended although its idempotency key is known (G4).
    DropDedupe,
    /// `ignore-epoch`: a client that resumes with another epoch of a room is told that it missed nothing (G3).
    IgnoreEpoch,
    /// `forget-leave`: a user who leaves a room stays in its presence list.
    ForgetLeave,
    /// `forget-private-key`: a private message is delivered again although its idempotency key is known (G5).
    ForgetPrivateKey,
}

/// Returns true when `BREAK_THRONG` names this fault.
///
/// # Panics
/// If `BREAK_THRONG` names no fault.
#[cfg(feature = "fault-injection")]
pub fn is_on(fault: Fault) -> bool {
    use std::sync::OnceLock;

    static ON: OnceLock<Option<Fault>> = OnceLock::new();
    let on = ON.get_or_init(|| match std::env::var("BREAK_THRONG").ok()?.as_str() {
        "skip-offset" => Some(Fault::SkipOffset),
        "drop-dedupe" => Some(Fault::DropDedupe),
        "ignore-epoch" => Some(Fault::IgnoreEpoch),
        "forget-leave" => Some(Fault::ForgetLeave),
        "forget-private-key" => Some(Fault::ForgetPrivateKey),
        other => panic!("BREAK_THRONG={other} names no fault, the names are in src/faults.rs"),
    });
    *on == Some(fault)
}

/// Returns false: this build has no fault injection.
#[cfg(not(feature = "fault-injection"))]
#[must_use]
pub const fn is_on(_: Fault) -> bool {
    false
}
