//! Looks at the chain of a certificate as a client would: does it lead to an authority?

use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::UnixTime;
use rustls::server::ParsedCertificate;

use super::certificate;
use super::identity::Identity;

/// The end of a chain of certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chain {
    /// It leads to an authority that this machine trusts.
    Trusted,
    /// It leads to a certificate that has signed itself, which this machine does not trust.
    OwnAuthority {
        /// The name of that authority.
        name: String,
    },
    /// It ends before an authority that this machine knows: certificates may be missing.
    Open {
        /// The name of the authority that signed the last certificate.
        issuer: String,
    },
    /// A certificate is not signed by the next one in the file.
    Broken {
        /// The number of the certificate in the file, from 1.
        number: usize,
        /// The name of the authority that signed it.
        issuer: String,
    },
}

impl Identity {
    /// Follows the chain of the certificate to the authorities that this machine trusts. Blocks while those are read.
    #[must_use]
    pub fn follow_chain(&self) -> Chain {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        self.follow_chain_to(&roots)
    }

    pub(super) fn follow_chain_to(&self, roots: &RootCertStore) -> Chain {
        let chain = self.chain();
        // All of them could be parsed when the identity was loaded.
        let facts: Vec<_> =
            chain.iter().filter_map(|certificate| certificate::read(certificate).ok()).collect();
        for (number, pair) in (1..).zip(facts.windows(2)) {
            if pair[0].issuer != pair[1].subject {
                return Chain::Broken { number, issuer: pair[0].issuer.clone() };
            }
        }
        if self.is_trusted(roots) {
            return Chain::Trusted;
        }
        match facts.last() {
            Some(last) if last.issuer == last.subject => Chain::OwnAuthority { name: last.subject.clone() },
            last => Chain::Open { issuer: last.map(|last| last.issuer.clone()).unwrap_or_default() },
        }
    }

    fn is_trusted(&self, roots: &RootCertStore) -> bool {
        let Some((own, further)) = self.chain().split_first() else { return false };
        let algorithms = default_provider().signature_verification_algorithms.all;
        // Whether the certificate holds now is another question: one moment in which it does is asked about.
        let at = UnixTime::since_unix_epoch(
            self.validity.until.duration_since(std::time::UNIX_EPOCH).unwrap_or_default(),
        );
        let own = ParsedCertificate::try_from(own);
        own.is_ok_and(|own| {
            verify_server_cert_signed_by_trust_anchor(&own, roots, further, at, algorithms).is_ok()
        })
    }
}
