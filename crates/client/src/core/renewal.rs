//! Another token before the present one expires, so that the connection goes on.

use std::time::Duration;

use tokio::time::Instant;

use super::Core;
use crate::command::CommandFrame;
use crate::pending::PendingCommand;

/// Parts of the time that is left after which a token is renewed, at random: so not all clients that came together ask
/// for new tokens together.
const SHARE: std::ops::RangeInclusive<f64> = 0.75..=0.9;
/// If less is left of a token, it is not renewed: the next connection brings another.
const LEAST: Duration = Duration::from_secs(1);
/// Longest time until a token is renewed. No clock can count for ever.
const MOST: Duration = Duration::from_secs(86_400);

/// When the present token is renewed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Renewal {
    /// When the next attempt is due; `None` while one is under way.
    pub(super) due: Option<Instant>,
    /// When the token expires.
    expires: Instant,
}

impl Core {
    /// Plans to renew a token that holds for `left` from now on.
    pub(super) fn plan_renewal(&mut self, left: Duration, now: Instant) {
        self.renewal = None;
        if self.settings.can_renew && left > LEAST {
            let (from, to) = (SHARE.start(), SHARE.end());
            let share = from + (to - from) * self.rng.f64();
            let left = left.min(MOST);
            self.renewal = Some(Renewal { due: Some(now + left.mul_f64(share)), expires: now + left });
        }
    }

    /// Plans another attempt in the time that is left.
    pub(super) fn plan_another_renewal(&mut self, now: Instant) {
        if let Some(Renewal { expires, .. }) = self.renewal {
            self.plan_renewal(expires.saturating_duration_since(now), now);
        }
    }

    /// Returns true, once for each attempt, when another token is to be fetched. [`Core::renew_token`] takes it.
    pub(crate) fn wants_token(&mut self, now: Instant) -> bool {
        let Some(renewal) = self.renewal.as_mut().filter(|_| matches!(self.phase, super::Phase::Online))
        else {
            return false;
        };
        renewal.due.take_if(|due| now >= *due).is_some()
    }

    /// Sends a token that was fetched, or plans another attempt.
    pub(crate) fn renew_token(&mut self, token: Result<String, String>, now: Instant) {
        if self.renewal.is_none() || !self.is_online() {
            return;
        }
        match token {
            Ok(token) => {
                let frame = CommandFrame { kind: "token", token: Some(&token), ..CommandFrame::default() };
                self.request(&frame, PendingCommand::Token, now);
            }
            // The program knows why its function has failed.
            Err(_) => self.plan_another_renewal(now),
        }
    }
}
