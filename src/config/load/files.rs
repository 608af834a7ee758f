//! Files that settings name: keys and passwords, which are read into their settings, and those of TLS, which are only
//! checked.

use std::io;
use std::path::{Path, PathBuf};

use super::super::kind::{Kind, Raw};
use super::super::list::{Lines, Optional};
use super::super::text::{
    CERTIFICATES, HeaderSecret, KEY_SET, PEMS, PRIVATE_KEY, SECRETS, SecretText, SigningSecret,
};
use super::super::types::Secret;
use super::Loader;
use crate::keys::jwks::KeySet;
use crate::keys::{Algorithm, PublicKey};

/// Reads a file; tests give another function than the system's.
type Reader = fn(&Path) -> io::Result<String>;

impl Loader {
    /// Reads keys and passwords from their files. This comes after [`Loader::conflicts`], which must see `auth.secret`
    /// and the like as the layers gave them.
    pub(super) fn key_files(&mut self, read: Reader) {
        let auth = &self.config.auth;
        let (secret_file, public_key_file) = (auth.secret_file.clone(), auth.public_key_file.clone());
        if let Some(secrets) = self.key_file(read, "auth.secret_file", secret_file, &SECRETS) {
            self.config.auth.secret = secrets;
        }
        if let Some(keys) = self.key_file(read, "auth.public_key_file", public_key_file, &PEMS) {
            self.config.auth.public_key = keys;
        }
        let file = self.config.auth.jwks_file.clone();
        if let Some(set) = self.key_file(read, "auth.jwks_file", file, &Optional(KEY_SET)) {
            self.config.auth.jwks = set;
        }
        let password = Optional(SecretText(1, 4096));
        let file = self.config.redis.password_file.clone();
        if let Some(secret) = self.key_file(read, "redis.password_file", file, &password) {
            self.config.redis.password = secret;
        }
        let file = self.config.redis.sentinel_password_file.clone();
        if let Some(secret) = self.key_file(read, "redis.sentinel_password_file", file, &password) {
            self.config.redis.sentinel_password = secret;
        }
        let signing = Lines(SigningSecret);
        let file = self.config.hooks.secret_file.clone();
        if let Some(secrets) = self.key_file(read, "hooks.secret_file", file, &signing) {
            self.config.hooks.secrets = secrets;
        }
        for index in 0..self.config.webhooks.receivers.len() {
            let file = self.config.webhooks.receivers[index].secret_file.clone();
            if let Some(secrets) = self.key_file(read, "webhooks.receivers", file, &signing) {
                self.config.webhooks.receivers[index].secrets = secrets;
            }
        }
        let keys_file = self.config.api.keys_file.clone();
        if let Some(keys) = self.key_file(read, "api.keys_file", keys_file, &Lines(HeaderSecret)) {
            self.config.api.keys = keys;
        }
    }

    /// Checks that the files of TLS can be read and contain what their keys say. The engine reads its own again
    /// whenever it connects, so that a certificate can be renewed, and the server its own on a reload.
    pub(super) fn tls_files(&mut self, read: Reader) {
        let (redis, outbound, tls) = (&self.config.redis, &self.config.outbound, &self.config.tls);
        let further = tls.certificates.clone();
        for (path, file, kind) in [
            ("redis.ca_file", redis.ca_file.clone(), CERTIFICATES),
            ("outbound.ca_file", outbound.ca_file.clone(), CERTIFICATES),
            ("redis.cert_file", redis.cert_file.clone(), CERTIFICATES),
            ("redis.key_file", redis.key_file.clone(), PRIVATE_KEY),
            ("tls.cert_file", tls.cert_file.clone(), CERTIFICATES),
            ("tls.key_file", tls.key_file.clone(), PRIVATE_KEY),
            ("tls.client_ca_file", tls.client_ca_file.clone(), CERTIFICATES),
        ] {
            // The content is not kept: the check alone matters.
            let _ = self.key_file(read, path, file, &kind);
        }
        for files in further {
            let _ = self.key_file(read, "tls.certificates", Some(files.cert_file), &CERTIFICATES);
            let _ = self.key_file(read, "tls.certificates", files.key_file, &PRIVATE_KEY);
        }
    }

    fn key_file<K: Kind>(
        &mut self,
        read: Reader,
        path: &'static str,
        file: Option<PathBuf>,
        kind: &K,
    ) -> Option<K::Value> {
        let file = file?;
        let problem = match read(&file) {
            Err(error) => format!("cannot be read: {error}"),
            Ok(text) => match kind.parse(Raw::Text(text.trim_end())) {
                Some(value) => return Some(value),
                None => format!("must contain {}", kind.allowed()),
            },
        };
        let layer = self.config.layer(path);
        self.error(path.into(), Some(format!("{:?}", file.to_string_lossy())), problem, &layer);
        None
    }

    /// Checks that tokens can be verified with the keys, now that these and their algorithm are known.
    pub(super) fn check_keys(&mut self) {
        if self.errors.iter().any(|error| error.key.starts_with("auth.")) {
            return;
        }
        let auth = &self.config.auth;
        let named =
            |key, file| if auth.secret_file.is_some() || auth.public_key_file.is_some() { file } else { key };
        let (path, count, problem) = if auth.algorithm == Algorithm::Hs256 {
            // A public key as the secret would let anybody who knows it sign tokens.
            let is_pem = |secret: &Secret| secret.expose().starts_with(b"-----BEGIN ");
            let problem =
                "is a key in PEM, not a secret of HS256: set auth.algorithm and auth.public_key_file";
            let found = auth.secret.iter().position(is_pem).map(|index| (index, problem.to_owned()));
            (named("auth.secret", "auth.secret_file"), auth.secret.len(), found)
        } else {
            let mut keys = auth.public_key.iter().enumerate();
            let found = keys.find_map(|(index, pem)| {
                PublicKey::parse(auth.algorithm, pem).err().map(|error| (index, error.to_string()))
            });
            (named("auth.public_key", "auth.public_key_file"), auth.public_key.len(), found)
        };
        let set = auth.jwks.as_ref().and_then(|set| KeySet::parse(auth.algorithm, set).err());
        if let Some(error) = set {
            let path = if auth.jwks_file.is_some() { "auth.jwks_file" } else { "auth.jwks" };
            let layer = self.config.layer(path);
            return self.error(path.into(), None, error.to_string(), &layer);
        }
        let Some((index, problem)) = problem else { return };
        let layer = self.config.layer(path);
        let key = if count > 1 { format!("{path}[{index}]") } else { path.to_owned() };
        self.error(key, None, problem, &layer);
    }
}
