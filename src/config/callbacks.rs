//! Sections about requests that throng sends to other servers.

use std::path::PathBuf;

use super::list::Optional;
use super::schema::settings;
use super::text::FilePath;

settings! {
    /// Requests to other servers over HTTP: webhooks, hooks, and sets of keys.
    Outbound at outbound {
        /// File with the certificates in PEM that may have signed that of another server; without it, those that the
        /// system trusts.
        ca_file: Option<PathBuf> = None, Optional(FilePath);
    }
}
