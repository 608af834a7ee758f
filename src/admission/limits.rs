//! Limits the connections of one address, and the handshakes that it may make per second.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

use super::Refusal;
use super::address::Net;
use crate::striped::Striped;

/// Parts with a lock of their own: addresses rarely meet, and a part is looked through in microseconds.
const STRIPES: usize = 256;
/// Addresses whose handshakes are remembered in one part; 1,048,576 in all. They are forgotten within two seconds, and
/// no machine accepts that many connections in so short a time.
const MAX_SEEN: usize = 4096;
/// Number of calls of [`AddressLimits::forget`] that together visit the whole table.
pub const FORGET_TURNS: usize = 10;

const SECOND_NS: u64 = 1_000_000_000;
const MS_NS: u64 = 1_000_000;

/// The counters of all addresses, shared by all threads. Addresses are hashed with a random key, so that an attacker
/// cannot choose addresses that meet in one part of the table.
#[derive(Debug)]
pub struct AddressLimits {
    max_connections: AtomicUsize,
    /// Handshakes per second; 0 means that they are not counted.
    handshakes_per_second: AtomicU64,
    max_seen: usize,
    stripes: Striped<Mutex<Stripe>, STRIPES>,
}

#[derive(Debug, Default)]
struct Stripe {
    /// Number of open connections of each address that has any.
    connections: HashMap<Net, usize>,
    /// The time at which the handshakes of an address are paid for, in nanoseconds since the clock began: a token
    /// bucket in one number (the generic cell rate algorithm). An address that has paid equals one that is not in the
    /// table.
    paid_ns: HashMap<Net, u64>,
}

impl AddressLimits {
    /// Allows each address `max_connections` connections and `handshakes_per_second` handshakes per second, as many of
    /// these at once; 0 means no limit.
    #[must_use]
    pub fn new(max_connections: usize, handshakes_per_second: usize) -> Arc<Self> {
        Arc::new(Self {
            max_connections: AtomicUsize::new(max_connections),
            handshakes_per_second: AtomicU64::new(handshakes_per_second as u64),
            max_seen: MAX_SEEN,
            stripes: Striped::default(),
        })
    }

    /// Changes the limits. Connections that were made while there was no limit are not counted.
    pub fn set(&self, max_connections: usize, handshakes_per_second: usize) {
        self.max_connections.store(max_connections, Relaxed);
        self.handshakes_per_second.store(handshakes_per_second as u64, Relaxed);
    }

    /// Returns the time that one handshake costs, and the time that an address may owe, which is one second's worth of
    /// handshakes; `None` where handshakes are not counted.
    fn prices(&self) -> Option<(u64, u64)> {
        let per_second = self.handshakes_per_second.load(Relaxed);
        let handshake_ns = (per_second > 0).then(|| SECOND_NS.div_ceil(per_second))?;
        Some((handshake_ns, handshake_ns * per_second))
    }

    /// Counts a handshake. `now_ms` is the time of the server's clock.
    ///
    /// # Errors
    /// [`Refusal::HandshakesPerAddress`], which costs the address nothing, or [`Refusal::AtCapacity`] when the table
    /// has no space for another address.
    pub fn handshake(&self, net: Net, now_ms: u64) -> Result<(), Refusal> {
        let Some((handshake_ns, credit_ns)) = self.prices() else { return Ok(()) };
        let now_ns = now_ms * MS_NS;
        let mut stripe = self.stripes.lock(&net);
        let seen = stripe.paid_ns.len();
        match stripe.paid_ns.get_mut(&net) {
            Some(paid_ns) => {
                let next_ns = now_ns.max(*paid_ns) + handshake_ns;
                if next_ns > now_ns + credit_ns {
                    return Err(Refusal::HandshakesPerAddress);
                }
                *paid_ns = next_ns;
            }
            None if seen >= self.max_seen => return Err(Refusal::AtCapacity),
            None => {
                stripe.paid_ns.insert(net, now_ns + handshake_ns);
            }
        }
        Ok(())
    }

    /// Takes back the count of a handshake, because none was made.
    pub fn forgive(&self, net: Net) {
        let Some((handshake_ns, _)) = self.prices() else { return };
        // An address that was forgotten owes nothing.
        if let Some(paid_ns) = self.stripes.lock(&net).paid_ns.get_mut(&net) {
            *paid_ns = paid_ns.saturating_sub(handshake_ns);
        }
    }

    /// Counts a connection for as long as the lease lives; returns `None` where connections are not limited. The table
    /// never holds more addresses than there are connections.
    ///
    /// # Errors
    /// [`Refusal::ConnectionsPerAddress`].
    pub fn connect(self: &Arc<Self>, net: Net) -> Result<Option<AddressLease>, Refusal> {
        let max_connections = self.max_connections.load(Relaxed);
        if max_connections == 0 {
            return Ok(None);
        }
        let mut stripe = self.stripes.lock(&net);
        let count = stripe.connections.entry(net).or_default();
        // An existing count is at least 1, and so is the limit: a refusal leaves no new entry behind.
        if *count >= max_connections {
            return Err(Refusal::ConnectionsPerAddress);
        }
        *count += 1;
        Ok(Some(AddressLease { limits: Arc::clone(self), net }))
    }

    /// Forgets the addresses whose handshakes are paid for, in one of [`FORGET_TURNS`] parts of the table: to be called
    /// with 0, 1, 2… about ten times a second.
    pub fn forget(&self, turn: usize, now_ms: u64) {
        let now_ns = now_ms * MS_NS;
        for stripe in self.stripes.iter().skip(turn % FORGET_TURNS).step_by(FORGET_TURNS) {
            let paid_ns = &mut stripe.lock().paid_ns;
            paid_ns.retain(|_, paid_ns| *paid_ns > now_ns);
            if paid_ns.is_empty() {
                paid_ns.shrink_to_fit();
            }
        }
    }

    /// Returns a hash of the address, with a random key of this process.
    #[must_use]
    pub fn hash(&self, net: Net) -> u32 {
        (self.stripes.hash(&net) >> 32) as u32
    }

    fn disconnect(&self, net: Net) {
        let mut stripe = self.stripes.lock(&net);
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

/// Counts one connection of an address until it is dropped.
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

    /// Returns the numbers of addresses in the table: with connections, and with handshakes.
    fn entries(limits: &AddressLimits) -> (usize, usize) {
        let sum = |count: fn(&Stripe) -> usize| limits.stripes.sum(count);
        (sum(|stripe| stripe.connections.len()), sum(|stripe| stripe.paid_ns.len()))
    }

    #[test]
    fn each_address_has_its_connections_and_gives_them_back() {
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
        // Refusals cost nothing: one more handshake is allowed after each quarter of a second.
        assert!(!knock(1, 249) && knock(1, 250) && !knock(1, 250) && !knock(1, 499) && knock(1, 500));
        assert_eq!(limits.handshake(net(1), 500), Err(Refusal::HandshakesPerAddress));
        // After a pause four handshakes are allowed again, and not more.
        assert!((0..4).all(|_| knock(1, 60_000)) && !knock(1, 60_000));
    }

    #[test]
    fn a_handshake_that_was_none_is_taken_back() {
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
    fn an_address_that_has_paid_is_forgotten() {
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
        let capacity: usize = limits.stripes.sum(|stripe| stripe.paid_ns.capacity());
        assert_eq!(capacity, 0, "the memory is released, too");
    }

    #[test]
    fn the_table_of_handshakes_is_bounded() {
        let mut limits = AddressLimits::new(0, 1);
        Arc::get_mut(&mut limits).expect("nobody else has it").max_seen = 4;
        let mut refused = 0;
        // More addresses than the table has space for; which part of it fills up first is random.
        let tried = 8 * STRIPES;
        for number in 0..tried as u32 {
            refused += usize::from(limits.handshake(net(number), 0) == Err(Refusal::AtCapacity));
        }
        let (_, seen) = entries(&limits);
        assert!(seen <= 4 * STRIPES && seen + refused == tried, "{refused} refused, {seen} remembered");
        let known = limits.handshake(net(0), 1_000);
        assert_eq!(known, Ok(()), "a known address is not turned away");
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
