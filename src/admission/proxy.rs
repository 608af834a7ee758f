//! Parses the header of the PROXY protocol, version 2 (binary), with which a proxy names the client of a connection
//! before the first byte of HTTP. <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>, section 2.2.
//!
//! The parser is written by hand: sixteen bytes and two addresses are less code than the crates that know version 1 and
//! every extension, and because it says how much to read, the bytes that follow stay in the socket. Extensions are
//! skipped, their checksum included. Nothing of a header is ever logged.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

/// The first bytes of every header. No HTTP request begins with them.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Length of the fixed part, which says how long the rest is.
pub const FIXED_BYTES: usize = 16;
/// Longest rest that is read. The addresses take at most 216 bytes, and proxies add a few hundred of extensions.
pub const MAX_REST_BYTES: usize = 4096;

/// A mistake in the first bytes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProxyError {
    /// The bytes are no header of version 2: a header of version 1, or the request of a client without a proxy.
    #[error("the connection does not begin with a PROXY protocol header of version 2")]
    Signature,
    /// The version, command, address family or transport does not exist.
    #[error("the PROXY protocol header names something unknown")]
    Unknown,
    /// The rest is longer than [`MAX_REST_BYTES`].
    #[error("the PROXY protocol header is longer than {MAX_REST_BYTES} bytes")]
    TooLong,
    /// The rest is too short for the addresses of its family.
    #[error("the PROXY protocol header is too short for its addresses")]
    TooShort,
}

/// The contents of the fixed part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    family: Family,
    /// Number of bytes that follow, at most [`MAX_REST_BYTES`].
    pub rest_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
    /// The proxy speaks for itself (LOCAL, a health check), or the address is no IP address (UNSPEC, UNIX).
    None,
}

/// Returns true as long as `bytes`, the first of a connection, may become a header. A peer that sends other bytes is
/// not waited for.
#[must_use]
pub fn may_begin(bytes: &[u8]) -> bool {
    let known = bytes.len().min(SIGNATURE.len());
    bytes[..known] == SIGNATURE[..known]
}

/// Parses the fixed part.
///
/// # Errors
/// The bytes are no good header. The connection has to be closed.
pub fn parse_fixed(fixed: &[u8; FIXED_BYTES]) -> Result<Announced, ProxyError> {
    if !may_begin(fixed) {
        return Err(ProxyError::Signature);
    }
    let [version_command, family_transport, length @ ..] = [fixed[12], fixed[13], fixed[14], fixed[15]];
    let is_local = match version_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(ProxyError::Unknown),
    };
    let family = match (family_transport >> 4, family_transport & 0x0f) {
        // The rest of a LOCAL header is ignored.
        _ if is_local => Family::None,
        (1, 1 | 2) => Family::V4,
        (2, 1 | 2) => Family::V6,
        (0, 0..=2) | (3, 1 | 2) => Family::None,
        _ => return Err(ProxyError::Unknown),
    };
    let rest_bytes = usize::from(u16::from_be_bytes(length));
    if rest_bytes > MAX_REST_BYTES {
        return Err(ProxyError::TooLong);
    }
    Ok(Announced { family, rest_bytes })
}

impl Announced {
    /// Parses the client's address from the rest; returns `None` where the proxy names none, so that the connection is
    /// its own.
    ///
    /// # Errors
    /// [`ProxyError::TooShort`].
    pub fn source(self, rest: &[u8]) -> Result<Option<IpAddr>, ProxyError> {
        // The rest holds the addresses of source and destination, then both ports.
        match self.family {
            Family::None => Ok(None),
            Family::V4 if rest.len() >= 12 => {
                Ok(rest.first_chunk().map(|a: &[u8; 4]| Ipv4Addr::from(*a).into()))
            }
            Family::V6 if rest.len() >= 36 => {
                Ok(rest.first_chunk().map(|a: &[u8; 16]| IpAddr::from(Ipv6Addr::from(*a)).to_canonical()))
            }
            Family::V4 | Family::V6 => Err(ProxyError::TooShort),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = (rest.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[version_command, family], &length, rest].concat()
    }

    fn parse(bytes: &[u8]) -> Result<Option<IpAddr>, ProxyError> {
        let (fixed, rest) = bytes.split_first_chunk().unwrap();
        let announced = parse_fixed(fixed)?;
        announced.source(&rest[..announced.rest_bytes])
    }

    const V4: [u8; 12] = [203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x67, 0, 80];

    fn v6(address: &str) -> Vec<u8> {
        let address: Ipv6Addr = address.parse().unwrap();
        [&address.octets()[..], &[0; 20]].concat()
    }

    #[test]
    fn the_client_is_read_or_the_header_is_refused() {
        let v4 = Ok(Some("203.0.113.9".parse().unwrap()));
        let with_extensions = [&V4[..], &[0x03, 0, 4, 1, 2, 3, 4], &[0; 200]].concat();
        let unix = [1; 216];
        for (bytes, expected) in [
            (header(0x21, 0x11, &V4), v4),
            (header(0x21, 0x12, &V4), v4),
            (header(0x21, 0x11, &with_extensions), v4),
            (header(0x21, 0x21, &v6("2001:db8::7")), Ok(Some("2001:db8::7".parse().unwrap()))),
            (header(0x21, 0x21, &v6("::ffff:203.0.113.9")), v4),
            // The proxy's own connection, whatever the rest holds; addresses that are no IP addresses.
            (header(0x20, 0x00, &[]), Ok(None)),
            (header(0x20, 0x11, &V4), Ok(None)),
            (header(0x20, 0xff, &[1, 2, 3]), Ok(None)),
            (header(0x21, 0x00, &[]), Ok(None)),
            (header(0x21, 0x00, &[0; 30]), Ok(None)),
            (header(0x21, 0x31, &unix), Ok(None)),
            // Wrong.
            (header(0x11, 0x11, &V4), Err(ProxyError::Unknown)),
            (header(0x22, 0x11, &V4), Err(ProxyError::Unknown)),
            (header(0x31, 0x11, &V4), Err(ProxyError::Unknown)),
            (header(0x21, 0x10, &V4), Err(ProxyError::Unknown)),
            (header(0x21, 0x13, &V4), Err(ProxyError::Unknown)),
            (header(0x21, 0x41, &V4), Err(ProxyError::Unknown)),
            (header(0x21, 0x11, &V4[..11]), Err(ProxyError::TooShort)),
            (header(0x21, 0x11, &[]), Err(ProxyError::TooShort)),
            (header(0x21, 0x21, &V4), Err(ProxyError::TooShort)),
            (header(0x21, 0x11, &[0; MAX_REST_BYTES]), Ok(Some(Ipv4Addr::UNSPECIFIED.into()))),
            (header(0x21, 0x11, &[0; MAX_REST_BYTES + 1]), Err(ProxyError::TooLong)),
            (header(0x20, 0x00, &[0; 65_535]), Err(ProxyError::TooLong)),
            (b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\r\n".to_vec(), Err(ProxyError::Signature)),
            (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), Err(ProxyError::Signature)),
        ] {
            assert_eq!(parse(&bytes), expected, "{:?}", &bytes[..bytes.len().min(40)]);
        }
    }

    #[test]
    fn the_first_wrong_byte_is_enough() {
        let right = header(0x21, 0x11, &V4);
        assert!((0..=right.len()).all(|length| may_begin(&right[..length])));
        for at in 0..SIGNATURE.len() {
            let mut wrong = right.clone();
            wrong[at] ^= 0x20;
            assert!(may_begin(&wrong[..at]) && !may_begin(&wrong[..=at]), "{at}");
        }
    }
}
