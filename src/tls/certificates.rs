//! The certificates of a running server: each handshake gets the one for the name that the client asks for, and a
//! reload replaces all of them at once.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use thiserror::Error;

use super::identity::{Identity, IdentityError, Pair};
use crate::live::Live;

/// Why certificates were not replaced. Those in force stay.
#[derive(Debug, Error)]
pub enum ReplaceError {
    /// The files of one certificate are wrong.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The certificate in the file does not hold now, while that in force does.
    #[error(
        "the certificate in {file} does not hold now: it holds from {from} until {until} (seconds since 1970)"
    )]
    NotNow {
        /// The file.
        file: String,
        /// The first second in which it holds, since the Unix epoch.
        from: u64,
        /// The last second in which it holds, since the Unix epoch.
        until: u64,
    },
}

/// The certificates of a server. Handshakes read them without waiting.
pub struct Certificates(Live<Table>);

impl Certificates {
    /// Reads certificates and keys. The first pair is for clients that name no server or an unknown one.
    ///
    /// # Errors
    /// The files of one pair are wrong. A certificate that has expired is accepted, because a server with it may still
    /// be reached by clients that know it.
    pub fn load(pairs: impl IntoIterator<Item = Pair>) -> Result<Self, IdentityError> {
        Table::load(pairs).map(|table| Self(Live::new(table)))
    }

    /// Reads certificates and keys, and uses them for all handshakes from now on. Connections stay as they are.
    ///
    /// # Errors
    /// The files of one pair are wrong, or a certificate does not hold at `now` while that of the same place does. All
    /// certificates in force stay then.
    pub fn replace(
        &self,
        pairs: impl IntoIterator<Item = Pair>,
        now: SystemTime,
    ) -> Result<(), ReplaceError> {
        let table = Table::load(pairs)?;
        let old = self.0.share();
        for (identity, old) in table.identities.iter().zip(&old.identities) {
            let validity = identity.validity;
            if old.validity.contains(now) && !validity.contains(now) {
                let seconds =
                    |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
                return Err(ReplaceError::NotNow {
                    file: identity.pair.cert_file.display().to_string(),
                    from: seconds(validity.from),
                    until: seconds(validity.until),
                });
            }
        }
        self.0.replace(table);
        Ok(())
    }

    /// Returns the certificates in force, in the order of their pairs.
    #[must_use]
    pub fn identities(&self) -> Vec<Arc<Identity>> {
        self.0.read().identities.clone()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = self.0.read();
        let can_sign =
            |at: &&usize| table.identities[**at].key.key.choose_scheme(hello.signature_schemes()).is_some();
        let candidates = hello.server_name().map_or(&[][..], |name| table.find(name));
        // Without a key that this client accepts, the handshake fails in the same way with any of them.
        let at = candidates.iter().find(can_sign).or(candidates.first()).copied().unwrap_or(0);
        table.identities.get(at).map(|identity| Arc::clone(&identity.key))
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificates").finish_non_exhaustive()
    }
}

/// Identities, and the way from a name to those that are for it.
struct Table {
    identities: Vec<Arc<Identity>>,
    /// Names in lower case as certificates have them, `*.example.org` included. Several certificates of one name have
    /// keys of different algorithms.
    by_name: HashMap<String, Vec<usize>>,
}

impl Table {
    fn load(pairs: impl IntoIterator<Item = Pair>) -> Result<Self, IdentityError> {
        let identities: Result<Vec<_>, _> =
            pairs.into_iter().map(|pair| Identity::load(pair).map(Arc::new)).collect();
        let identities = identities?;
        let mut by_name: HashMap<_, Vec<_>> = HashMap::new();
        for (index, identity) in identities.iter().enumerate() {
            for name in &identity.names {
                by_name.entry(name.clone()).or_default().push(index);
            }
        }
        Ok(Self { identities, by_name })
    }

    /// Returns the certificates for a name: those that have exactly this one, or else those with a `*` in place of its
    /// first label (RFC 9525, section 6.3).
    fn find(&self, name: &str) -> &[usize] {
        let name = name.to_ascii_lowercase();
        let exact = self.by_name.get(&name);
        let wildcard = || self.by_name.get(&format!("*.{}", name.split_once('.')?.1));
        exact.or_else(wildcard).map_or(&[], Vec::as_slice)
    }
}
