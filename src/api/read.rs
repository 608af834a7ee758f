//! Carries out the calls that change nothing, over all nodes.

use std::sync::Arc;

use super::answer::{Answer, Connections};
use super::call::Read;
use super::error::ApiError;
use super::run::Service;
use crate::node::Node;
use crate::node::survey::{Page, Question, Report, RoomRow, Survey, UsersRow};

/// Carries out a call.
pub(super) async fn run(node: &Arc<Node>, service: &impl Service, read: Read) -> Result<Answer, ApiError> {
    let ask = async |question: Question| node.survey(&question).await.map_err(|_| ApiError::Unavailable);
    match read {
        Read::Info => Ok(Answer::Written(service.info())),
        Read::History { room, epoch, before, limit } => {
            let history = node.history(&room, epoch.as_deref(), before, limit).await?;
            history.map(Answer::Written).ok_or(ApiError::RoomNotFound)
        }
        Read::Rooms { pattern, after, limit } => {
            let after = after.map(|after| after.to_string());
            let survey = ask(Question::Rooms { pattern, after, limit }).await?;
            Ok(rooms(survey, limit))
        }
        Read::Room(room) => {
            let survey = ask(Question::Room { room: room.to_string() }).await?;
            let rows = survey.reports.into_iter().filter_map(|report| match report {
                Report::Room(row) => row,
                _ => None,
            });
            let found = rows.reduce(|mut one, other| {
                join(&mut one, other);
                one
            });
            found.map(Answer::Room).ok_or_else(|| not_found(&survey.unanswered))
        }
        Read::Presence { room, after, limit } => {
            let (name, after) = (room.to_string(), after.map(|after| after.to_string()));
            let survey = ask(Question::Presence { room: name.clone(), after, limit }).await?;
            let page = presence(survey.reports).ok_or_else(|| not_found(&survey.unanswered))?;
            Ok(Answer::Presence { r#type: "presence", room: name, page })
        }
        Read::Users { after, limit } => {
            let after = after.map(|after| after.to_string());
            let survey = ask(Question::Users { after, limit }).await?;
            Ok(users(survey, limit))
        }
        Read::User(user) => {
            let survey = ask(Question::User { user: user.to_string() }).await?;
            Ok(connections(user.to_string(), survey))
        }
        Read::Slow { limit } => Ok(slow(ask(Question::Slow { limit }).await?, limit)),
    }
}

/// Returns the error for a room that no node has, unless a node that did not answer may have it.
fn not_found(unanswered: &[String]) -> ApiError {
    if unanswered.is_empty() { ApiError::RoomNotFound } else { ApiError::Unavailable }
}

/// Joins what two nodes say about a room. Each of them knows the users of all nodes. One that is behind has not heard
/// the latest yet.
fn join(row: &mut RoomRow, other: RoomRow) {
    if (other.offset, other.members) > (row.offset, row.members) {
        *row = other;
    }
}

fn rooms(survey: Survey, limit: usize) -> Answer {
    let Survey { reports, unanswered } = survey;
    let pages = reports.into_iter().filter_map(|report| match report {
        Report::Rooms(page) => Some(page),
        _ => None,
    });
    let Page { rows: rooms, more } = Page::merge(pages, limit, |row: &RoomRow| &row.room, join);
    let next = rooms.last().filter(|_| more).map(|row| row.room.clone());
    Answer::Rooms { rooms, next, unanswered }
}

/// Returns the page of the node that knows most users: each node with members in the room knows those of all nodes.
fn presence(reports: Vec<Report>) -> Option<UsersRow> {
    let pages = reports.into_iter().filter_map(|report| match report {
        Report::Presence(page) => page,
        _ => None,
    });
    pages.max_by_key(|page| page.members)
}

fn users(survey: Survey, limit: usize) -> Answer {
    let Survey { reports, unanswered } = survey;
    let pages = reports.into_iter().filter_map(|report| match report {
        Report::Users(page) => Some(page),
        _ => None,
    });
    let Page { rows: users, more } = Page::merge(pages, limit, |user: &String| user, |_, _| {});
    let next = users.last().filter(|_| more).cloned();
    Answer::Users { users, next, unanswered }
}

fn connections(user: String, survey: Survey) -> Answer {
    let Survey { reports, unanswered } = survey;
    let (mut connections, mut more) = (Vec::new(), false);
    for report in reports {
        if let Report::User(page) = report {
            connections.extend(page.rows);
            more |= page.more;
        }
    }
    Answer::Connections { user: Some(user), connections: Connections::Of(connections), more, unanswered }
}

fn slow(survey: Survey, limit: usize) -> Answer {
    let Survey { reports, unanswered } = survey;
    let rows = reports.into_iter().filter_map(|report| match report {
        Report::Slow(rows) => Some(rows),
        _ => None,
    });
    let mut rows: Vec<_> = rows.flatten().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.bytes));
    rows.truncate(limit);
    Answer::Connections { user: None, connections: Connections::Slow(rows), more: false, unanswered }
}
