//! The sockets that are not upgraded yet: how many there may be, and which of them makes way for a newcomer.
//!
//! The tables belong to the acceptor alone and need no lock: who gives a place back tells the acceptor over a channel.
//! When all places are taken, the address with the most gives up its oldest socket that is waited for: one that has not
//! asked for anything yet, or asks for nothing more. So an address that holds places in silence holds them until others
//! want them; likewise one that has many who wait for somebody else's answer, which whoever owns both can have as slow
//! as it likes. Trusted proxies, whose sockets are those of many, make way behind all others.

mod ticket;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::{Instant, timeout};

pub(super) use self::ticket::{Doing, Ticket};
use crate::admission::address::Net;

/// How long a newcomer waits for a place where nobody makes way: all that are there are being served. When that was in
/// vain, the next ones do not wait.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long a socket may have been here without being sent away for another one of its own address, or of one that has
/// as many: a request is on its way when its connection is accepted.
const GRACE: Duration = Duration::from_millis(100);
/// Places beside the others, for those who got none: they may ask whether the server is well, and a load balancer that
/// is told so need not take it for dead. Each of a few balancers asks over one or two connections.
pub(super) const RESERVED: usize = 32;
/// Most of these that one address has: a browser loads a page over six connections, and may do so where its address is
/// over its limits. Four attackers leave none to others, for whom they have to make way.
const RESERVED_OF_ONE: usize = 8;
/// How many addresses, and sockets of each, are looked at for one that can make way: those that cannot are being
/// served, which is over in a moment.
const MAX_GROUPS: usize = 8;
const MAX_LOOKED: usize = 64;

/// Whose places are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Group {
    pub(super) net: Net,
    /// It speaks for many, and makes way last.
    pub(super) is_proxy: bool,
}

impl Group {
    /// That of a client, also as a proxy has named it: should that be the proxy, it speaks for itself.
    pub(super) fn of_client(client: IpAddr) -> Self {
        Self { net: client.into(), is_proxy: false }
    }
}

/// What the acceptor is told about a place.
#[derive(Debug)]
enum News {
    Free(u64),
    /// It belongs to somebody else than the proxy that the socket came from.
    Belongs(u64, Group),
}

/// A socket's place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    id: u64,
    ticket: Arc<Ticket>,
    news: Sender<News>,
}

impl Place {
    /// How its socket hears that it has to make way.
    pub(super) fn ticket(&self) -> &Arc<Ticket> {
        &self.ticket
    }

    /// The proxy has said whose connection it is.
    ///
    /// Once for each place, for which the queue has room.
    pub(super) fn belongs_to(&self, group: Group) {
        let _ = self.news.try_send(News::Belongs(self.id, group));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // There is room for it, unless the acceptor has ended, and with it the places.
        let _ = self.news.try_send(News::Free(self.id));
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Handshakes {
    places: Table,
    reserve: Table,
    next_id: u64,
    /// The last newcomer has waited for a place in vain.
    is_full: bool,
    /// Places that were given out and not given back; who made way has yet to give its own back.
    out: usize,
    /// Most of them, twice as many as there are.
    max_out: usize,
    /// Two for each place that is out.
    news: Receiver<News>,
    teller: Sender<News>,
}

impl Handshakes {
    pub(super) fn new(max: usize) -> Self {
        let max_out = 2 * (max + RESERVED);
        let (teller, news) = mpsc::channel(2 * max_out);
        let places = Table::new(max, max);
        let reserve = Table::new(RESERVED, RESERVED_OF_ONE);
        Self { places, reserve, next_id: 0, is_full: false, out: 0, max_out, news, teller }
    }

    /// A place for a newcomer, if need be that of somebody else; waits a moment where nobody can make way.
    ///
    /// # Cancel safety
    /// Nobody gets a place.
    pub(super) async fn place(&mut self, group: Group) -> Option<Place> {
        let began = Instant::now();
        let mut now = began;
        let mut has_waited = false;
        loop {
            self.hear();
            let is_free = !self.places.is_full();
            // So many may be out besides those of the reserve.
            let may_give = self.out < self.max_out - 2 * RESERVED;
            if may_give && self.places.make_space(group, now) {
                // Until a place is free without that somebody makes way, nobody waits again.
                self.is_full = !is_free && (self.is_full || has_waited);
                return Some(self.give(|handshakes| &mut handshakes.places, group, now));
            }
            let left = PATIENCE.saturating_sub(now - began);
            if self.is_full || left.is_zero() {
                self.is_full = true;
                return None;
            }
            has_waited = true;
            // Somebody may be done, or turn out to be somebody else's; or a socket has had its time.
            if let Ok(Some(news)) = timeout(left.min(GRACE), self.news.recv()).await {
                self.obey(news);
            }
            now = Instant::now();
        }
    }

    /// A place of the reserve, for who got none; at once or not at all.
    pub(super) fn reserved(&mut self, group: Group) -> Option<Place> {
        self.hear();
        let now = Instant::now();
        let has_space = self.out < self.max_out && self.reserve.make_space(group, now);
        has_space.then(|| self.give(|handshakes| &mut handshakes.reserve, group, now))
    }

    /// Gives a place of a table away.
    fn give(&mut self, table: impl FnOnce(&mut Self) -> &mut Table, group: Group, now: Instant) -> Place {
        let id = self.next_id;
        self.next_id += 1;
        self.out += 1;
        let ticket = Arc::<Ticket>::default();
        table(self).add(id, group, Waiting { ticket: Arc::clone(&ticket), since: now });
        Place { id, ticket, news: self.teller.clone() }
    }

    /// Takes in what is new.
    fn hear(&mut self) {
        while let Ok(news) = self.news.try_recv() {
            self.obey(news);
        }
    }

    fn obey(&mut self, news: News) {
        match news {
            News::Free(id) => {
                self.out -= 1;
                if !self.places.remove(id) {
                    self.reserve.remove(id);
                }
            }
            News::Belongs(id, group) => {
                if !self.places.belongs(id, group) {
                    self.reserve.belongs(id, group);
                }
            }
        }
    }
}

/// A socket that has a place.
#[derive(Debug)]
struct Waiting {
    ticket: Arc<Ticket>,
    since: Instant,
}

/// The sockets of a group by their ids, hence in the order of their coming.
type Crowd = BTreeMap<u64, Waiting>;

/// Who makes way first stands last: clients behind proxies, then those with more, then those with the older one.
type Rank = (bool, usize, std::cmp::Reverse<u64>);

/// Places, by groups.
#[derive(Debug)]
struct Table {
    max: usize,
    max_of_one: usize,
    /// Whose a place is. The ids are ours, and need no hash that is hard to guess.
    owners: FxHashMap<u64, Group>,
    /// None of them is empty. Hashed with a key of its own: clients pick their addresses.
    crowds: HashMap<Group, Crowd>,
    ranks: BTreeMap<Rank, Group>,
}

impl Table {
    fn new(max: usize, max_of_one: usize) -> Self {
        let (owners, crowds, ranks) = Default::default();
        Self { max, max_of_one, owners, crowds, ranks }
    }

    fn is_full(&self) -> bool {
        self.owners.len() >= self.max
    }

    fn of(&self, group: Group) -> usize {
        self.crowds.get(&group).map_or(0, BTreeMap::len)
    }

    fn add(&mut self, id: u64, group: Group, waiting: Waiting) {
        self.owners.insert(id, group);
        self.change(group, |crowd| crowd.insert(id, waiting));
    }

    /// False where there is no such place.
    fn remove(&mut self, id: u64) -> bool {
        let group = self.owners.remove(&id);
        group.is_some_and(|group| self.change(group, |crowd| crowd.remove(&id)).is_some())
    }

    /// Counts a place among those of another group, if there is such a place.
    fn belongs(&mut self, id: u64, group: Group) -> bool {
        let Some(owner) = self.owners.get_mut(&id) else { return false };
        let before = std::mem::replace(owner, group);
        if let Some(waiting) = self.change(before, |crowd| crowd.remove(&id)) {
            self.change(group, |crowd| crowd.insert(id, waiting));
        }
        true
    }

    /// Changes a crowd, and keeps its rank true.
    fn change<R>(&mut self, group: Group, change: impl FnOnce(&mut Crowd) -> R) -> R {
        let crowd = self.crowds.entry(group).or_default();
        if let Some(rank) = rank(group, crowd) {
            self.ranks.remove(&rank);
        }
        let changed = change(crowd);
        match rank(group, crowd) {
            Some(rank) => drop(self.ranks.insert(rank, group)),
            None => drop(self.crowds.remove(&group)),
        }
        changed
    }

    /// Makes sure that a newcomer can be added, if need be by having somebody make way.
    fn make_space(&mut self, newcomer: Group, now: Instant) -> bool {
        let own = self.of(newcomer);
        if own >= self.max_of_one && self.max_of_one < self.max {
            return false;
        }
        !self.is_full() || self.make_way(newcomer, own, now)
    }

    /// Sends away the oldest that can go of those with the most.
    fn make_way(&mut self, newcomer: Group, own: usize, now: Instant) -> bool {
        let chosen = self.ranks.values().rev().take(MAX_GROUPS).find_map(|group| {
            let crowd = self.crowds.get(group)?;
            let is_own = *group == newcomer;
            let grace = if crowd.len() > own && !is_own { Duration::ZERO } else { GRACE };
            // Who waits for somebody else goes for its own kind, or where the newcomer's stays smaller.
            let asks_too = crowd.len() > 1 && (is_own || crowd.len() > own + 1);
            let mut oldest = crowd.iter().take(MAX_LOOKED);
            let found = oldest
                .find(|(_, waiting)| waiting.since + grace <= now && waiting.ticket.can_make_way(asks_too));
            found.map(|(id, waiting)| (*id, Arc::clone(&waiting.ticket)))
        });
        chosen.is_some_and(|(id, ticket)| {
            ticket.make_way();
            self.remove(id)
        })
    }
}

fn rank(group: Group, crowd: &Crowd) -> Option<Rank> {
    let (oldest, _) = crowd.first_key_value()?;
    Some((!group.is_proxy, crowd.len(), std::cmp::Reverse(*oldest)))
}

#[cfg(test)]
mod tests;
