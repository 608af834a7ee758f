//! Prints the settings as a TOML file that can be loaded again.

use super::tree::{Config, all, is_from_file};
use super::unsupported;

/// Most columns of a comment line.
const WIDTH: usize = 100;

impl Config {
    /// Returns every key as TOML, each with its value behind a comment that explains its meaning, and whether a reload
    /// can change it in a running server.
    ///
    /// `effective` is the result of [`Config::resolve`] for this machine. Its value follows in a comment where it
    /// differs, so the text itself contains no value that depends on the machine.
    ///
    /// A line is commented out if its key is a secret (the value is redacted), has no value, was read from the file
    /// that its `_file` key names, or has no effect in this version and is set nowhere.
    #[must_use]
    pub fn to_toml(&self, effective: &Self) -> String {
        let mut text = String::new();
        let mut section = None;
        for key in all() {
            if key.section() != section {
                section = key.section();
                text.push_str(&format!("\n[{}]\n", section.unwrap_or_default()));
            }
            let applies = if key.is_live { "Live." } else { "Needs a restart." };
            wrapped(&format!("{} {applies}", key.meaning), &mut text);
            let value = (key.show)(self);
            let seen = (key.show)(effective);
            let unsupported = unsupported::find(key.path);
            // A value that was read from the file named by its `_file` key is commented out, because loading accepts
            // only one of the two keys.
            let from_file = is_from_file(key, self);
            let is_idle = unsupported.is_some() && !self.is_set(key.path);
            if value.is_none() || key.is_secret || from_file || is_idle {
                text.push_str("# ");
            }
            let line = |value: Option<toml::Value>| value.map_or("none".into(), |value| value.to_string());
            // A key that has no value here but an effective one is a secret from a file, or chosen anew at each start:
            // neither is shown.
            let differs = (value.is_some() && seen != value)
                .then(|| format!("effective: {}", line(seen)).replace('\n', " "));
            let shown = line(value);
            let shown = if from_file { shown.replace('\n', " ") } else { shown };
            text.push_str(&format!("{} = {shown}", key.name()));
            let note = unsupported.map(|key| key.note.to_owned());
            for (index, comment) in differs.into_iter().chain(note).enumerate() {
                text.push_str(if index == 0 { "  # " } else { "; " });
                text.push_str(&comment);
            }
            text.push('\n');
        }
        text
    }
}

/// Appends an empty line, then `meaning` as comment lines of at most [`WIDTH`] columns.
fn wrapped(meaning: &str, text: &mut String) {
    let mut column = usize::MAX;
    text.push('\n');
    for word in meaning.split_whitespace() {
        if column.saturating_add(word.len()) >= WIDTH {
            text.push_str(if column == usize::MAX { "#" } else { "\n#" });
            column = 1;
        }
        text.push(' ');
        text.push_str(word);
        column += 1 + word.len();
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::{Machine, QueuePolicy, Sources};
    use super::*;

    const MACHINE: Machine = Machine { descriptors: 1024, memory_bytes: 1 << 30, cores: 3 };

    fn printed(config: &Config) -> String {
        config.to_toml(&config.clone().resolve(&MACHINE))
    }

    /// Prints the settings and loads the text again. Restores the provenance (the source of each value) before it
    /// returns the result, because only that may differ.
    fn reloaded(config: &Config) -> Config {
        let mut again = Config::load(Sources::new().file("printed", printed(config))).unwrap();
        assert_eq!(again.warnings(), config.warnings());
        again.provenance = config.provenance.clone();
        again
    }

    #[test]
    fn defaults_come_back() {
        let config = Config::default();
        assert_eq!(reloaded(&config), config);
    }

    #[test]
    fn settings_of_every_kind_come_back() {
        let text = r#"
            listen = "[::1]:9"
            node = "a"
            [[rooms]]
            pattern = "live-*"
            queue_policy = "drop_oldest"
            history_ttl = "1h"
            presence = false
            [[rooms]]
            pattern = "*"
            history_bytes = 5000
            [queue]
            policy = "drop_newest"
            max_age = "1500ms"
            max_bytes = 100001
            [auth]
            algorithm = "EdDSA"
            public_key = """
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEABCeM8S8qgzqsK5T32kuDRQbYGFZXLzk1gyDY4tSiUUM=
-----END PUBLIC KEY-----"""
            audience = "quotes \" and ''' and # signs"
            [admission]
            origins = ["https://a.example", "tauri://app"]
            trusted_proxies = ["10.0.0.0/8"]
            [log]
            level = "info,throng=debug"
            format = "json"
        "#;
        let config = Config::load(Sources::new().file("test", text)).unwrap();
        assert_eq!(config.queue.policy, QueuePolicy::DropNewest);
        assert_eq!(config.rooms.len(), 2);
        assert_eq!(reloaded(&config), config);
    }

    #[test]
    fn secrets_are_comments_and_effects_are_shown() {
        let config = Config::load(
            Sources::new().set("auth.secret=hunter2").set("api.keys=an-example-key-1,an-example-key-2"),
        )
        .unwrap();
        let text = printed(&config);
        assert!(!text.contains("hunter2") && !text.contains("key-1"), "{text}");
        for line in [
            "# secret = \"[redacted]\"",
            "# audience = none",
            "# keys = [\"[redacted]\", \"[redacted]\"]",
            "workers = 0  # effective: 3",
            "max_connections = 0  # effective: 512",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} not in:\n{text}");
        }
    }
}
