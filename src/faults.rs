//! Promises broken on purpose, so that it stays proved that the tests would notice. Only in builds with the feature
//! `fault-injection`, and there only the one that the environment names in `BREAK_THRONG`; nothing at all in a release.

/// A promise that can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `skip-offset`: every seventh message of a room reaches nobody (G2).
    SkipOffset,
    /// `drop-dedupe`: a message is appended again although its key is known (G4).
    DropDedupe,
    /// `ignore-epoch`: who comes from another life of a room is told that nothing is missing (G3).
    IgnoreEpoch,
    /// `forget-leave`: who leaves a room stays among its users.
    ForgetLeave,
    /// `forget-private-key`: a private message is handed over again although its key is known (G5).
    ForgetPrivateKey,
}

/// True when this one is to be broken.
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
        other => panic!("BREAK_THRONG={other} is no fault: see src/faults.rs"),
    });
    *on == Some(fault)
}

/// Never.
#[cfg(not(feature = "fault-injection"))]
#[must_use]
pub const fn is_on(_: Fault) -> bool {
    false
}
