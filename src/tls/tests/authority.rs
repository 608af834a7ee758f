//! An authority that signs certificates for tests.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::super::{Certificates, Pair, ServerConfig, server_config};

pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key in PEM.
pub(super) struct Issued {
    pub(super) certificate: String,
    pub(super) key: String,
    pub(super) der: (CertificateDer<'static>, PrivateKeyDer<'static>),
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "The Authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Signs a certificate for `names` that holds from the first to the second year.
    pub(super) fn issue(&self, names: &[&str], years: (i32, i32)) -> Issued {
        self.issue_for(names, years, KeyPair::generate().unwrap())
    }

    pub(super) fn issue_for(&self, names: &[&str], years: (i32, i32), key: KeyPair) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap()),
        }
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(super) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }
}

impl Issued {
    /// Writes both files into a folder.
    pub(super) fn write(&self, dir: &Path, name: &str) -> Pair {
        let pair =
            Pair { cert_file: dir.join(format!("{name}.crt")), key_file: dir.join(format!("{name}.key")) };
        std::fs::write(&pair.cert_file, &self.certificate).unwrap();
        std::fs::write(&pair.key_file, &self.key).unwrap();
        pair
    }
}

/// Returns the configuration of a server that is `localhost`.
pub(super) fn localhost(authority: &Authority, clients: Option<RootCertStore>) -> Arc<ServerConfig> {
    let dir = tempfile::tempdir().unwrap();
    let pair = authority.issue(&["localhost"], (2020, 2120)).write(dir.path(), "localhost");
    let certificates = Certificates::load([pair]).unwrap();
    Arc::new(server_config(Arc::new(certificates), clients).unwrap())
}
