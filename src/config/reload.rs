//! Changes the settings of a running server: which of those that were read again can be applied, and which need a
//! restart.

use super::checks;
use super::error::ConfigErrors;
use super::machine::Machine;
use super::tree::{Config, all, is_from_file};

/// The settings of a running server after a reload.
#[derive(Debug)]
pub struct Reloaded {
    /// The settings in force: the new values of the keys that are live, and the former ones of all others.
    pub config: Config,
    /// The keys whose new values are in force.
    pub changed: Vec<&'static str>,
    /// The keys whose new values need a restart.
    pub restart: Vec<&'static str>,
}

impl Config {
    /// Returns what becomes of these settings, which are in force, when `new` has been loaded.
    ///
    /// # Errors
    /// The new values of the live keys contradict values that only a restart can change.
    pub fn reloaded(&self, new: Self, machine: &Machine) -> Result<Reloaded, ConfigErrors> {
        let mut new = new;
        if new.node.is_empty() && !self.is_set("node") {
            // Otherwise a name would be made anew.
            new.node.clone_from(&self.node);
        }
        // `history.dir` stays as it is, and the default of `history.ttl` with it.
        new.set_default_ttl(self.default_ttl());
        let new = new.resolve(machine);
        let mut config = self.clone();
        config.provenance.notes.clone_from(&new.provenance.notes);
        let (mut changed, mut restart) = (Vec::new(), Vec::new());
        for key in all() {
            let is_same = (key.is_same)(self, &new);
            if key.is_live {
                (key.copy)(&mut config, &new);
                config.provenance.take_layer(key.path, &new.provenance);
                changed.extend((!is_same).then_some(key.path));
            } else {
                restart.extend((!is_same).then_some(key.path));
            }
        }
        let given = config.as_given();
        let errors: Vec<_> = checks::conflicts(&given)
            .into_iter()
            .map(|mut conflict| {
                conflict.problem.push_str("; a reload cannot change all of these keys, a restart can");
                conflict.error(&given)
            })
            .collect();
        if errors.is_empty() { Ok(Reloaded { config, changed, restart }) } else { Err(ConfigErrors(errors)) }
    }

    /// Returns the settings without the values that were read from the files of other keys, as the layers gave them.
    fn as_given(&self) -> Self {
        let (mut given, defaults) = (self.clone(), Self::default());
        for key in all().filter(|key| is_from_file(key, self)) {
            (key.copy)(&mut given, &defaults);
        }
        given
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sources;
    use super::*;

    const MACHINE: Machine = Machine { descriptors: 10_000, memory_bytes: 1 << 30, cores: 3 };

    fn loaded(pairs: &[&str]) -> Config {
        let sources = pairs.iter().fold(Sources::new(), |sources, pair| sources.set(pair));
        Config::load(sources).expect("no mistakes")
    }

    #[test]
    fn live_keys_change_and_others_wait_for_a_restart() {
        let running = loaded(&["workers=2", "api.user=first"]).resolve(&MACHINE);
        let new = loaded(&["workers=3", "api.user=second", "history.dir=/tmp/h", "limits.max_connections=7"]);
        let reloaded = running.reloaded(new, &MACHINE).expect("no conflict");
        assert_eq!(reloaded.changed, ["limits.max_connections", "api.user"]);
        assert_eq!(reloaded.restart, ["workers", "history.dir"]);
        let config = &reloaded.config;
        assert_eq!((config.workers, config.api.user.as_str(), &config.history.dir), (2, "second", &None));
        assert_eq!(config.limits.max_connections, 7);
        let again =
            config.reloaded(loaded(&["workers=2", "api.user=second"]), &MACHINE).expect("no conflict");
        assert_eq!((again.changed, again.restart), (vec!["limits.max_connections"], vec![]));
    }

    #[test]
    fn the_same_settings_change_nothing() {
        for pairs in [&[][..], &["workers=2", "node=n1", "auth.secret=hunter2", "queue.total_bytes=1GiB"]] {
            let running = loaded(pairs).resolve(&MACHINE);
            let reloaded = running.reloaded(loaded(pairs), &MACHINE).expect("no conflict");
            assert_eq!((&reloaded.changed[..], &reloaded.restart[..]), (&[][..], &[][..]));
            assert_eq!(reloaded.config, running);
        }
    }

    #[test]
    fn a_live_key_that_contradicts_a_key_that_stays_is_a_mistake() {
        let running = loaded(&[]).resolve(&MACHINE);
        let new = loaded(&["history.bytes=512MiB", "history.total_bytes=1GiB"]);
        let errors = running.reloaded(new, &MACHINE).expect_err("a conflict");
        let text = errors.to_string();
        assert!(
            errors.0.len() == 1 && text.contains("history.total_bytes") && text.contains("a restart"),
            "{text}"
        );
    }
}
