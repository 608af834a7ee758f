//! The messages on the control channels of nodes, and their wire form.
//!
//! ```text
//! request  "c1 " KIND " " NUMBER " " NODE " " INCARNATION " " TARGET " " UNTIL " " ARGUMENTS… "\n" TEXT
//!          end     CONNECTION CAUSE USER
//!          probe   CONNECTION ADDRESS
//!          direct  EPOCH OFFSET TIME FROM CONNECTION,CONNECTION… "\n" TEXT
//!          carry   EPOCH OFFSET TIME FROM CONNECTION,CONNECTION… BYTES BYTES "\n" TEXT NAME DATA
//!          ask     LENGTH "\n" TEXT
//!          revoke  t|u HASH BEFORE UNTIL
//! answer   "a1 " KIND " " NUMBER " " TARGET " " INCARNATION " " VALUE… "\n"
//!          end     yes|no MISSING
//!          probe   yes|no
//!          direct  COUNT
//!          ask     LENGTH "\n" TEXT
//!          revoke  COUNT
//! ```
//!
//! NODE and INCARNATION name the sender, and TARGET is the incarnation that a message is for. UNTIL is when the sender
//! stops waiting, by the engine's clock. NUMBER and the ids of incarnations and connections are 16 hexadecimal digits,
//! the other numbers decimal. Each message has one form. Messages of another kind or version are ignored, because newer
//! nodes may send them. The answer goes to the channel of NODE.
//!
//! `carry` is `direct` for a message that carries more than text, and is answered as `direct`. Its BYTES are those of
//! TEXT and NAME; each of the three parts may be empty. Nodes of the version before `carry` ignore it.

use bytes::Bytes;
use smallvec::SmallVec;

use super::parser::{ANSWER, REQUEST, Words, is_other_version};
use super::{contents, reading};
use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::directory::connection_bits;
use crate::broker::redis::nodes::NodeName;
use crate::broker::redis::nodes::text::hex;
use crate::broker::redis::revocations;
use crate::names::{ConnectionId, Position, UserId};
use crate::protocol::event::OwnedContent;
use crate::revocation::Revocation;

/// Most bytes of a message. It shares a connection with the batches of rooms, and must not hold them up for long.
pub const MAX_BYTES: usize = 64 * 1024;
/// Most connections of one private message: the rest get another one. Their ids take 4 KiB.
pub const MAX_CONNECTIONS: usize = 240;
/// Longest first line: a private message to [`MAX_CONNECTIONS`].
const MAX_HEADER: usize = 300 + MAX_CONNECTIONS * 17;
/// Most bytes of the contents of a private message.
pub const MAX_TEXT: usize = MAX_BYTES - MAX_HEADER;

/// The name of a private message that carries more than text.
const CARRY: &str = "carry";

/// A kind of order, and of the answer to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// [`Order::End`] and [`Outcome::Ended`].
    End,
    /// [`Order::Probe`] and [`Outcome::Alive`].
    Probe,
    /// [`Order::Direct`] and [`Outcome::Delivered`].
    Direct,
    /// [`Order::Ask`] and [`Outcome::Told`].
    Ask,
    /// [`Order::Revoke`] and [`Outcome::Revoked`].
    Revoke,
}

impl Kind {
    const ALL: [Self; 5] = [Self::End, Self::Probe, Self::Direct, Self::Ask, Self::Revoke];

    /// Returns true when an order of this kind has a text behind its first line.
    pub(super) const fn has_text(self) -> bool {
        matches!(self, Self::Direct | Self::Ask)
    }

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Probe => "probe",
            Self::Direct => "direct",
            Self::Ask => "ask",
            Self::Revoke => "revoke",
        }
    }
}

/// Why a connection has to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndCause {
    /// Another connection has taken over its user id.
    Replaced,
    /// An operator ends it.
    Kicked,
}

/// An order from one node to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// End a connection. A node without this connection releases its user id in the directory, because the release
    /// has got lost.
    End {
        /// The connection.
        connection: ConnectionId,
        /// Why it ends.
        cause: EndCause,
        /// Its user.
        user: UserId,
    },
    /// Ping a connection, and tell whether a sign of life came.
    Probe {
        /// The connection.
        connection: ConnectionId,
        /// A hash of the address on behalf of which the node asks. It bounds how often one address can ask.
        address: u32,
    },
    /// Deliver a private message.
    Direct {
        /// The connections that get it, 1 to [`MAX_CONNECTIONS`].
        to: SmallVec<[ConnectionId; 2]>,
        /// The sender.
        from: UserId,
        /// The contents, at most [`MAX_TEXT`] bytes.
        content: OwnedContent,
        /// The id of the message.
        id: Position,
        /// The time of the message, in Unix milliseconds.
        at_unix_ms: u64,
    },
    /// Answer a question, which nodes understand and the engine does not. At most [`MAX_TEXT`] bytes.
    Ask(Bytes),
    /// Refuse tokens from now on, and end the connections with them.
    Revoke(Revocation),
}

/// The outcome of an order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The connection ends, or there was none.
    Ended {
        /// False when the node did not have the connection.
        existed: bool,
        /// Thousandths of a token that are missing in the user's rate bucket.
        missing: u64,
    },
    /// Whether the connection has given a sign of life.
    Alive(bool),
    /// The number of connections that get the message.
    Delivered(u32),
    /// The answer to a question, at most [`MAX_TEXT`] bytes.
    Told(Bytes),
    /// The number of connections that end.
    Revoked(u32),
}

impl Order {
    /// Returns the kind of the order.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::End { .. } => Kind::End,
            Self::Probe { .. } => Kind::Probe,
            Self::Direct { .. } => Kind::Direct,
            Self::Ask(_) => Kind::Ask,
            Self::Revoke(_) => Kind::Revoke,
        }
    }
}

impl Outcome {
    /// Returns the kind of the order that has this outcome.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Ended { .. } => Kind::End,
            Self::Alive(_) => Kind::Probe,
            Self::Delivered(_) => Kind::Direct,
            Self::Told(_) => Kind::Ask,
            Self::Revoked(_) => Kind::Revoke,
        }
    }
}

/// An order on its way, with the address for the answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// The number of the request, by which its sender knows the answer.
    pub number: u64,
    /// The sender's node, on whose channel it waits for the answer.
    pub node: NodeName,
    /// The sender's incarnation.
    pub by: Incarnation,
    /// The incarnation that is to do it. Another one on the same channel does nothing and does not answer.
    pub target: Incarnation,
    /// When the sender stops waiting for the answer, in Unix milliseconds of the engine's clock.
    pub until_ms: u64,
    /// The order.
    pub order: Order,
}

/// An answer to a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The number of the request.
    pub number: u64,
    /// The incarnation that has sent the request.
    pub target: Incarnation,
    /// The incarnation that answers.
    pub by: Incarnation,
    /// The outcome of the order.
    pub outcome: Outcome,
}

/// A message on a control channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// A request of another node.
    Request(Request),
    /// An answer to a request of this node.
    Answer(Answer),
    /// A message of a kind or version that this node does not know. It is ignored.
    Other,
}

/// A message that cannot be sent, or that has been received and is malformed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadMessage {
    /// It is too long.
    #[error("a control message has at most {MAX_BYTES} bytes, of which {MAX_TEXT} are text")]
    TooLong,
    /// A private message has no recipient, or too many.
    #[error("a private message is for 1 to {MAX_CONNECTIONS} connections")]
    Recipients,
    /// It does not have the form of its kind.
    #[error("the control message is malformed")]
    Malformed,
}

impl Request {
    /// Returns the message as it is published on the channel of the target's node.
    ///
    /// # Errors
    /// A private message without recipients, with too many, or with too long a text.
    pub fn encode(&self) -> Result<Bytes, BadMessage> {
        let mut kind = self.order.kind().name();
        let (arguments, body) = match &self.order {
            Order::End { connection, cause, user } => {
                let cause = match cause {
                    EndCause::Replaced => "replaced",
                    EndCause::Kicked => "kicked",
                };
                (format!("{} {cause} {user}", connection_text(*connection)), Bytes::new())
            }
            Order::Probe { connection, address } => {
                (format!("{} {address}", connection_text(*connection)), Bytes::new())
            }
            Order::Revoke(revocation) => {
                (format!("{} {}", revocations::entry(revocation), revocation.until_s), Bytes::new())
            }
            Order::Direct { to, from, content, id, at_unix_ms } => {
                if to.is_empty() || to.len() > MAX_CONNECTIONS {
                    return Err(BadMessage::Recipients);
                }
                let (body, lens) = contents::encode(&content.get());
                if body.len() > MAX_TEXT {
                    return Err(BadMessage::TooLong);
                }
                let to: Vec<String> = to.iter().copied().map(connection_text).collect();
                let mut arguments =
                    format!("{} {} {at_unix_ms} {from} {}", id.epoch, id.offset, to.join(","));
                if let Some((text, name)) = lens {
                    kind = CARRY;
                    arguments = format!("{arguments} {text} {name}");
                }
                (arguments, body)
            }
            Order::Ask(question) if question.len() > MAX_TEXT => return Err(BadMessage::TooLong),
            Order::Ask(question) => (question.len().to_string(), question.clone()),
        };
        let Self { number, node, by, target, until_ms, .. } = self;
        let number = hex(*number);
        let header = format!("{REQUEST} {kind} {number} {node} {by} {target} {until_ms} {arguments}\n");
        debug_assert!(header.len() <= MAX_HEADER, "{header}");
        Ok([header.as_bytes(), &body[..]].concat().into())
    }

    /// True when the order must not be carried out any more: nobody waits for the answer, and the sender of a private
    /// message has been told that it was not delivered. A connection is ended, and tokens are revoked, however late.
    #[must_use]
    pub fn is_late(&self, engine_now_ms: u64) -> bool {
        !matches!(self.order.kind(), Kind::End | Kind::Revoke) && engine_now_ms > self.until_ms
    }

    /// Makes the answer to this request.
    #[must_use]
    pub fn answer(&self, outcome: Outcome) -> Answer {
        Answer { number: self.number, target: self.by, by: self.target, outcome }
    }
}

impl Answer {
    /// Returns the message as it is published on the channel of the asking node.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let (value, text) = match &self.outcome {
            Outcome::Ended { existed, missing } => (format!("{} {missing}", yes_or_no(*existed)), &[][..]),
            Outcome::Alive(is_alive) => (yes_or_no(*is_alive).into(), &[][..]),
            Outcome::Delivered(count) | Outcome::Revoked(count) => (count.to_string(), &[][..]),
            Outcome::Told(answer) => (answer.len().to_string(), &answer[..]),
        };
        let Self { number, target, by, outcome } = self;
        let header = format!("{ANSWER} {} {} {target} {by} {value}\n", outcome.kind().name(), hex(*number));
        [header.as_bytes(), text].concat().into()
    }
}

impl Message {
    /// Parses a message. The text shares the payload's memory.
    ///
    /// # Errors
    /// A message of this version and of a known kind that is malformed or too long.
    pub fn parse(payload: &Bytes) -> Result<Self, BadMessage> {
        if is_other_version(payload) {
            return Ok(Self::Other);
        }
        if payload.len() > MAX_BYTES {
            return Err(BadMessage::TooLong);
        }
        let start = &payload[..payload.len().min(MAX_HEADER)];
        let end = start.iter().position(|byte| *byte == b'\n').ok_or(BadMessage::Malformed)?;
        let text = payload.slice(end + 1..);
        let mut words = Words::new(&payload[..end]).ok_or(BadMessage::Malformed)?;
        let is_request = words.word() == Some(REQUEST);
        let name = words.word().ok_or(BadMessage::Malformed)?;
        let carries = is_request && name == CARRY;
        let kind = if carries { Some(Kind::Direct) } else { Kind::of(name) };
        let Some(kind) = kind else { return Ok(Self::Other) };
        let message = if is_request {
            reading::request(kind, carries, &mut words, text)
        } else {
            reading::answer(kind, &mut words, text)
        };
        message.filter(|_| words.is_at_end()).ok_or(BadMessage::Malformed)
    }
}

fn connection_text(id: ConnectionId) -> String {
    hex(connection_bits(id))
}

fn yes_or_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}
