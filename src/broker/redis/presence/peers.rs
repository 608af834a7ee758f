//! The other nodes in a room, as far as this node has heard and read of them.

use super::payload::{Contents, Payload};
use super::rules::{Rule, is_broken};
use super::snapshot::{Entry, Snapshot};
use super::{NodeTable, Standing};
use crate::broker::redis::batch::Incarnation;
use crate::chat::presence::{Change, NodeKey};

/// How long the users of a node that is gone stay, in milliseconds: until then they may come back on another node. As
/// long as a user stays whose connection was taken over.
pub(super) const HOLD_MS: u64 = 20_000;
/// How many further tables of nodes must lack a node before it is dead. The first of them may have been on its way when
/// the node was new.
const TABLES_WITHOUT: u64 = 2;

/// How far a node is in the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its users are known.
    Present,
    /// Its users are not known. They are read when it has been heard of, or is in the table of nodes.
    Unread { is_heard: bool },
    /// It is gone, and its users stay until this time.
    Gone { until_ms: u64 },
}

/// Another node.
#[derive(Debug)]
struct Peer {
    by: Incarnation,
    /// The number of its last publication that was applied.
    number: u64,
    count: usize,
    is_counted: bool,
    state: State,
    /// True when the engine may have an entry of the node.
    is_stored: bool,
    /// The version of the first table of nodes that lacked it, since it was in one.
    unlisted: Option<u64>,
}

/// The other nodes in a room, and the changes that wait to be applied.
#[derive(Debug)]
pub(super) struct Peers {
    /// Sorted by incarnation.
    peers: Vec<Peer>,
    pub(super) changes: Vec<Change>,
    /// Dead nodes that are in the engine and that this node has to remove there.
    pub(super) dead: Vec<Incarnation>,
}

fn key(by: Incarnation) -> NodeKey {
    NodeKey(by.0)
}

impl Peer {
    const fn new(by: Incarnation, is_heard: bool) -> Self {
        let state = State::Unread { is_heard };
        Self { by, number: 0, count: 0, is_counted: false, state, is_stored: true, unlisted: None }
    }

    /// Returns true when the node is dead by the table of nodes.
    fn is_dead(&mut self, table: &impl NodeTable) -> bool {
        match table.standing(self.by) {
            _ if is_broken(Rule::SeeTheDead) => false,
            Standing::Dead => true,
            Standing::Live => {
                self.unlisted = None;
                false
            }
            Standing::Unknown => {
                let since = *self.unlisted.get_or_insert(table.version());
                table.version() >= since + TABLES_WITHOUT
            }
        }
    }

    /// Returns true when the users of this node need not be read because it may be dead.
    fn is_doubtful(&self) -> bool {
        self.unlisted.is_some() && self.state == State::Unread { is_heard: false }
    }

    /// Lets the node's users stay for a while, unless that has begun already.
    fn begin_hold(&mut self, now_ms: u64) {
        if !matches!(self.state, State::Gone { .. }) {
            let hold_ms = if is_broken(Rule::Hold) { 0 } else { HOLD_MS };
            self.state = State::Gone { until_ms: now_ms + hold_ms };
        }
    }

    fn set(&mut self, number: u64, count: usize, is_counted: bool) {
        (self.number, self.count, self.is_counted, self.state) = (number, count, is_counted, State::Present);
    }
}

impl Peers {
    pub(super) fn new() -> Self {
        Self { peers: Vec::new(), changes: vec![Change::Begin], dead: Vec::new() }
    }

    /// Returns how many users the other nodes have, added up.
    pub(super) fn sum(&self) -> usize {
        self.peers.iter().map(|peer| peer.count).sum()
    }

    /// Returns true when one of the other nodes tells the number of its users alone.
    pub(super) fn is_any_counted(&self) -> bool {
        self.peers.iter().any(|peer| peer.is_counted)
    }

    /// Returns true when a further table of nodes can change what is known here.
    pub(super) fn has_doubts(&self) -> bool {
        self.peers.iter().any(|peer| peer.unlisted.is_some())
    }

    /// Returns true when the users of a node cannot be read because no table of nodes has come since it was met: it may
    /// be new.
    pub(super) fn is_any_new(&self, table: &impl NodeTable) -> bool {
        self.peers.iter().any(|peer| peer.is_doubtful() && peer.unlisted == Some(table.version()))
    }

    /// Returns when the users of a node that is gone leave next.
    pub(super) fn next_removal_ms(&self) -> Option<u64> {
        let until =
            |peer: &Peer| if let State::Gone { until_ms } = peer.state { Some(until_ms) } else { None };
        self.peers.iter().filter_map(until).min()
    }

    fn place_of(&mut self, by: Incarnation, is_heard: bool) -> usize {
        self.peers.binary_search_by_key(&by, |peer| peer.by).unwrap_or_else(|at| {
            self.peers.insert(at, Peer::new(by, is_heard));
            at
        })
    }

    /// Applies a publication of another node. Returns false when it does not continue what is known of the node, so
    /// that the room must be read.
    pub(super) fn hear(&mut self, payload: Payload, now_ms: u64) -> bool {
        let Payload { by, number, count, contents, names } = payload;
        if matches!(contents, Contents::Closed)
            && self.peers.binary_search_by_key(&by, |peer| peer.by).is_err()
        {
            return true;
        }
        let at = self.place_of(by, true);
        let peer = &mut self.peers[at];
        if number <= peer.number {
            return true;
        }
        (peer.unlisted, peer.is_stored) = (None, true);
        if let State::Unread { is_heard } = &mut peer.state {
            *is_heard = true;
        }
        let node = key(by);
        match contents {
            Contents::Moved { joined, left } => {
                let is_next = number == peer.number + 1 && !peer.is_counted;
                if !is_next && is_broken(Rule::ReadHoles) {
                    return true;
                }
                if !is_next || peer.count + joined.len() != count + left.len() {
                    return false;
                }
                peer.set(number, count, false);
                self.changes.push(Change::Moved { node, joined, left, names });
            }
            Contents::All(users) => {
                peer.set(number, count, false);
                self.changes.push(Change::Users { node, users, names });
            }
            Contents::Count => {
                peer.set(number, count, true);
                self.changes.push(Change::Count { node, users: count });
            }
            Contents::Read => return false,
            Contents::Closed => {
                peer.number = number;
                peer.begin_hold(now_ms);
                if peer.count == 0 {
                    self.remove(at);
                }
            }
        }
        true
    }

    /// Applies the entries that were read, except for the one of this node.
    pub(super) fn read(&mut self, me: Incarnation, snapshot: Snapshot, table: &impl NodeTable, now_ms: u64) {
        let mut read: Vec<Incarnation> = Vec::with_capacity(snapshot.entries.len());
        for entry in snapshot.entries {
            if entry.by != me {
                read.push(entry.by);
                self.read_entry(entry, table);
            }
        }
        // Sorted, as the entries are.
        for at in (0..self.peers.len()).rev() {
            let peer = &mut self.peers[at];
            if read.binary_search(&peer.by).is_err() {
                match peer.state {
                    State::Present if peer.count > 0 => peer.begin_hold(now_ms),
                    State::Present | State::Unread { .. } => self.remove(at),
                    State::Gone { .. } => {}
                }
            }
        }
        self.look_up(me, table, now_ms);
    }

    fn read_entry(&mut self, entry: Entry, table: &impl NodeTable) {
        let at = self.place_of(entry.by, false);
        let peer = &mut self.peers[at];
        peer.is_stored = true;
        if peer.is_dead(table) || peer.is_doubtful() {
            return;
        }
        if entry.number > peer.number || is_broken(Rule::KeepTheNewer) {
            let node = key(entry.by);
            peer.set(entry.number, entry.count, entry.users.is_none());
            self.changes.push(match entry.users {
                Some(users) => Change::Users { node, users, names: entry.names },
                None => Change::Count { node, users: entry.count },
            });
        } else if entry.number == peer.number && !matches!(peer.state, State::Unread { .. }) {
            peer.state = State::Present;
        }
        // With a lower number, the engine has lost what this node has heard. The other node writes it anew.
    }

    /// Compares the nodes with the table of nodes. Returns true when the room must be read, because one of them is live
    /// that was doubtful.
    pub(super) fn look_up(&mut self, me: Incarnation, table: &impl NodeTable, now_ms: u64) -> bool {
        let mut must_read = false;
        let mut dead = Vec::new();
        for at in (0..self.peers.len()).rev() {
            let peer = &mut self.peers[at];
            let was_doubtful = peer.is_doubtful();
            if !peer.is_dead(table) {
                must_read |= was_doubtful && !peer.is_doubtful();
                continue;
            }
            if std::mem::replace(&mut peer.is_stored, false) {
                dead.push(peer.by);
            }
            peer.begin_hold(now_ms);
            if peer.count == 0 {
                self.remove(at);
            }
        }
        self.remove_stored(me, dead);
        must_read
    }

    /// Notes that the entries of dead nodes have to be removed from the engine, if this node is the first of the room's
    /// live ones, whose duty that is.
    pub(super) fn remove_stored(&mut self, me: Incarnation, mut dead: Vec<Incarnation>) {
        let is_live = |peer: &&Peer| peer.state == State::Present;
        if !is_broken(Rule::RemoveTheDead)
            && self.peers.iter().find(is_live).is_none_or(|first| me < first.by)
        {
            dead.retain(|by| !self.dead.contains(by));
            self.dead.append(&mut dead);
        }
    }

    /// Removes the nodes whose users have stayed long enough.
    pub(super) fn remove_expired(&mut self, now_ms: u64) {
        for at in (0..self.peers.len()).rev() {
            if matches!(self.peers[at].state, State::Gone { until_ms } if until_ms <= now_ms) {
                self.remove(at);
            }
        }
    }

    fn remove(&mut self, at: usize) {
        let peer = self.peers.remove(at);
        if peer.number > 0 {
            self.changes.push(Change::Removed { node: key(peer.by) });
        }
    }
}
