//! Judges positions by the earlier epochs of a room. A room whose server was replaced continues in a new epoch from the
//! last offset that survived, so a position of an earlier epoch is good up to that offset.

use super::super::script::Lives;
use super::super::script::sync::SyncReply;
use super::rule::{Rule, is_broken};
use crate::names::{Epoch, Offset, Position};

/// How a room on the server compares with the room on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    /// The epoch is the same, and nothing was lost.
    Same,
    /// The epoch is another one, and all that this node has was kept.
    Continued,
    /// This node has messages that are lost.
    Lost,
}

/// Returns the last offset of an earlier epoch that survived, or `None` for an epoch that is not known.
pub(super) fn survived(lives: &Lives, epoch: Epoch) -> Option<Offset> {
    let (_, last) = lives.0.iter().find(|(earlier, _)| *earlier == epoch)?;
    Some(if is_broken(Rule::DropLostTail) { Offset(u64::MAX) } else { *last })
}

/// Returns true when the server has the message at a position, or had it before it was trimmed.
pub(super) fn includes(reply: &SyncReply, epoch: Epoch, offset: Offset) -> bool {
    if epoch == reply.epoch {
        return offset <= reply.last;
    }
    survived(&reply.lives, epoch).is_some_and(|last| offset <= last)
}

/// Compares the room's position with the server's. `sent` is the room's last offset when the server was asked: what the
/// room has appended since then may be newer than the answer.
pub(super) fn compare(at: Position, lives: &Lives, sent: Offset, reply: &SyncReply) -> Comparison {
    if at.epoch == reply.epoch {
        let compared = if is_broken(Rule::CompareWithSent) { at.offset } else { sent };
        return if reply.last < compared { Comparison::Lost } else { Comparison::Same };
    }
    // An earlier epoch that got as far as the room is now had the same messages. The server may know that one only:
    // a replica that takes over may have missed an epoch.
    let earlier =
        lives.0.iter().filter(|(_, last)| at.offset <= *last && !is_broken(Rule::ComparePastEpochs));
    let mut epochs = std::iter::once(at.epoch).chain(earlier.map(|(epoch, _)| *epoch));
    let is_known = |epoch| survived(&reply.lives, epoch).is_some() && is_broken(Rule::AdoptOnlySurvivors);
    let is_kept = |epoch| includes(reply, epoch, at.offset) || is_known(epoch);
    // A room without messages has nothing to lose.
    if at.offset == Offset(0) || epochs.any(is_kept) { Comparison::Continued } else { Comparison::Lost }
}
