//! Breaks a rule on purpose, to prove that the model notices.

/// A rule of the state machine that tests can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// A repeated call has the number of the first attempt.
    RepeatSameNumber,
    /// A batch of another epoch is not appended.
    CompareEpochs,
    /// A batch that is ahead of the room is held.
    HoldAhead,
    /// A batch that is ahead of the room does not move it.
    FillBeforeAppend,
    /// A page that stops short of the goal is followed by another one.
    FillToGoal,
    /// Only a room whose last message survived goes on in the new epoch.
    AdoptOnlySurvivors,
    /// The survivors of an earlier epoch end at its last offset that survived.
    DropLostTail,
    /// A batch that was seen is dropped.
    DropSeen,
    /// A sync is compared with the position at which it was sent.
    CompareWithSent,
    /// A position counts in each earlier epoch that got as far.
    ComparePastEpochs,
    /// Answers to calls that were given up are ignored.
    IgnoreOldAnswers,
    /// A broken link is followed by a sync.
    SyncAfterSubscribing,
    /// An error does not decide about a call that may have been carried out.
    ErrorsLeaveUnknown,
    /// A lost answer leaves a call to be repeated.
    RepeatLostCalls,
    /// Dropping what was held is followed by a sync.
    SyncAfterDropping,
    /// Held batches that a sync shows to be lost are dropped.
    PruneHeld,
    /// The duplicates of a call are not among its own messages.
    RemoveDuplicates,
    /// The answer to a call ends with the batch that it speaks of, not with one of an earlier attempt.
    CompareBatchWithAnswer,
    /// A batch that lacks messages of its call waits for the answer.
    WaitForAnswer,
    /// Messages of a call are answered when the room begins anew.
    AnswerAtAnew,
    /// A room with calls under way is not closed.
    CloseAfterCalls,
    /// A gap is reported.
    ReportGap,
    /// An empty page is confirmed by a sync before messages are given up.
    ConfirmEmptyPage,
    /// Positions are compared from time to time.
    CheckPosition,
    /// A call whose messages were lost with a tail is repeated.
    RepeatLostTail,
    /// Messages that a gap covers are answered.
    AnswerAtGap,
    /// A duplicate is answered when the room has come to its position.
    PassBeforeDuplicate,
    /// Messages that were not sent keep their place in the queue.
    RequeueUnsent,
    /// Messages that wait too long are refused.
    RefuseAfterPatience,
    /// An unasked end of the subscription is followed by a new one.
    SubscribeAgain,
    /// An opening that takes too long ends.
    OpeningDeadline,
    /// An acknowledged batch that does not come is asked for.
    AskForOwnBatch,
}

#[cfg(test)]
impl Rule {
    /// All rules.
    pub(super) const ALL: &[Self] = &[
        Self::RepeatSameNumber,
        Self::CompareEpochs,
        Self::HoldAhead,
        Self::FillBeforeAppend,
        Self::FillToGoal,
        Self::AdoptOnlySurvivors,
        Self::DropLostTail,
        Self::DropSeen,
        Self::CompareWithSent,
        Self::ComparePastEpochs,
        Self::IgnoreOldAnswers,
        Self::SyncAfterSubscribing,
        Self::ErrorsLeaveUnknown,
        Self::RepeatLostCalls,
        Self::SyncAfterDropping,
        Self::PruneHeld,
        Self::RemoveDuplicates,
        Self::CompareBatchWithAnswer,
        Self::WaitForAnswer,
        Self::AnswerAtAnew,
        Self::CloseAfterCalls,
        Self::ReportGap,
        Self::ConfirmEmptyPage,
        Self::CheckPosition,
        Self::RepeatLostTail,
        Self::AnswerAtGap,
        Self::PassBeforeDuplicate,
        Self::RequeueUnsent,
        Self::RefuseAfterPatience,
        Self::SubscribeAgain,
        Self::OpeningDeadline,
        Self::AskForOwnBatch,
    ];
}

#[cfg(test)]
thread_local! {
    static BROKEN: std::cell::Cell<Option<Rule>> = const { std::cell::Cell::new(None) };
}

/// Breaks a rule on this thread, or none.
#[cfg(test)]
pub(super) fn break_rule(rule: Option<Rule>) {
    BROKEN.set(rule);
}

/// Returns true when a test has broken the rule.
#[cfg(test)]
pub(super) fn is_broken(rule: Rule) -> bool {
    BROKEN.get() == Some(rule)
}

/// Returns false: only tests break rules.
#[cfg(not(test))]
pub(super) const fn is_broken(_: Rule) -> bool {
    false
}
