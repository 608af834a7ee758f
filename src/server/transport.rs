//! The way in which bytes travel over a listening address, and the address at which the machine itself reaches it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The way in which bytes travel over a listening address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    /// As they are.
    Plain,
    /// In records of TLS.
    Tls,
}

impl Transport {
    /// Returns TLS where `is_tls` holds.
    pub(super) fn tls_if(is_tls: bool) -> Self {
        if is_tls { Self::Tls } else { Self::Plain }
    }

    /// Returns the scheme of URLs: `http` or `https`.
    pub(super) fn scheme(self) -> &'static str {
        match self {
            Self::Plain => "http",
            Self::Tls => "https",
        }
    }
}

/// Returns the address at which the machine itself reaches a server that listens on `address`.
pub(crate) fn near(mut address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_all_is_reached_at_loopback() {
        for (bound, reached) in
            [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("192.0.2.1:80", "192.0.2.1:80")]
        {
            assert_eq!(near(bound.parse().unwrap()), reached.parse().unwrap());
        }
    }
}
