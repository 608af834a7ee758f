//! Checks of `engine` and of the section `redis`, which has an effect only with `engine = "redis"`.

use crate::names::units::{show_duration, show_size};

use super::super::engine::KEYS_TTL;
use super::super::tree::{Config, all};
use super::super::types::{Engine, RedisMode};
use super::mismatches::JSON_BYTES_PER_CHAR;

/// Demands of a rule that it holds; else the keys contradict each other, with the problem in words.
type Demand<'a> = dyn FnMut(bool, &'static [&'static str], String) + 'a;

/// Finds what contradicts the engine.
pub(super) fn conflicts(config: &Config, demand: &mut Demand<'_>) {
    secrets(config, demand);
    if config.engine == Engine::Memory {
        return;
    }
    let Config { history, redis, .. } = config;
    demand(
        history.dir.is_none(),
        &["history.dir", "engine"],
        "history.dir belongs to engine = \"memory\"; with engine = \"redis\", the engine keeps the history: unset one"
            .into(),
    );
    servers(config, demand);
    tls(config, demand);
    lifetimes(config, demand);
    // A character may take this many bytes in JSON, and one message must find room.
    let message = config.chat.max_message_chars * JSON_BYTES_PER_CHAR + config.chat.max_data_bytes;
    demand(
        message <= redis.max_waiting_bytes,
        &["redis.max_waiting_bytes", "chat.max_message_chars"],
        format!(
            "chat.max_message_chars ({} bytes at worst, with chat.max_data_bytes) must not exceed \
             redis.max_waiting_bytes ({})",
            show_size(message),
            show_size(redis.max_waiting_bytes)
        ),
    );
}

/// Demands that a password is given once: as such, or as a file.
fn secrets(config: &Config, demand: &mut Demand<'_>) {
    let redis = &config.redis;
    demand(
        redis.password.is_none() || redis.password_file.is_none(),
        &["redis.password", "redis.password_file"],
        "only one of redis.password and redis.password_file may be set".into(),
    );
    demand(
        redis.sentinel_password.is_none() || redis.sentinel_password_file.is_none(),
        &["redis.sentinel_password", "redis.sentinel_password_file"],
        "only one of redis.sentinel_password and redis.sentinel_password_file may be set".into(),
    );
}

/// Demands addresses, names and passwords that fit `redis.mode`.
fn servers(config: &Config, demand: &mut Demand<'_>) {
    let redis = &config.redis;
    let (mode, count) = (redis.mode.name(), redis.addresses.len());
    demand(
        redis.mode != RedisMode::Single || count == 1,
        &["redis.addresses", "redis.mode"],
        format!(
            "redis.mode \"{mode}\" takes one address, not {count}; several belong to \"sentinel\" or \"cluster\""
        ),
    );
    demand(
        redis.mode != RedisMode::Sentinel || redis.master_name.is_some(),
        &["redis.mode", "redis.master_name"],
        "redis.mode \"sentinel\" needs redis.master_name: the name after `sentinel monitor` in the Sentinels' settings"
            .into(),
    );
    demand(
        redis.username.is_none() || redis.password.is_some() || redis.password_file.is_some(),
        &["redis.username", "redis.password", "redis.password_file"],
        "redis.username needs a password: set redis.password or redis.password_file".into(),
    );
    demand(
        redis.sentinel_username.is_none()
            || redis.sentinel_password.is_some()
            || redis.sentinel_password_file.is_some(),
        &["redis.sentinel_username", "redis.sentinel_password", "redis.sentinel_password_file"],
        "redis.sentinel_username needs a password: set redis.sentinel_password or redis.sentinel_password_file".into(),
    );
}

/// Demands that the files of TLS are complete, and that TLS is on where one is set: without it, passwords and messages
/// would travel in the clear although somebody meant otherwise.
fn tls(config: &Config, demand: &mut Demand<'_>) {
    let redis = &config.redis;
    demand(
        redis.cert_file.is_some() == redis.key_file.is_some(),
        &["redis.cert_file", "redis.key_file"],
        "redis.cert_file and redis.key_file belong together: set both or neither".into(),
    );
    demand(
        redis.tls || (redis.ca_file.is_none() && redis.cert_file.is_none() && redis.key_file.is_none()),
        &["redis.ca_file", "redis.cert_file", "redis.key_file", "redis.tls"],
        "redis.ca_file, redis.cert_file and redis.key_file need redis.tls = true".into(),
    );
}

/// Demands that a room lives longer in the engine than its messages and idempotency keys.
fn lifetimes(config: &Config, demand: &mut Demand<'_>) {
    let room_ttl = config.redis.room_ttl;
    let mut outlives = |keys, ttl, owner: &str| {
        let least = ttl + KEYS_TTL;
        demand(
            room_ttl >= least,
            keys,
            format!(
                "redis.room_ttl ({}) must be at least {}: {owner} ({}) and 11m",
                show_duration(room_ttl),
                show_duration(least),
                show_duration(ttl)
            ),
        );
    };
    outlives(&["redis.room_ttl", "history.ttl"], config.history.ttl, "history.ttl");
    for rule in &config.rooms {
        if let Some(ttl) = rule.history_ttl {
            outlives(
                &["redis.room_ttl", "rooms"],
                ttl,
                &format!("the history_ttl of {} in rooms", rule.pattern),
            );
        }
    }
}

/// Returns a warning for the keys of `redis` that were set to something that has no effect: because `engine` is
/// another, or because `redis.mode` needs none of them.
pub(super) fn idle(config: &Config) -> impl Iterator<Item = String> {
    let defaults = Config::default();
    let changed = |prefix: &str| -> Vec<String> {
        all()
            .filter(|key| key.path.starts_with(prefix) && config.is_set(key.path))
            .filter(|key| (key.show)(config) != (key.show)(&defaults))
            .map(|key| format!("`{}`", key.path))
            .collect()
    };
    let warning = |keys: Vec<String>, why: &str| {
        let verb = if keys.len() == 1 { "has" } else { "have" };
        (!keys.is_empty()).then(|| format!("{} {verb} no effect while {why}", keys.join(", ")))
    };
    let [section, sentinels] = match (config.engine, config.redis.mode) {
        (Engine::Memory, _) => [
            warning(changed("redis."), "`engine` is \"memory\": set it to \"redis\" to use the engine"),
            None,
        ],
        (Engine::Redis, RedisMode::Sentinel) => [None, None],
        (Engine::Redis, mode @ (RedisMode::Single | RedisMode::Cluster)) => {
            let why = format!("`redis.mode` is \"{}\": they belong to \"sentinel\"", mode.name());
            let keys = [changed("redis.master_name"), changed("redis.sentinel_")].concat();
            [None, warning(keys, &why)]
        }
    };
    section.into_iter().chain(sentinels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Address, Sources};

    fn sources(pairs: &[&str]) -> Sources {
        pairs.iter().fold(Sources::new(), |sources, pair| sources.set(pair))
    }

    /// Returns the one error of settings with an engine, as a line.
    fn mistake(pairs: &[&str]) -> String {
        let errors = Config::load(sources(pairs).set("engine=redis")).expect_err(&format!("{pairs:?}")).0;
        assert_eq!(errors.len(), 1, "{pairs:?}: {errors:?}");
        errors[0].to_string()
    }

    #[test]
    fn the_defaults_of_the_engine_contradict_nothing() {
        let config = Config::load(sources(&["engine=redis"])).expect("no mistakes");
        assert_eq!(config.redis.addresses, [Address { host: "127.0.0.1".into(), port: 6379 }]);
        assert_eq!((config.engine, config.redis.mode), (Engine::Redis, RedisMode::Single));
        assert_eq!(config.warnings(), Vec::<String>::new());
    }

    #[test]
    fn contradictions_name_key_and_value_and_what_is_allowed() {
        let two = "redis.addresses=a:1,[::1]:2";
        for (pairs, expected) in [
            (
                &["history.dir=/var/lib/throng"][..],
                "history.dir = \"/var/lib/throng\" (flag --set): history.dir belongs to engine = \"memory\"",
            ),
            (
                &[two],
                "redis.addresses = [\"a:1\", \"[::1]:2\"] (flag --set): redis.mode \"single\" takes one address, not 2",
            ),
            (
                &["redis.mode=sentinel"],
                "redis.mode = \"sentinel\" (flag --set): redis.mode \"sentinel\" needs redis.master_name",
            ),
            (
                &["redis.username=ann"],
                "redis.username = \"ann\" (flag --set): redis.username needs a password",
            ),
            (
                &["redis.mode=sentinel", "redis.master_name=m", "redis.sentinel_username=ann"],
                "redis.sentinel_username needs a password",
            ),
            (
                &["redis.room_ttl=20m"],
                "redis.room_ttl = \"20m\" (flag --set): redis.room_ttl (20m) must be at least 21m: history.ttl (10m)",
            ),
            (
                &["history.ttl=1h"],
                "history.ttl = \"1h\" (flag --set): redis.room_ttl (1h) must be at least 71m",
            ),
            (
                &[r#"rooms=[{pattern="a", history_ttl="2h"}]"#],
                "(1h) must be at least 131m: the history_ttl of a in rooms (2h) and 11m",
            ),
            (
                &["chat.max_message_chars=200000", "queue.max_bytes=8MiB", "redis.max_waiting_bytes=1MiB"],
                "must not exceed redis.max_waiting_bytes (1MiB)",
            ),
            (
                &["redis.addresses=a"],
                "redis.addresses[0] = \"a\" (flag --set): must be a host and a port, like",
            ),
            (&["redis.addresses="], "redis.addresses[0] = \"\" (flag --set): must be a host and a port"),
            (&["redis.prefix=a{b}"], "redis.prefix = \"a{b}\" (flag --set): must be 1 to 32 of"),
            (&["redis.room_ttl=10m"], "must be a duration with its unit from 11m to 31d"),
            (&["redis.mode=pair"], "must be one of single, sentinel, cluster"),
        ] {
            let line = mistake(pairs);
            assert!(line.contains(expected) && !line.contains("hunter2"), "{expected}\n{line}");
        }
        let many = (0..17).map(|n| format!("a:{}", n + 1)).collect::<Vec<_>>().join(",");
        let line = mistake(&["redis.mode=cluster", &format!("redis.addresses={many}")]);
        assert!(
            line.contains("a list (in the environment with commas) of 1 to 16, each a host and a port"),
            "{line}"
        );
        assert!(Config::load(sources(&["engine=redis", two, "redis.mode=cluster"])).is_ok());
    }

    #[test]
    fn a_url_with_a_password_is_not_shown() {
        for text in ["redis://ann:hunter2@redis:6379", "a:1,ann:hunter2@redis:6379"] {
            let line = mistake(&[&format!("redis.addresses={text}")]);
            assert!(line.contains("[redacted]") && !line.contains("hunter2"), "{line}");
            assert!(line.ends_with("user and password have keys of their own"), "{line}");
        }
    }

    #[test]
    fn files_of_tls_are_complete_and_are_what_their_keys_say() {
        const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";
        const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n";
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path.display().to_string()
        };
        let (certificate, key) = (file("certificate.pem", CERTIFICATE), file("key.pem", KEY));
        let tls = "redis.tls=true";
        let [ca, cert, private] = [("ca", &certificate), ("cert", &certificate), ("key", &key)]
            .map(|(k, f)| format!("redis.{k}_file={f}"));
        assert!(Config::load(sources(&["engine=redis", tls, &ca, &cert, &private])).is_ok());
        assert!(mistake(&[&ca]).contains("need redis.tls = true"));
        assert!(mistake(&[tls, &cert]).contains("belong together"));
        assert!(mistake(&[tls, &private]).contains("belong together"));
        let swapped = mistake(&[tls, &cert, &format!("redis.key_file={certificate}")]);
        assert!(
            swapped.contains("redis.key_file = ") && swapped.contains("must contain a private key"),
            "{swapped}"
        );
        let swapped = mistake(&[tls, &format!("redis.ca_file={key}")]);
        assert!(swapped.contains("must contain a certificate") && !swapped.contains("MA=="), "{swapped}");
        let gone = mistake(&[tls, "redis.ca_file=/no/such/file"]);
        assert!(gone.contains("redis.ca_file = \"/no/such/file\" (flag --set): cannot be read"), "{gone}");
    }

    #[test]
    fn passwords_come_from_files_and_are_never_shown() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "hunter2\n").expect("written");
        let path = file.path().display();
        let [one, two] = ["", "sentinel_"].map(|part| format!("redis.{part}password_file={path}"));
        let pairs = ["engine=redis", "redis.mode=sentinel", "redis.master_name=m", &one, &two];
        let config = Config::load(sources(&pairs)).expect("no mistakes");
        for password in [&config.redis.password, &config.redis.sentinel_password] {
            assert_eq!(password.as_ref().expect("read from the file").expose(), b"hunter2");
        }
        let both = mistake(&["redis.password=hunter2", &one]);
        assert!(
            both.starts_with("redis.password = \"[redacted]\" (flag --set): only one of redis.password"),
            "{both}"
        );
        assert!(!format!("{config:?}").contains("hunter2") && !config.to_toml(&config).contains("hunter2"));
    }

    #[test]
    fn keys_without_effect_give_a_warning() {
        for (pairs, expected) in [
            (&["redis.mode=cluster"][..], "`redis.mode` has no effect while `engine` is \"memory\""),
            (
                &["redis.password=hunter2", "redis.addresses=a:1,b:2"],
                "`redis.addresses`, `redis.password` have no effect while `engine` is \"memory\"",
            ),
            // This is what a printed configuration contains.
            (&["redis.mode=single", "redis.prefix=throng"], ""),
            (
                &["engine=redis", "redis.master_name=m", "redis.sentinel_password=hunter2"],
                "`redis.master_name`, `redis.sentinel_password` have no effect while `redis.mode` is \"single\"",
            ),
        ] {
            let warnings = Config::load(sources(pairs)).expect("no mistakes").warnings();
            assert_eq!(warnings.len(), usize::from(!expected.is_empty()), "{pairs:?}: {warnings:?}");
            assert!(warnings.iter().all(|warning| warning.starts_with(expected)), "{pairs:?}: {warnings:?}");
            assert!(!warnings.concat().contains("hunter2"));
        }
    }
}
