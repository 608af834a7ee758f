//! Reads from a certificate (X.509, RFC 5280) what an operator asks about: its names, and the time in which it holds.
//! Signatures are not checked here.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// The time in which a certificate holds, both ends included (RFC 5280, section 4.1.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub from: SystemTime,
    /// The last moment.
    pub until: SystemTime,
}

impl Validity {
    /// Returns true when the certificate holds at `now`.
    #[must_use]
    pub fn contains(&self, now: SystemTime) -> bool {
        (self.from..=self.until).contains(&now)
    }

    /// Returns the time in which both certificates hold.
    pub(super) fn intersect(self, other: Self) -> Self {
        Self { from: self.from.max(other.from), until: self.until.min(other.until) }
    }

    /// Returns the last moment in seconds since the Unix epoch.
    #[must_use]
    pub fn until_unix_s(&self) -> u64 {
        self.until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
    }
}

/// The parts of a certificate that are looked at.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) validity: Validity,
    /// The DNS names in lower case, of which the first label may be `*`, and the IP addresses.
    pub(super) names: Vec<String>,
    /// The name of the one that it is for, as RFC 4514 writes it.
    pub(super) subject: String,
    /// The name of the authority that signed it.
    pub(super) issuer: String,
}

/// Reads a certificate in DER.
///
/// # Errors
/// It cannot be parsed; the text says why.
pub(super) fn read(der: &[u8]) -> Result<Facts, String> {
    let certificate = Certificate::from_der(der).map_err(|error| error.to_string())?.tbs_certificate;
    let names = certificate.get::<SubjectAltName>().map_err(|error| error.to_string())?;
    let names = names.map(|(_, names)| names.0).unwrap_or_default();
    let at = |time: x509_cert::time::Time| SystemTime::UNIX_EPOCH + time.to_unix_duration();
    Ok(Facts {
        validity: Validity {
            from: at(certificate.validity.not_before),
            until: at(certificate.validity.not_after),
        },
        names: names.iter().filter_map(shown).collect(),
        subject: certificate.subject.to_string(),
        issuer: certificate.issuer.to_string(),
    })
}

/// Returns a DNS name or an IP address as text; other kinds of names are not asked for in TLS.
fn shown(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}
