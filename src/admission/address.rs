//! Finds the client's address behind trusted proxies, and the part of it that the limits per address count.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

/// Most entries of `X-Forwarded-For` that are read, from the right: no chain of trusted proxies is longer.
const MAX_HOPS: usize = 32;

/// An entry of `admission.trusted_proxies` that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{entry:?} is not an IP address or a block like 10.0.0.0/8")]
pub struct BlockError {
    entry: String,
}

/// The unit of the limits per address: an IPv4 address, or the /64 that one customer of an IPv6 network has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Net {
    /// A whole IPv4 address.
    V4(Ipv4Addr),
    /// The upper half of an IPv6 address.
    V6(u64),
}

impl From<IpAddr> for Net {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// The proxies that are trusted to name the client's address. Without entries none is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Block>);

/// All addresses that agree with `address` in the first `bits` bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    address: IpAddr,
    bits: u32,
}

impl TrustedProxies {
    /// Reads the list from the configuration.
    ///
    /// # Errors
    /// The first entry that is neither an address nor a block.
    pub fn parse<S: AsRef<str>>(entries: &[S]) -> Result<Self, BlockError> {
        let read = |entry: &S| {
            let entry = entry.as_ref();
            Block::parse(entry).ok_or_else(|| BlockError { entry: entry.to_owned() })
        };
        entries.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Returns true when no proxy is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true when `address` is a trusted proxy.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|block| block.contains(address))
    }

    /// Returns the client's address: that of the peer, or, as long as that is a trusted proxy, the address that it
    /// names. `forwarded` are the values of all `X-Forwarded-For` headers in order. Each proxy adds the address of its
    /// peer at the right, so that entries left of the first untrusted address may be forged. An entry that is no
    /// address ends the search at the proxy that wrote it.
    #[must_use]
    pub fn client<'a>(&self, peer: IpAddr, forwarded: impl DoubleEndedIterator<Item = &'a [u8]>) -> IpAddr {
        let mut client = peer.to_canonical();
        let entries = forwarded.rev().flat_map(|value| value.rsplit(|byte| *byte == b','));
        // Lists may have empty elements (RFC 9110, section 5.6.1).
        for entry in entries.take(MAX_HOPS).map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty()) {
            if !self.contains(client) {
                break;
            }
            let Some(address) = parse_entry(entry) else { break };
            client = address;
        }
        client
    }
}

impl Block {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().ok()?;
        let widest = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(widest), |bits| bits.parse().ok())?;
        match (address, address.to_canonical()) {
            _ if bits > widest => None,
            // An IPv4 block in IPv6 writing: ::ffff:10.0.0.0/104.
            (IpAddr::V6(_), IpAddr::V4(inner)) if bits >= 96 => {
                Some(Self { address: inner.into(), bits: bits - 96 })
            }
            _ => Some(Self { address, bits }),
        }
    }

    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let differing = ours.to_bits() ^ theirs.to_bits();
                differing.leading_zeros() >= self.bits
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let differing = ours.to_bits() ^ theirs.to_bits();
                differing.leading_zeros() >= self.bits
            }
            _ => false,
        }
    }
}

/// Parses an address as proxies write it: alone, in brackets, or with a port.
fn parse_entry(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    let alone = || text.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::from);
    alone().or_else(with_port).or_else(bracketed).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let proxies = TrustedProxies::parse(trusted).unwrap();
        let values = forwarded.iter().map(|value| value.as_bytes());
        proxies.client(peer.parse().unwrap(), values).to_string()
    }

    #[test]
    fn only_trusted_peers_are_believed() {
        let trusted = &["10.0.0.0/8", "192.0.2.7", "fd00::/8"];
        for (peer, forwarded, expected) in [
            ("198.51.100.1", &["203.0.113.9"][..], "198.51.100.1"),
            ("10.1.2.3", &["203.0.113.9"], "203.0.113.9"),
            ("192.0.2.7", &["203.0.113.9"], "203.0.113.9"),
            ("192.0.2.8", &["203.0.113.9"], "192.0.2.8"),
            ("fd12::1", &["203.0.113.9"], "203.0.113.9"),
            ("fe80::1", &["203.0.113.9"], "fe80::1"),
            ("::ffff:10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            // Nothing is named.
            ("10.1.2.3", &[], "10.1.2.3"),
            ("10.1.2.3", &["", " , ,"], "10.1.2.3"),
            // The rightmost address that is not trusted; anybody may have written the entries left of it.
            ("10.1.2.3", &["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
            ("10.1.2.3", &["1.1.1.1, 203.0.113.9, 10.9.9.9, 192.0.2.7"], "203.0.113.9"),
            ("10.1.2.3", &["1.1.1.1", "203.0.113.9", "10.9.9.9"], "203.0.113.9"),
            ("10.1.2.3", &["203.0.113.9", "1.1.1.1, 10.9.9.9"], "1.1.1.1"),
            // All of them are trusted: the first one is the client.
            ("10.1.2.3", &["10.5.5.5, 10.6.6.6"], "10.5.5.5"),
            // Ports, brackets, mapped addresses, blanks.
            ("10.1.2.3", &["203.0.113.9:4711"], "203.0.113.9"),
            ("10.1.2.3", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.1.2.3", &["[2001:db8::1]"], "2001:db8::1"),
            ("10.1.2.3", &["2001:db8::1"], "2001:db8::1"),
            ("10.1.2.3", &["\t::ffff:203.0.113.9 "], "203.0.113.9"),
            // Garbage ends the search at the proxy that wrote it.
            ("10.1.2.3", &["unknown"], "10.1.2.3"),
            ("10.1.2.3", &["203.0.113.9, _hidden"], "10.1.2.3"),
            ("10.1.2.3", &["203.0.113.9, nonsense, 10.9.9.9"], "10.9.9.9"),
            ("10.1.2.3", &["nonsense, 203.0.113.9"], "203.0.113.9"),
            ("10.1.2.3", &["203.0.113.9:99999"], "10.1.2.3"),
            ("10.1.2.3", &["203.0.113.9\u{e4}"], "10.1.2.3"),
            ("10.1.2.3", &["[203.0.113.9]"], "10.1.2.3"),
        ] {
            assert_eq!(client(trusted, peer, forwarded), expected, "{peer} {forwarded:?}");
        }
        assert_eq!(client(&[], "10.1.2.3", &["203.0.113.9"]), "10.1.2.3", "nobody is trusted by default");
    }

    #[test]
    fn a_long_list_is_not_followed_for_ever() {
        let long = format!("203.0.113.9{}", ", 10.0.0.1".repeat(1000));
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.2", &[&long]), "10.0.0.1");
    }

    #[test]
    fn blocks_hold_what_agrees_in_the_first_bits() {
        for (block, inside, outside) in [
            ("10.0.0.0/8", &["10.0.0.0", "10.255.255.255"][..], &["11.0.0.0", "9.255.255.255"][..]),
            ("10.1.2.3/8", &["10.9.9.9"], &["11.1.2.3"]),
            ("10.0.0.0/31", &["10.0.0.1"], &["10.0.0.2"]),
            ("10.0.0.1", &["10.0.0.1", "::ffff:10.0.0.1"], &["10.0.0.0", "::a00:1"]),
            ("0.0.0.0/0", &["1.2.3.4", "255.255.255.255"], &["::1"]),
            ("::/0", &["::1", "ffff::"], &["1.2.3.4"]),
            ("2001:db8::/32", &["2001:db8:ffff::1"], &["2001:db9::"]),
            ("::1", &["::1"], &["::2", "127.0.0.1"]),
            ("::ffff:10.0.0.0/104", &["10.2.3.4"], &["11.0.0.0"]),
        ] {
            let proxies = TrustedProxies::parse(&[block]).unwrap();
            let holds = |address: &&str| proxies.contains(address.parse().unwrap());
            assert!(inside.iter().all(holds), "{block} {inside:?}");
            assert!(!outside.iter().any(holds), "{block} {outside:?}");
        }
        for bad in ["", "10.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "host"] {
            assert!(TrustedProxies::parse(&[bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_customer_is_one_net() {
        let net = |text: &str| Net::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(net("2001:db8:1:2::1"), net("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(net("2001:db8:1:2::1"), net("2001:db8:1:3::1"));
        assert_eq!(net("::ffff:192.0.2.1"), net("192.0.2.1"));
        assert_ne!(net("192.0.2.1"), net("192.0.2.2"));
        assert_ne!(net("::"), net("0.0.0.0"));
    }
}
