//! The layers, one over the other, and every mistake in any of them.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::kind::{Kind, Raw};
use super::mistake::nearest;
use super::schema::Key;
use super::value::REDACTED;
use super::words::{HeaderKey, Hidden, Lines, Maybe, Pem};
use super::{Config, ConfigErrors, Mistake, Origin, all, checks};
use crate::keys::{Algorithm, PublicKey};

/// What every name of ours in the environment begins with.
const PREFIX: &str = "THRONG_";

/// What to load, given as values: nothing is taken from the process behind the caller's back, except that files with
/// keys (such as `auth.secret_file`) are read where the settings name them.
#[derive(Debug, Clone)]
pub struct Sources {
    file: Option<(String, String)>,
    environment: Vec<(OsString, OsString)>,
    flags: Vec<Flag>,
    read: fn(&Path) -> io::Result<String>,
}

#[derive(Debug, Clone)]
struct Flag {
    name: String,
    pair: Option<(String, String)>,
}

impl Default for Sources {
    fn default() -> Self {
        Self::new()
    }
}

impl Sources {
    /// No layer: the defaults.
    #[must_use]
    pub fn new() -> Self {
        let read = |path: &Path| std::fs::read_to_string(path);
        Self { file: None, environment: Vec::new(), flags: Vec::new(), read }
    }

    /// The text of the configuration file, and the name to call it by.
    #[must_use]
    pub fn file(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.file = Some((name.into(), text.into()));
        self
    }

    /// Variables, of which those named `THRONG_…` count.
    #[must_use]
    pub fn environment<N, V>(mut self, variables: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        self.environment = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        self
    }

    /// A flag that stands for one key: `flag("--listen", "listen", "0.0.0.0:80")`. Later ones win.
    #[must_use]
    pub fn flag(mut self, name: &str, key: &str, value: &str) -> Self {
        self.flags.push(Flag { name: name.into(), pair: Some((key.into(), value.into())) });
        self
    }

    /// `--set KEY=VALUE`. Later ones win.
    #[must_use]
    pub fn set(mut self, text: &str) -> Self {
        let pair = text.split_once('=').map(|(key, value)| (key.trim().into(), value.into()));
        self.flags.push(Flag { name: "--set".into(), pair });
        self
    }
}

impl Config {
    /// Reads the layers: defaults < file < environment < flags.
    ///
    /// # Errors
    /// Every mistake in every layer: unknown keys, wrong types, values out of range, combinations that contradict
    /// each other, key files that cannot be read. A value that a later layer replaces is checked all the same.
    pub fn load(sources: Sources) -> Result<Self, ConfigErrors> {
        let mut loader = Loader { config: Self::default(), mistakes: Vec::new() };
        if let Some((name, text)) = &sources.file {
            loader.file(name, text);
        }
        for (name, value) in &sources.environment {
            loader.variable(name, value);
        }
        for flag in &sources.flags {
            loader.flag(flag);
        }
        loader.conflicts();
        loader.key_files(sources.read);
        loader.keys_fit();
        if loader.mistakes.is_empty() { Ok(loader.config) } else { Err(ConfigErrors(loader.mistakes)) }
    }
}

struct Loader {
    config: Config,
    mistakes: Vec<Mistake>,
}

impl Loader {
    fn file(&mut self, name: &str, text: &str) {
        match text.parse::<Table>() {
            Ok(table) => self.table("", &table, &Origin::File(name.into())),
            Err(error) => {
                let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
                let line = before.matches('\n').count() + 1;
                let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
                // The parser's own words quote no text of the file, which may hold secrets.
                let problem = error.message().replace('\n', ", ");
                self.mistake(
                    format!("line {line}, column {column}"),
                    None,
                    problem,
                    &Origin::File(name.into()),
                );
            }
        }
    }

    fn table(&mut self, prefix: &str, table: &Table, origin: &Origin) {
        for (name, value) in table {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match value {
                Value::Table(inner) if is_section(&path) || (find(&path).is_none() && !inner.is_empty()) => {
                    self.table(&path, inner, origin);
                }
                other => self.value(&path, Raw::Toml(other), origin),
            }
        }
    }

    fn variable(&mut self, name: &OsString, value: &OsString) {
        let name = name.to_string_lossy();
        let Some(rest) = name.strip_prefix(PREFIX) else { return };
        let path = rest.to_lowercase().replace("__", ".");
        let origin = Origin::Environment(name.to_string());
        match value.to_str() {
            Some(text) => self.value(&path, Raw::Text(text), &origin),
            None => self.mistake(path, None, "must be UTF-8".into(), &origin),
        }
    }

    fn flag(&mut self, flag: &Flag) {
        let origin = Origin::Flag(flag.name.clone());
        match &flag.pair {
            Some((key, value)) => self.value(key, Raw::Text(value), &origin),
            // What was written there may be a secret.
            None => self.mistake(flag.name.clone(), None, "must be KEY=VALUE".into(), &origin),
        }
    }

    fn value(&mut self, path: &str, raw: Raw<'_>, origin: &Origin) {
        let Some(key) = find(path) else { return self.unknown(path, origin) };
        match (key.set)(&mut self.config, raw) {
            Ok(()) => {
                self.config.provenance.origins.insert(key.path, origin.clone());
            }
            Err(faults) => {
                for fault in faults {
                    let given = if key.secret { Some(REDACTED.into()) } else { fault.given };
                    self.mistake(format!("{path}{}", fault.place), given, fault.problem, origin);
                }
            }
        }
    }

    /// The value of a key that does not exist is not shown: it may be a secret under a misspelt name.
    fn unknown(&mut self, path: &str, origin: &Origin) {
        let spelt = |key: &str| match origin {
            Origin::Environment(_) => format!("{PREFIX}{}", key.to_uppercase().replace('.', "__")),
            Origin::Default | Origin::File(_) | Origin::Flag(_) => key.to_owned(),
        };
        let problem = if let Some(key) = all().find(|key| key.section() == Some(path)) {
            format!("is a section, set its keys, like {}", spelt(key.path))
        } else {
            let meant = nearest(path, all().map(|key| key.path));
            meant.map_or("unknown key".into(), |key| format!("unknown key, did you mean {}?", spelt(key)))
        };
        self.mistake(path.into(), None, problem, origin);
    }

    fn conflicts(&mut self) {
        for conflict in checks::conflicts(&self.config) {
            // A mistaken value left the default in its place, and that is not what contradicts the others.
            if self.mistakes.iter().any(|mistake| conflict.keys.contains(&mistake.key.as_str())) {
                continue;
            }
            let named = conflict.keys.iter().find(|key| self.config.is_set(key)).unwrap_or(&conflict.keys[0]);
            let given =
                find(named).and_then(|key| (key.show)(&self.config)).map(|value| Raw::Toml(&value).shown());
            let origin = self.config.provenance.origins.get(named).cloned().unwrap_or(Origin::Default);
            self.mistake((*named).into(), given, conflict.problem, &origin);
        }
    }

    /// Last, so that `auth.secret` is still what the layers said while contradictions are looked for.
    fn key_files(&mut self, read: fn(&Path) -> io::Result<String>) {
        let auth = &self.config.auth;
        let (secret_file, public_key_file) = (auth.secret_file.clone(), auth.public_key_file.clone());
        if let Some(secret) = self.key_file(read, "auth.secret_file", secret_file, &Maybe(Hidden(1, 4096))) {
            self.config.auth.secret = secret;
        }
        if let Some(key) = self.key_file(read, "auth.public_key_file", public_key_file, &Maybe(Pem)) {
            self.config.auth.public_key = key;
        }
        let keys_file = self.config.api.keys_file.clone();
        if let Some(keys) = self.key_file(read, "api.keys_file", keys_file, &Lines(HeaderKey)) {
            self.config.api.keys = keys;
        }
    }

    fn key_file<K: Kind>(
        &mut self,
        read: fn(&Path) -> io::Result<String>,
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
        let origin = self.config.provenance.origins.get(path).cloned().unwrap_or(Origin::Default);
        self.mistake(path.into(), Some(format!("{:?}", file.to_string_lossy())), problem, &origin);
        None
    }

    /// Whether tokens can be verified with the key, now that it and the algorithm are known.
    fn keys_fit(&mut self) {
        if self.mistakes.iter().any(|mistake| mistake.key.starts_with("auth.")) {
            return;
        }
        let auth = &self.config.auth;
        let named =
            |key, file| if auth.secret_file.is_some() || auth.public_key_file.is_some() { file } else { key };
        let (path, problem) = match (auth.algorithm, &auth.secret, &auth.public_key) {
            // What everybody may know would be the secret, and anybody could sign with it.
            (Algorithm::Hs256, Some(secret), _) if secret.expose().starts_with(b"-----BEGIN ") => (
                named("auth.secret", "auth.secret_file"),
                "is a key in PEM, not a secret of HS256: set auth.algorithm and auth.public_key_file"
                    .to_owned(),
            ),
            (Algorithm::Hs256, ..) | (_, _, None) => return,
            (algorithm, _, Some(pem)) => match PublicKey::parse(algorithm, pem) {
                Ok(_) => return,
                Err(error) => (named("auth.public_key", "auth.public_key_file"), error.to_string()),
            },
        };
        let origin = self.config.provenance.origins.get(path).cloned().unwrap_or(Origin::Default);
        self.mistake(path.into(), None, problem, &origin);
    }

    fn mistake(&mut self, key: String, given: Option<String>, problem: String, origin: &Origin) {
        self.mistakes.push(Mistake { key, given, problem, origin: origin.clone() });
    }
}

fn find(path: &str) -> Option<&'static Key<Config>> {
    all().find(|key| key.path == path)
}

fn is_section(path: &str) -> bool {
    all().any(|key| key.section() == Some(path))
}

#[cfg(test)]
mod tests;
