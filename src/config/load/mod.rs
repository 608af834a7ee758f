//! Loading: the layers are read one over the other, and the errors of all of them are collected.

mod files;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::checks;
use super::error::{ConfigError, ConfigErrors, Layer, nearest};
use super::kind::{InvalidValue, Raw};
use super::tree::{Config, all, find};
use super::types::REDACTED;

/// The prefix of environment variables that are settings.
const PREFIX: &str = "THRONG_";

/// The layers to load. Loading reads nothing from the process itself, except the file of [`Sources::file_at`] and those
/// that the settings name (such as `auth.secret_file`).
#[derive(Debug, Clone)]
pub struct Sources {
    file: Option<(String, FileText)>,
    environment: Vec<(OsString, OsString)>,
    flags: Vec<Flag>,
    read: fn(&Path) -> io::Result<String>,
}

#[derive(Debug, Clone)]
enum FileText {
    Given(String),
    /// To be read from here, each time the sources are loaded.
    At(PathBuf),
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
    /// Returns sources without any layer, which load as the defaults.
    #[must_use]
    pub fn new() -> Self {
        let read = |path: &Path| std::fs::read_to_string(path);
        Self { file: None, environment: Vec::new(), flags: Vec::new(), read }
    }

    /// Adds the configuration file: its text, and its name for error messages.
    #[must_use]
    pub fn file(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.file = Some((name.into(), FileText::Given(text.into())));
        self
    }

    /// Adds the configuration file at this path. It is read when the sources are loaded, each time.
    #[must_use]
    pub fn file_at(mut self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.file = Some((path.display().to_string(), FileText::At(path)));
        self
    }

    /// Adds environment variables; those named `THRONG_…` are read as settings, others are ignored.
    #[must_use]
    pub fn environment<N, V>(mut self, variables: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        self.environment = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        self
    }

    /// Adds a flag that sets one key: `flag("--listen", "listen", "0.0.0.0:80")`. Later flags override earlier ones.
    #[must_use]
    pub fn flag(mut self, name: &str, key: &str, value: &str) -> Self {
        self.flags.push(Flag { name: name.into(), pair: Some((key.into(), value.into())) });
        self
    }

    /// Adds the flag `--set KEY=VALUE`, given `KEY=VALUE`. Later flags override earlier ones.
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
    /// Returns every error in every layer: unknown keys, wrong types, values out of range, combinations that contradict
    /// each other, key files that cannot be read. A value that a later layer overrides is checked all the same.
    pub fn load(sources: Sources) -> Result<Self, ConfigErrors> {
        let mut loader = Loader { config: Self::default(), errors: Vec::new() };
        if let Some((name, text)) = &sources.file {
            match text {
                FileText::Given(text) => loader.file(name, text),
                FileText::At(path) => match (sources.read)(path) {
                    Ok(text) => loader.file(name, &text),
                    Err(error) => {
                        let problem = format!("cannot be read: {error}");
                        loader.error("the file".into(), None, problem, &Layer::File(name.clone()));
                    }
                },
            }
        }
        for (name, value) in &sources.environment {
            loader.variable(name, value);
        }
        for flag in &sources.flags {
            loader.flag(flag);
        }
        let ttl = loader.config.default_ttl();
        loader.config.set_default_ttl(ttl);
        loader.conflicts();
        loader.key_files(sources.read);
        loader.tls_files(sources.read);
        loader.check_keys();
        if loader.errors.is_empty() { Ok(loader.config) } else { Err(ConfigErrors(loader.errors)) }
    }
}

struct Loader {
    config: Config,
    errors: Vec<ConfigError>,
}

impl Loader {
    fn file(&mut self, name: &str, text: &str) {
        match text.parse::<Table>() {
            Ok(table) => self.table("", &table, &Layer::File(name.into())),
            Err(error) => {
                let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
                let line = before.matches('\n').count() + 1;
                let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
                // The parser's message quotes no text of the file, which may contain secrets.
                let problem = error.message().replace('\n', ", ");
                self.error(format!("line {line}, column {column}"), None, problem, &Layer::File(name.into()));
            }
        }
    }

    fn table(&mut self, prefix: &str, table: &Table, layer: &Layer) {
        for (name, value) in table {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match value {
                Value::Table(inner) if is_section(&path) || (find(&path).is_none() && !inner.is_empty()) => {
                    self.table(&path, inner, layer);
                }
                other => self.value(&path, Raw::Toml(other), layer),
            }
        }
    }

    fn variable(&mut self, name: &OsString, value: &OsString) {
        let name = name.to_string_lossy();
        let Some(rest) = name.strip_prefix(PREFIX) else { return };
        let path = rest.to_lowercase().replace("__", ".");
        let layer = Layer::Environment(name.to_string());
        match value.to_str() {
            Some(text) => self.value(&path, Raw::Text(text), &layer),
            None => self.error(path, None, "must be UTF-8".into(), &layer),
        }
    }

    fn flag(&mut self, flag: &Flag) {
        let layer = Layer::Flag(flag.name.clone());
        match &flag.pair {
            Some((key, value)) => self.value(key, Raw::Text(value), &layer),
            // The text may be a secret, so it is not shown.
            None => self.error(flag.name.clone(), None, "must be KEY=VALUE".into(), &layer),
        }
    }

    fn value(&mut self, path: &str, raw: Raw<'_>, layer: &Layer) {
        let Some(key) = find(path) else { return self.unknown(path, layer) };
        match (key.set)(&mut self.config, raw) {
            Ok(()) => {
                self.config.provenance.layers.insert(key.path, layer.clone());
            }
            Err(invalid) => {
                for InvalidValue { part, given, problem } in invalid {
                    let given = if key.is_secret { Some(REDACTED.into()) } else { given };
                    self.error(format!("{path}{part}"), given, problem, layer);
                }
            }
        }
    }

    /// Reports an unknown key. Its value is not shown, because it may be a secret under a misspelt name.
    fn unknown(&mut self, path: &str, layer: &Layer) {
        let spelt = |key: &str| match layer {
            Layer::Environment(_) => format!("{PREFIX}{}", key.to_uppercase().replace('.', "__")),
            Layer::Default | Layer::File(_) | Layer::Flag(_) => key.to_owned(),
        };
        let problem = if let Some(key) = all().find(|key| key.section() == Some(path)) {
            format!("is a section, set its keys, like {}", spelt(key.path))
        } else {
            let meant = nearest(path, all().map(|key| key.path));
            meant.map_or("unknown key".into(), |key| format!("unknown key, did you mean {}?", spelt(key)))
        };
        self.error(path.into(), None, problem, layer);
    }

    fn conflicts(&mut self) {
        for conflict in checks::conflicts(&self.config) {
            // The key of an invalid value has its default here: that it contradicts other keys means nothing.
            if self.errors.iter().any(|error| conflict.keys.contains(&error.key.as_str())) {
                continue;
            }
            let error = conflict.error(&self.config);
            self.errors.push(error);
        }
    }

    fn error(&mut self, key: String, given: Option<String>, problem: String, layer: &Layer) {
        self.errors.push(ConfigError { key, given, problem, layer: layer.clone() });
    }
}

fn is_section(path: &str) -> bool {
    all().any(|key| key.section() == Some(path))
}

#[cfg(test)]
mod tests;
