//! The section about TLS for connections that come in.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::kind::ListenAddress;
use super::list::Optional;
use super::schema::settings;
use super::tables::{Row, Tables};
use super::text::FilePath;

settings! {
    /// A certificate with its key, for clients that ask for one of its names.
    CertificateFiles {
        /// File with the certificate and those that lead to an authority, in PEM.
        cert_file: PathBuf = PathBuf::new(), FilePath, live;
        /// File with its private key in PEM.
        key_file: Option<PathBuf> = None, Optional(FilePath), live;
    }
}

impl Row for CertificateFiles {
    const LIST: &'static str = "certificates";
    // All files are looked at every few seconds.
    const MOST: usize = 256;
    const REQUIRED: (&'static str, &'static str) = ("cert_file", "a path");
}

settings! {
    /// TLS for connections that come in. The files are read again on a reload and when they change.
    Tls at tls {
        /// File with the server's certificate in PEM, followed by those that lead to an authority. With it, `listen`
        /// and `api.listen` speak TLS, and nothing else (but see `tls.listen`). Needs `tls.key_file`.
        cert_file: Option<PathBuf> = None, Optional(FilePath), restart;
        /// File with the private key of the certificate in PEM, not encrypted.
        key_file: Option<PathBuf> = None, Optional(FilePath), restart;
        /// Further certificates, at most 256: `[[tls.certificates]]` with `cert_file` and `key_file`. A client gets the
        /// one for the name that it asks for (SNI), or else that of `tls.cert_file`.
        certificates: Vec<CertificateFiles> = Vec::new(), Tables::<CertificateFiles>::new(), live;
        /// Address and port of its own for TLS. `listen` then speaks none, and neither does `api.listen` without
        /// `tls.client_ca_file`.
        listen: Option<SocketAddr> = None, Optional(ListenAddress), restart;
        /// File with authorities in PEM. At `api.listen`, which then speaks TLS, only callers are served that have a
        /// certificate of one of them; keys are needed all the same.
        client_ca_file: Option<PathBuf> = None, Optional(FilePath), restart;
    }
}

impl Tls {
    /// Returns true where `listen` speaks TLS.
    #[must_use]
    pub fn is_on_listen(&self) -> bool {
        self.cert_file.is_some() && self.listen.is_none()
    }

    /// Returns true where `api.listen` speaks TLS, if it is set.
    #[must_use]
    pub fn is_on_api(&self) -> bool {
        self.is_on_listen() || self.client_ca_file.is_some()
    }

    /// Returns the files of every certificate: the path of the certificate and that of its key, those of
    /// `tls.cert_file` first. There are none without it.
    pub fn pairs(&self) -> impl Iterator<Item = (PathBuf, PathBuf)> {
        let first = self.cert_file.clone().zip(self.key_file.clone());
        // Loading has made sure that each has a key.
        let further = self.certificates.iter().map(|files| (files.cert_file.clone(), files.key_file.clone()));
        let further = further.map(|(cert, key)| (cert, key.unwrap_or_default()));
        first.into_iter().chain(further)
    }
}
