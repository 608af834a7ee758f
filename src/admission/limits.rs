//! How many connections one address may hold, and how often it may knock.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Refusal;
use super::address::Net;

/// Parts with a lock of their own: addresses rarely meet, and a part is looked through in microseconds.
const STRIPES: usize = 256;
/// Addresses whose handshakes are remembered in one part; 1,048,576 in all. They are forgotten within two seconds, and
/// no machine accepts that many connections in so short a time.
const MAX_SEEN: usize = 4096;
/// How many calls of [`AddressLimits::forget`] look at every part once.
pub const FORGET_TURNS: usize = 10;

const SECOND_NS: u64 = 1_000_000_000;
const MS_NS: u64 = 1_000_000;

/// The counters of all addresses, shared by all threads. Hashed with a key of its own: who picks their addresses must
/// not pick their places.
#[derive(Debug)]
pub struct AddressLimits {
    max_connections: usize,
    /// What one handshake costs; 0: nothing is counted.
    handshake_ns: u64,
    /// What an address may owe: as many handshakes as make a second.
    credit_ns: u64,
    max_seen: usize,
    hasher: RandomState,
    stripes: Box<[Mutex<Stripe>]>,
}

#[derive(Debug, Default)]
struct Stripe {
    /// Open connections, of those who have any.
    connections: HashMap<Net, usize>,
    /// When the handshakes made so far are paid for, in nanoseconds since the clock began (a token bucket written as
    /// one number: the generic cell rate algorithm). Whoever has paid equals who was never here.
    paid_ns: HashMap<Net, u64>,
}

impl AddressLimits {
    /// At most `max_connections` at once and `handshakes_per_second`, as many of these at once, for each address; 0 is
    /// no limit.
    #[must_use]
    pub fn new(max_connections: usize, handshakes_per_second: usize) -> Arc<Self> {
        let handshakes = handshakes_per_second as u64;
        let handshake_ns = if handshakes == 0 { 0 } else { SECOND_NS.div_ceil(handshakes) };
        Arc::new(Self {
            max_connections,
            handshake_ns,
            credit_ns: handshake_ns * handshakes,
            max_seen: MAX_SEEN,
            hasher: RandomState::new(),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
        })
    }

    /// Counts a handshake. `now_ms` is what the clock shows, as everywhere here.
    ///
    /// # Errors
    /// [`Refusal::HandshakesPerAddress`], which costs the address nothing; [`Refusal::AtCapacity`] where so many other
    /// addresses are remembered that this one would have no place.
    pub fn handshake(&self, net: Net, now_ms: u64) -> Result<(), Refusal> {
        if self.handshake_ns == 0 {
            return Ok(());
        }
        let now_ns = now_ms * MS_NS;
        let mut stripe = self.stripe(net).lock();
        let seen = stripe.paid_ns.len();
        match stripe.paid_ns.get_mut(&net) {
            Some(paid_ns) => {
                let next_ns = now_ns.max(*paid_ns) + self.handshake_ns;
                if next_ns > now_ns + self.credit_ns {
                    return Err(Refusal::HandshakesPerAddress);
                }
                *paid_ns = next_ns;
            }
            None if seen >= self.max_seen => return Err(Refusal::AtCapacity),
            None => {
                stripe.paid_ns.insert(net, now_ns + self.handshake_ns);
            }
        }
        Ok(())
    }

    /// Takes back that a handshake was counted: it was none.
    pub fn forgive(&self, net: Net) {
        if self.handshake_ns == 0 {
            return;
        }
        // Who has been forgotten owes nothing.
        if let Some(paid_ns) = self.stripe(net).lock().paid_ns.get_mut(&net) {
            *paid_ns = paid_ns.saturating_sub(self.handshake_ns);
        }
    }

    /// Counts a connection for as long as the lease lives; there is none where nothing is limited. There are never more
    /// addresses here than connections.
    ///
    /// # Errors
    /// [`Refusal::ConnectionsPerAddress`].
    pub fn connect(self: &Arc<Self>, net: Net) -> Result<Option<AddressLease>, Refusal> {
        if self.max_connections == 0 {
            return Ok(None);
        }
        let mut stripe = self.stripe(net).lock();
        let count = stripe.connections.entry(net).or_default();
        // A count that is there is at least 1, and so is the limit: nothing is left behind.
        if *count >= self.max_connections {
            return Err(Refusal::ConnectionsPerAddress);
        }
        *count += 1;
        Ok(Some(AddressLease { limits: Arc::clone(self), net }))
    }

    /// Forgets the handshakes that are paid for, in one of [`FORGET_TURNS`] parts of the table: call it with 0, 1, 2…
    /// some ten times a second.
    pub fn forget(&self, turn: usize, now_ms: u64) {
        if self.handshake_ns == 0 {
            return;
        }
        let now_ns = now_ms * MS_NS;
        for stripe in self.stripes.iter().skip(turn % FORGET_TURNS).step_by(FORGET_TURNS) {
            let paid_ns = &mut stripe.lock().paid_ns;
            paid_ns.retain(|_, paid_ns| *paid_ns > now_ns);
            if paid_ns.is_empty() {
                paid_ns.shrink_to_fit();
            }
        }
    }

    /// A hash of the address, with a key of this process.
    #[must_use]
    pub fn hash(&self, net: Net) -> u32 {
        (self.hasher.hash_one(net) >> 32) as u32
    }

    fn stripe(&self, net: Net) -> &Mutex<Stripe> {
        &self.stripes[self.hasher.hash_one(net) as usize % STRIPES]
    }

    fn disconnect(&self, net: Net) {
        let mut stripe = self.stripe(net).lock();
        let Some(count) = stripe.connections.get_mut(&net) else {
            debug_assert!(false, "a lease without a count");
            return;
        };
        *count -= 1;
        if *count == 0 {
            stripe.connections.remove(&net);
        }
    }
}

/// A connection's place among those of its address; dropping it gives the place back.
#[derive(Debug)]
pub struct AddressLease {
    limits: Arc<AddressLimits>,
    net: Net,
}

impl Drop for AddressLease {
    fn drop(&mut self) {
        self.limits.disconnect(self.net);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn net(number: u32) -> Net {
        Net::from(IpAddr::from(Ipv4Addr::from_bits(number)))
    }

    /// How many addresses are remembered: connected, and for their handshakes.
    fn entries(limits: &AddressLimits) -> (usize, usize) {
        let sum = |count: fn(&Stripe) -> usize| limits.stripes.iter().map(|part| count(&part.lock())).sum();
        (sum(|stripe| stripe.connections.len()), sum(|stripe| stripe.paid_ns.len()))
    }

    #[test]
    fn each_address_has_its_places_and_gives_them_back() {
        let limits = AddressLimits::new(2, 0);
        let first = limits.connect(net(1)).unwrap().unwrap();
        let second = limits.connect(net(1)).unwrap().unwrap();
        assert_eq!(limits.connect(net(1)).unwrap_err(), Refusal::ConnectionsPerAddress);
        let other = limits.connect(net(2)).unwrap().unwrap();
        drop(first);
        let third = limits.connect(net(1)).unwrap().unwrap();
        assert_eq!(limits.connect(net(1)).unwrap_err(), Refusal::ConnectionsPerAddress);
        assert_eq!(entries(&limits), (2, 0));
        drop((second, third, other));
        assert_eq!(entries(&limits), (0, 0), "empty when all have gone");
    }

    #[test]
    fn handshakes_come_at_once_and_then_at_their_rate() {
        let limits = AddressLimits::new(0, 4);
        let knock = |number, ms| limits.handshake(net(number), ms).is_ok();
        assert!((0..4).all(|_| knock(1, 0)) && !knock(1, 0), "four at once");
        assert!(knock(2, 0), "another address is another matter");
        // Refusals cost nothing: one place comes back in each quarter of a second.
        assert!(!knock(1, 249) && knock(1, 250) && !knock(1, 250) && !knock(1, 499) && knock(1, 500));
        assert_eq!(limits.handshake(net(1), 500), Err(Refusal::HandshakesPerAddress));
        // After a silence, four again and not more.
        assert!((0..4).all(|_| knock(1, 60_000)) && !knock(1, 60_000));
    }

    #[test]
    fn what_was_no_handshake_is_taken_back() {
        let limits = AddressLimits::new(0, 2);
        for _ in 0..10 {
            limits.handshake(net(1), 0).unwrap();
            limits.forgive(net(1));
            limits.forgive(net(2));
        }
        let passed = (0..5).filter(|_| limits.handshake(net(1), 0).is_ok()).count();
        assert_eq!((passed, entries(&limits)), (2, (0, 1)));
    }

    #[test]
    fn a_rate_that_does_not_divide_a_second_is_kept() {
        for rate in [1, 3, 7, 60, 999, 1_000_000] {
            let limits = AddressLimits::new(0, rate);
            let passed = (0..=rate).take_while(|_| limits.handshake(net(1), 0).is_ok()).count();
            assert_eq!(passed, rate);
        }
    }

    #[test]
    fn who_has_paid_is_forgotten() {
        let limits = AddressLimits::new(0, 2);
        let numbers = 0..1000;
        for number in numbers.clone() {
            limits.handshake(net(number), 0).unwrap();
        }
        let forget = |ms| (0..FORGET_TURNS).for_each(|t| limits.forget(t, ms));
        forget(499);
        assert_eq!(entries(&limits), (0, 1000));
        forget(500);
        assert_eq!(entries(&limits), (0, 0));
        let capacity: usize = limits.stripes.iter().map(|part| part.lock().paid_ns.capacity()).sum();
        assert_eq!(capacity, 0, "the memory goes, too");
    }

    #[test]
    fn the_table_of_handshakes_is_bounded() {
        let mut limits = AddressLimits::new(0, 1);
        Arc::get_mut(&mut limits).expect("nobody else has it").max_seen = 4;
        let mut refused = 0;
        // More than there is place for; which part fills up first, chance decides.
        let tried = 8 * STRIPES;
        for number in 0..tried as u32 {
            refused += usize::from(limits.handshake(net(number), 0) == Err(Refusal::AtCapacity));
        }
        let (_, seen) = entries(&limits);
        assert!(seen <= 4 * STRIPES && seen + refused == tried, "{refused} refused, {seen} remembered");
        let known = limits.handshake(net(0), 1_000);
        assert_eq!(known, Ok(()), "who has a place is not turned away");
    }

    #[test]
    fn no_limit_counts_nothing() {
        let limits = AddressLimits::new(0, 0);
        for _ in 0..100 {
            assert_eq!(limits.handshake(net(1), 0), Ok(()));
            assert!(limits.connect(net(1)).unwrap().is_none());
        }
        assert_eq!(entries(&limits), (0, 0));
    }

    #[test]
    fn threads_agree_on_the_limit() {
        let limits = AddressLimits::new(8, 0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let held: Vec<_> = (0..4).filter_map(|_| limits.connect(net(1)).ok()).collect();
                        let (addresses, _) = entries(&limits);
                        assert!(addresses <= 1 && held.len() <= 4);
                    }
                });
            }
        });
        assert_eq!(entries(&limits), (0, 0));
    }
}
