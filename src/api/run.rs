//! Carries out calls. Messages are submitted in their order, and their answers awaited afterwards.

use std::future::Future;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::answer::{Answer, Outcome, Results};
use super::call::{Call, Command, Direct, Disconnect, Leave, Publish, Revoke};
use super::error::{ApiError, of_direct};
use super::read;
use super::slice::Slice;
use crate::broker::quota::KeyBound;
use crate::names::RoomName;
use crate::node::survey::{NoEngine, Question, Report};
use crate::node::{Delivery, Node, PostError, RevokeError, Revoked, ServerPost, Submitted};
use crate::revocation::{Revocation, seconds};

/// Most answers that a call waits for at once. The engine carries out a bounded number of private messages at a time.
const MAX_PENDING: usize = 64;

/// The parts of the server that calls need besides the node.
pub trait Service {
    /// Returns what `info` answers, as JSON.
    fn info(&self) -> String;

    /// Reads the settings again.
    ///
    /// # Errors
    /// They have mistakes, or cannot be read again. Nothing has changed then.
    fn reload(&self) -> impl Future<Output = Result<Answer, ApiError>>;
}

/// Carries out a call in slices, of which `slice` is the first. A part that has no answer at `deadline` ends with an
/// error.
pub async fn run(
    node: &Arc<Node>,
    service: &impl Service,
    call: Call<'_>,
    deadline: Instant,
    slice: Slice,
) -> Outcome {
    let mut running = Running { node, deadline, slice, results: Vec::new(), pending: Vec::new() };
    match call {
        Call::Publish(publish) => return running.one(Command::Publish(publish)).await,
        Call::Disconnect(disconnect) => return running.one(Command::Disconnect(disconnect)).await,
        Call::Leave(leave) => return running.one(Command::Leave(leave)).await,
        Call::Revoke(revoke) => return running.revoke(&revoke).await.into(),
        Call::Forget(room) => return running.forget(&room).await.into(),
        Call::Read(call) => {
            let answer = timeout_at(deadline, read::run(node, service, call)).await;
            return answer.unwrap_or(Err(ApiError::Unavailable)).into();
        }
        Call::Direct(direct) => return running.one(Command::Direct(direct)).await,
        Call::Reload => return service.reload().await.into(),
        Call::Broadcast(all) => {
            for publish in all {
                running.begin(publish.map(Command::Publish)).await;
            }
        }
        Call::DirectToMany(all) => {
            for direct in all {
                running.begin(direct.map(Command::Direct)).await;
            }
        }
        Call::Batch { commands, is_parallel } => {
            for command in commands {
                // The order of messages of one room is that in which they are submitted. Other commands have no such
                // order, so each of them waits for those before it.
                let is_alone = !is_parallel && !matches!(command, Ok(Command::Publish(_)));
                if is_alone {
                    running.settle().await;
                }
                running.begin(command).await;
                if is_alone {
                    running.settle().await;
                }
            }
        }
    }
    running.results().await.into()
}

/// The outcome of a part that was begun and never settled, which does not happen.
const UNKNOWN: Outcome = Outcome::Error(ApiError::UnknownOutcome);

/// A call that is being carried out.
struct Running<'n> {
    node: &'n Arc<Node>,
    deadline: Instant,
    slice: Slice,
    /// The outcomes of the parts, in their order; `None` for those that are pending.
    results: Vec<Option<Outcome>>,
    /// The parts that wait for their answers, with their places in `results`.
    pending: Vec<(usize, Begun)>,
}

/// A command that was begun.
enum Begun {
    Publish(RoomName, Submitted),
    /// An answer of other nodes is waited for.
    Direct(Delivery),
    Done(Outcome),
}

impl Running<'_> {
    /// Carries out the only command of a call.
    async fn one(&mut self, command: Command<'_>) -> Outcome {
        let begun = self.begin_command(command).await;
        self.finish(begun).await
    }

    /// Begins the next part.
    async fn begin(&mut self, command: Result<Command<'_>, ApiError>) {
        self.slice.pause().await;
        let begun = match command {
            Ok(command) => self.begin_command(command).await,
            Err(error) => Begun::Done(Outcome::Error(error)),
        };
        if let Begun::Done(outcome) = begun {
            return self.results.push(Some(outcome));
        }
        self.pending.push((self.results.len(), begun));
        self.results.push(None);
        if self.pending.len() >= MAX_PENDING {
            self.settle().await;
        }
    }

    /// Waits for the answers to all parts that were begun.
    async fn settle(&mut self) {
        for (index, begun) in std::mem::take(&mut self.pending) {
            self.slice.pause().await;
            let outcome = self.finish(begun).await;
            self.results[index] = Some(outcome);
        }
    }

    /// Waits for what is pending, and returns the answer with the outcomes of all parts.
    async fn results(mut self) -> Result<Answer, ApiError> {
        self.settle().await;
        let mut results = Results::default();
        for outcome in self.results {
            self.slice.pause().await;
            results.push(&outcome.unwrap_or(UNKNOWN)).map_err(|_| ApiError::UnknownOutcome)?;
        }
        Ok(Answer::Results(results))
    }

    async fn begin_command(&self, command: Command<'_>) -> Begun {
        match command {
            Command::Publish(publish) => match self.submit(&publish).await {
                Ok(submitted) => Begun::Publish(publish.room, submitted),
                Err(error) => Begun::Done(Outcome::Error(error)),
            },
            Command::Direct(direct) => self.deliver(direct),
            Command::Disconnect(Disconnect { user, end, except }) => {
                let order = Question::Disconnect { user: user.to_string(), end, except };
                Begun::Done(self.order(&order).await.map(|closed| Answer::Closed { closed }).into())
            }
            Command::Leave(Leave { user, room }) => {
                let order = Question::Leave { user: user.to_string(), room: room.to_string() };
                Begun::Done(self.order(&order).await.map(|left| Answer::Left { left }).into())
            }
        }
    }

    /// Gives an order to all nodes, and returns how many connections it concerned. Without the engine nothing is done.
    async fn order(&self, order: &Question) -> Result<usize, ApiError> {
        if !self.node.is_engine_up() {
            return Err(ApiError::Unavailable);
        }
        self.order_begun(order).await
    }

    /// Gives an order as [`order`](Self::order) does, of a call that may have done something already. This node obeys
    /// whatever becomes of the order on its way to the others, so that no error says that nothing was done.
    async fn order_begun(&self, order: &Question) -> Result<usize, ApiError> {
        let survey = timeout_at(self.deadline, self.node.survey(order)).await;
        let survey =
            survey.map_err(|_| ApiError::UnknownOutcome)?.map_err(|NoEngine| ApiError::UnknownOutcome)?;
        if !survey.unanswered.is_empty() {
            return Err(ApiError::Unanswered(survey.unanswered.join(", ").into()));
        }
        let done =
            survey.reports.iter().map(|report| if let Report::Done(count) = report { *count } else { 0 });
        Ok(done.sum())
    }

    async fn revoke(&self, revoke: &Revoke<'_>) -> Result<Answer, ApiError> {
        let revocation = match revoke {
            // Until the token has expired for the latest clock, which may differ by the leeway.
            Revoke::Token { jti, until_s } => {
                let leeway_s = self.node.config().auth.leeway.as_secs() + 1;
                Revocation::of_token(jti, until_s.saturating_add(seconds(leeway_s as i64)))
            }
            Revoke::User { user, issued_before_s } => {
                let now_s = || seconds(self.node.clock.wall_s() + 1);
                let before_s = issued_before_s.unwrap_or_else(now_s);
                Revocation::of_user(user.as_str(), before_s, self.node.life_ends_s(before_s))
            }
        };
        match timeout_at(self.deadline, self.node.revoke(revocation)).await {
            Ok(Ok(Revoked { closed, is_durable })) => Ok(Answer::Revoked { closed, durable: is_durable }),
            Ok(Err(RevokeError::Full)) => Err(ApiError::RevocationsFull),
            Ok(Err(RevokeError::NoEngine)) => Err(ApiError::Unavailable),
            Ok(Err(RevokeError::Unknown)) | Err(_) => Err(ApiError::UnknownOutcome),
        }
    }

    async fn forget(&self, room: &RoomName) -> Result<Answer, ApiError> {
        if !self.node.is_engine_up() {
            return Err(ApiError::Unavailable);
        }
        let erased = timeout_at(self.deadline, self.node.erase_everywhere(room)).await;
        erased.map_err(|_| ApiError::UnknownOutcome)?.map_err(|NoEngine| ApiError::UnknownOutcome)?;
        let closed = self.order_begun(&Question::Forget { room: room.to_string() }).await?;
        Ok(Answer::Closed { closed })
    }

    async fn submit(&self, publish: &Publish<'_>) -> Result<Submitted, ApiError> {
        let Publish { room, message } = publish;
        let ready = timeout_at(self.deadline, self.node.prepare_room(room, &message.user)).await;
        ready.map_err(|_elapsed| ApiError::Unavailable)??;
        let key = message.key.clone();
        Ok(self.node.submit(&ServerPost { room, user: &message.user, content: message.content(), key })?)
    }

    fn deliver(&self, Direct { to, message }: Direct<'_>) -> Begun {
        let now_ms = self.node.now_ms();
        let (user, content, key) = (&message.user, message.content(), message.key.as_ref());
        if let Some(delivery) = self.node.direct_to_all(user, &to, content, key, now_ms, None) {
            return Begun::Direct(delivery);
        }
        let delivered = self.node.direct(user, &to, content, key.cloned(), KeyBound::Api, now_ms);
        Begun::Done(delivered.map(|delivered| Answer::Delivered { delivered }).map_err(of_direct).into())
    }

    async fn finish(&self, begun: Begun) -> Outcome {
        let result = match begun {
            Begun::Done(outcome) => return outcome,
            Begun::Publish(room, submitted) => match timeout_at(self.deadline, submitted.published()).await {
                Ok(Ok(published)) => Ok(Answer::published(room, published)),
                Ok(Err(PostError::Refused(error))) => Err(error.into()),
                Ok(Err(PostError::Unknown)) | Err(_) => Err(ApiError::UnknownOutcome),
            },
            Begun::Direct(delivery) => match timeout_at(self.deadline, delivery.wait()).await {
                Ok(delivered) => {
                    delivered.map(|delivered| Answer::Delivered { delivered }).map_err(of_direct)
                }
                Err(_) => Err(ApiError::UnknownOutcome),
            },
        };
        result.into()
    }
}
