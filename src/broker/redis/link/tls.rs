//! The TLS configuration of a connection, from files in PEM.

use std::sync::Arc;

use rustls::ClientConfig;

use crate::outbound::trust;

use super::reason::DownReason;
use super::settings::TlsSettings;

/// Reads the files, and returns the configuration of a connection.
///
/// # Errors
/// A file cannot be read, or holds nothing usable. The text names the file.
pub(super) async fn configuration(settings: TlsSettings) -> Result<Arc<ClientConfig>, DownReason> {
    // On a thread for waiting: the disk may be slow, or far away.
    let built = tokio::task::spawn_blocking(move || build(&settings)).await;
    match built {
        Ok(Ok(config)) => Ok(Arc::new(config)),
        Ok(Err(text)) => Err(DownReason::Tls(text)),
        Err(error) => Err(DownReason::Tls(error.to_string())),
    }
}

fn build(settings: &TlsSettings) -> Result<ClientConfig, String> {
    let ca_file = settings.ca_file.as_deref();
    let roots = trust::roots(ca_file).map_err(|problem| match ca_file {
        Some(_) => problem,
        None => format!("{problem}: set redis.ca_file"),
    })?;
    let own = settings.identity.as_ref();
    let own = own.map(|(cert_file, key_file)| trust::OwnCertificate { cert_file, key_file });
    trust::configuration(roots, own)
}
