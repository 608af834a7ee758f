//! The certificates of a running server and its ways to speak TLS: loaded at the start, and again on a reload and when
//! a file has changed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::config::Tls as Settings;
use crate::live::Live;
use crate::metrics::CertificateGauge;
use crate::node::Node;
use crate::tls::{
    Certificates, ConfigError, IdentityError, Pair, ReplaceError, ServerConfig, Stamp, client_authorities,
    server_config,
};

/// Time between two looks at the files. A changed file is read when two looks have found it the same, because a
/// certificate and its key are seldom written at one moment.
const LOOK: Duration = Duration::from_secs(2);

/// Why TLS cannot be spoken with the configured files.
#[derive(Debug, thiserror::Error)]
pub enum EncryptionError {
    /// An address should speak TLS, and there is no certificate. Loading a configuration rules this out.
    #[error("tls.listen and tls.client_ca_file need tls.cert_file and tls.key_file")]
    NoCertificate,
    /// A certificate or its key cannot be used.
    #[error("TLS: {0}")]
    Identity(#[from] IdentityError),
    /// A certificate does not take the place of the one in force.
    #[error("TLS: {0}")]
    Replace(#[from] ReplaceError),
    /// The authorities of `tls.client_ca_file`, or the cryptography, cannot be used.
    #[error("TLS: {0}")]
    Config(#[from] ConfigError),
}

/// The certificates of a server, and how it speaks TLS at each of its doors.
#[derive(Debug)]
pub(super) struct Encryption {
    certificates: Arc<Certificates>,
    /// For the other addresses.
    for_clients: Arc<ServerConfig>,
    /// For `api.listen`, whose callers may need certificates.
    for_operators: Live<ServerConfig>,
    /// The state of the files when they were read last, with success or without.
    read: Mutex<Stamp>,
}

impl Encryption {
    /// Reads all files. Returns `None` where no certificate is configured.
    ///
    /// # Errors
    /// A file cannot be used. A certificate that does not hold now is used all the same, and logged.
    pub(super) fn load(settings: &Settings) -> Result<Option<Self>, EncryptionError> {
        if settings.pairs().next().is_none() {
            // An address must never speak plainly where it should not.
            let is_wanted = settings.is_on_listen() || settings.listen.is_some() || settings.is_on_api();
            return if is_wanted { Err(EncryptionError::NoCertificate) } else { Ok(None) };
        }
        let read = Mutex::new(look(settings));
        let certificates = Arc::new(Certificates::load(pairs(settings))?);
        let for_clients = Arc::new(server_config(Arc::clone(&certificates), None)?);
        let for_operators = Live::new(operators_config(&certificates, settings)?);
        let encryption = Self { certificates, for_clients, for_operators, read };
        encryption.log();
        Ok(Some(encryption))
    }

    /// Reads all files again, and uses them for all handshakes from now on.
    ///
    /// # Errors
    /// A file cannot be used, or a certificate does not hold now although the one in force does. Nothing has changed
    /// then.
    pub(super) fn replace(&self, settings: &Settings) -> Result<(), EncryptionError> {
        // Before the files: a change while they are read is noticed later.
        *self.read.lock() = look(settings);
        let for_operators = operators_config(&self.certificates, settings)?;
        self.certificates.replace(pairs(settings), SystemTime::now())?;
        self.for_operators.replace(for_operators);
        self.log();
        Ok(())
    }

    /// Returns how TLS is spoken with clients.
    pub(super) fn for_clients(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.for_clients)
    }

    /// Returns how TLS is spoken at `api.listen`.
    pub(super) fn for_operators(&self) -> Arc<ServerConfig> {
        self.for_operators.share()
    }

    /// Returns the expiry of each certificate.
    pub(super) fn gauges(&self) -> Vec<CertificateGauge> {
        let identities = self.certificates.identities();
        let gauge = |(index, identity): (usize, &Arc<crate::tls::Identity>)| CertificateGauge {
            index,
            name: identity.names.first().cloned().unwrap_or_default(),
            expiry_unix_s: identity.validity.until_unix_s(),
        };
        identities.iter().enumerate().map(gauge).collect()
    }

    /// Writes a line to the log for each certificate: its names, and when it expires.
    fn log(&self) {
        let now = SystemTime::now();
        for identity in self.certificates.identities() {
            let file = identity.pair.cert_file.display();
            let names = identity.names.join(" ");
            let days = identity.validity.until.duration_since(now).map_or(0, |left| left.as_secs() / 86_400);
            if identity.validity.contains(now) {
                tracing::info!(%file, names, days_left = days, "a certificate is in use");
            } else {
                tracing::error!(%file, names, "a certificate does not hold now: clients will refuse it");
            }
        }
    }
}

/// Looks at the files every few seconds, and reads them again when they have changed. Never returns.
///
/// # Cancel safety
/// Files that are being read may still be put in force.
pub(super) async fn watch(encryption: Option<&Arc<Encryption>>, node: &Arc<Node>) {
    let Some(encryption) = encryption else { return std::future::pending().await };
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = None;
    loop {
        ticks.tick().await;
        let settings = node.config().tls.clone();
        // On a thread that may wait for a file system.
        let Ok(stamp) = spawn_blocking(move || look(&settings)).await else { continue };
        let is_settled = seen.replace(stamp.clone()).as_ref() == Some(&stamp);
        if !is_settled || *encryption.read.lock() == stamp {
            continue;
        }
        let (encryption, node) = (Arc::clone(encryption), Arc::clone(node));
        // An error means that the thread panicked, which is logged.
        let _ = spawn_blocking(move || match encryption.replace(&node.config().tls) {
            Ok(()) => tracing::info!("files of TLS have changed, and were read again"),
            Err(error) => {
                tracing::error!(%error, "files of TLS have changed: the certificates in force stay");
            }
        })
        .await;
    }
}

/// Returns the state of all files.
fn look(settings: &Settings) -> Stamp {
    let pairs: Vec<(PathBuf, PathBuf)> = settings.pairs().collect();
    let files = pairs.iter().flat_map(|(cert, key)| [cert.as_path(), key.as_path()]);
    Stamp::of(files.chain(settings.client_ca_file.as_deref()))
}

fn pairs(settings: &Settings) -> impl Iterator<Item = Pair> {
    settings.pairs().map(|(cert_file, key_file)| Pair { cert_file, key_file })
}

fn operators_config(
    certificates: &Arc<Certificates>,
    settings: &Settings,
) -> Result<ServerConfig, ConfigError> {
    let clients = settings.client_ca_file.as_deref().map(client_authorities).transpose()?;
    server_config(Arc::clone(certificates), clients)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_should_speak_tls_never_does_without() {
        assert!(matches!(Encryption::load(&Settings::default()), Ok(None)));
        let path = || Some(PathBuf::from("none"));
        for settings in [
            Settings { listen: Some(([127, 0, 0, 1], 0).into()), ..Settings::default() },
            Settings { client_ca_file: path(), ..Settings::default() },
            Settings { cert_file: path(), ..Settings::default() },
        ] {
            let error = Encryption::load(&settings).expect_err("no certificate");
            assert!(matches!(error, EncryptionError::NoCertificate), "{error}");
        }
    }
}
