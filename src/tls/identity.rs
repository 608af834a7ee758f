//! A certificate with its chain and its private key, from two files in PEM.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use thiserror::Error;

use super::certificate::{self, Facts, Validity};

/// Largest file in bytes. A chain has a few KiB.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Most certificates in a chain. Clients refuse chains that are longer than a few.
const MAX_CHAIN: usize = 16;

/// The two files of an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate of the server, followed by those that lead to an authority, in PEM.
    pub cert_file: PathBuf,
    /// The private key of the first certificate in PEM.
    pub key_file: PathBuf,
}

/// Why two files are no identity. The text names the file, what is wrong, and what is needed.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A file is not what it has to be.
    #[error("{}: {problem}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The mistake in it.
        problem: String,
    },
    /// The key is not that of the first certificate.
    #[error(
        "the key in {} is not the key of the first certificate in {}: the server's own certificate has to stand first, \
         and both files have to be from the same issue", key_file.display(), cert_file.display()
    )]
    OtherKey {
        /// The file with the certificates.
        cert_file: PathBuf,
        /// The file with the key.
        key_file: PathBuf,
    },
}

/// A certificate with its chain and its private key, ready for handshakes.
#[derive(Debug)]
pub struct Identity {
    /// The files that it was read from.
    pub pair: Pair,
    /// The names that the certificate is for: DNS names in lower case, of which the first label may be `*`, and IP
    /// addresses.
    pub names: Vec<String>,
    /// The time in which all certificates of the chain hold.
    pub validity: Validity,
    pub(super) key: Arc<CertifiedKey>,
}

impl Identity {
    /// Reads both files, and checks that they belong together. It is not checked that the certificate holds now, nor
    /// that an authority has signed it. Blocks while the files are read.
    ///
    /// # Errors
    /// A file cannot be read, is no PEM of the right kind, or the key belongs to another certificate.
    pub fn load(pair: Pair) -> Result<Self, IdentityError> {
        let chain = certificates(&pair.cert_file)?;
        let key = private_key(&pair.key_file)?;
        let wrong = |path: &Path, problem: String| IdentityError::Wrong { path: path.into(), problem };
        let mut facts: Option<Facts> = None;
        for (index, certificate) in chain.iter().enumerate() {
            let read = certificate::read(certificate).map_err(|error| {
                wrong(&pair.cert_file, format!("certificate {} cannot be parsed: {error}", index + 1))
            })?;
            facts = Some(match facts {
                None => read,
                Some(first) => Facts { validity: first.validity.intersect(read.validity), ..first },
            });
        }
        let none = || wrong(&pair.cert_file, "holds no certificate".into());
        let Facts { validity, names, .. } = facts.ok_or_else(none)?;
        let key = any_supported_type(&key).map_err(|_| {
            let allowed = "must be RSA of 2,048 bits or more, ECDSA with P-256 or P-384, or Ed25519";
            wrong(&pair.key_file, format!("the private key cannot be used: it {allowed}"))
        })?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
                let Pair { cert_file, key_file } = pair;
                return Err(IdentityError::OtherKey { cert_file, key_file });
            }
            Err(error) => return Err(wrong(&pair.cert_file, format!("cannot be used: {error}"))),
        }
        Ok(Self { pair, names, validity, key: Arc::new(key) })
    }

    /// Returns the certificates in DER, that of the server first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }
}

/// Reads the certificates of a file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let wrong = |problem: String| IdentityError::Wrong { path: path.into(), problem };
    let bytes = read(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let all = all.map_err(|error| wrong(format!("is not valid PEM: {error}")))?;
    match all.len() {
        0 => Err(wrong("holds no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----".into())),
        1..=MAX_CHAIN => Ok(all),
        count => Err(wrong(format!("holds {count} certificates, at most {MAX_CHAIN} are allowed"))),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, IdentityError> {
    let wrong = |problem: String| IdentityError::Wrong { path: path.into(), problem };
    let bytes = read(path)?;
    if bytes.windows(9).any(|window| window == b"ENCRYPTED") {
        return Err(wrong(
            "the private key is encrypted: decrypt it, and protect the file by its mode".into(),
        ));
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => wrong("holds no private key in PEM (PKCS#8, PKCS#1 or SEC1)".into()),
        error => wrong(format!("is not valid PEM: {error}")),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    let unreadable = |source| IdentityError::Unreadable { path: path.into(), source };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let problem = format!("is larger than {MAX_FILE_BYTES} bytes, which no such file needs");
        return Err(IdentityError::Wrong { path: path.into(), problem });
    }
    Ok(bytes)
}
