//! Questions of operators and other servers about rooms, users and connections, which every node answers for itself,
//! and orders that concern connections on any node. With an engine, a question is put to all nodes.

mod history;
mod listed;
mod local;
mod orders;
mod page;
mod rows;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use self::page::Page;
pub use self::rows::{ConnectionRow, RoomRow, SlowRow, UsersRow, connection_name};
pub use super::listing::ListedRow;
use super::shared::Node;
use super::waiter::{Awaited, await_answer};
use crate::broker::redis::control::message::MAX_TEXT;
use crate::broker::redis::{AskError, Told};
use crate::names::{RoomName, UserId};
use crate::protocol::close::MAX_REASON_BYTES;

/// Most rows of a page.
pub const MAX_ROWS: usize = 1_000;

/// A question to a node. Names are checked by the node that answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Question {
    /// The rooms behind `after`, by name, whose names match the pattern.
    Rooms {
        /// The pattern, in which `*` stands for any characters; `None` for all rooms.
        pattern: Option<String>,
        /// The name behind which the page begins.
        after: Option<String>,
        /// Most rows.
        limit: usize,
    },
    /// The rooms that everybody may see in a list.
    Listed,
    /// One room.
    Room {
        /// Its name.
        room: String,
    },
    /// The users in a room behind `after`, by name.
    Presence {
        /// The room.
        room: String,
        /// The user behind whom the page begins.
        after: Option<String>,
        /// Most users.
        limit: usize,
    },
    /// The users with a connection behind `after`, by name.
    Users {
        /// The user behind whom the page begins.
        after: Option<String>,
        /// Most users.
        limit: usize,
    },
    /// The connections of a user.
    User {
        /// The user.
        user: String,
    },
    /// The connections with the longest queues.
    Slow {
        /// Most rows.
        limit: usize,
    },
    /// End the connections of a user.
    Disconnect {
        /// The user.
        user: String,
        /// The close code and the reason; `None` for 4501 `Kicked`.
        end: Option<(u16, String)>,
        /// The names of connections that stay.
        except: Vec<String>,
    },
    /// Let the connections of a user leave a room.
    Leave {
        /// The user.
        user: String,
        /// The room.
        room: String,
    },
    /// Forget what this node has of a room, and end its members here.
    Forget {
        /// The room.
        room: String,
    },
}

/// A node's answer to a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// To [`Question::Rooms`].
    Rooms(Page<RoomRow>),
    /// To [`Question::Listed`].
    Listed(Vec<ListedRow>),
    /// To [`Question::Room`]; `None` where the room is not open on the node.
    Room(Option<RoomRow>),
    /// To [`Question::Presence`]; `None` where the room is not open on the node.
    Presence(Option<UsersRow>),
    /// To [`Question::Users`].
    Users(Page<String>),
    /// To [`Question::User`].
    User(Page<ConnectionRow>),
    /// To [`Question::Slow`].
    Slow(Vec<SlowRow>),
    /// To an order: how many connections it concerned.
    Done(usize),
    /// The question is understood, and cannot be answered now.
    Busy,
}

/// The answers of all nodes to a question.
#[derive(Debug)]
pub struct Survey {
    /// The reports, that of this node first.
    pub reports: Vec<Report>,
    /// The nodes that did not answer.
    pub unanswered: Vec<String>,
}

/// The engine is not available, so that the other nodes were not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoEngine;

impl Node {
    /// Puts a question to this node and all others. Takes two seconds at most, or as long as this node needs.
    ///
    /// # Errors
    /// [`NoEngine`].
    ///
    /// # Cancel safety
    /// Dropping the future gives up the answers: an order is carried out nevertheless, or not.
    pub async fn survey(&self, question: &Question) -> Result<Survey, NoEngine> {
        let others = self.ask_others(question);
        let own = self.report(question).await;
        let told = match others {
            Some(others) => others.wait().await.map_err(|AskError| NoEngine)?,
            None => Vec::new(),
        };
        let mut survey = Survey { reports: Vec::new(), unanswered: Vec::new() };
        let answers = told.into_iter().map(|Told { node, answer }| {
            let report = answer.and_then(|answer| simd_json::serde::from_slice(&mut answer.to_vec()).ok());
            (node.as_str().to_owned(), report)
        });
        for (node, report) in std::iter::once((self.config().node.clone(), own)).chain(answers) {
            match report {
                None | Some(Report::Busy) => survey.unanswered.push(node),
                Some(report) => survey.reports.push(report),
            }
        }
        Ok(survey)
    }

    fn ask_others(&self, question: &Question) -> Option<Awaited<Vec<Told>, AskError>> {
        let cluster = self.engine.cluster()?;
        let (waiter, told) = await_answer(&self.registry, None, AskError);
        match simd_json::serde::to_vec(question) {
            Ok(question) => cluster.ask(question.into(), Box::new(move |result| waiter.answer(result))),
            Err(error) => tracing::error!(%error, "a question to other nodes cannot be written as JSON"),
        }
        Some(told)
    }

    /// Answers a question of another node, in at most [`MAX_TEXT`] bytes; `None` where it is not understood.
    pub(super) async fn tell(&self, question: &Bytes) -> Option<Bytes> {
        let question = simd_json::serde::from_slice(&mut question.to_vec()).ok()?;
        let report = self.report(&question).await?;
        let answer = simd_json::serde::to_vec(&report).ok()?;
        let answer =
            if answer.len() > MAX_TEXT { simd_json::serde::to_vec(&Report::Busy).ok()? } else { answer };
        Some(answer.into())
    }

    /// Answers a question for this node; `None` where a name in it is not valid.
    async fn report(&self, question: &Question) -> Option<Report> {
        Some(match question {
            Question::Rooms { pattern, after, limit } => {
                let after = after.as_deref().map(str::parse::<RoomName>).transpose().ok()?;
                Report::Rooms(self.rooms_here(pattern.as_deref(), after.as_ref(), *limit).await)
            }
            Question::Listed => Report::Listed(self.listed_here().await),
            Question::Room { room } => Report::Room(self.room_here(&room.parse().ok()?)),
            Question::Presence { room, after, limit } => {
                let after = after.as_deref().map(str::parse::<UserId>).transpose().ok()?;
                Report::Presence(self.presence_here(&room.parse().ok()?, after.as_ref(), *limit))
            }
            Question::Users { after, limit } => {
                let after = after.as_deref().map(str::parse::<UserId>).transpose().ok()?;
                Report::Users(self.users_here(after.as_ref(), *limit).await)
            }
            Question::User { user } => self.connections_here(&user.parse().ok()?).await,
            Question::Slow { limit } => self.slow_here(*limit).await,
            Question::Disconnect { end: Some((code, text)), .. }
                if !(4000..=4999).contains(code) || text.len() > MAX_REASON_BYTES =>
            {
                return None;
            }
            Question::Disconnect { user, end, except } => {
                Report::Done(self.disconnect_here(&user.parse().ok()?, end.as_ref(), except))
            }
            Question::Leave { user, room } => self.leave_here(&user.parse().ok()?, &room.parse().ok()?).await,
            Question::Forget { room } => self.forget_here(&room.parse().ok()?).await,
        })
    }
}
