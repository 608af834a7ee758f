//! Tests of what the parts of the configuration give together: the list of keys, defaults, warnings.

use super::*;

#[test]
fn every_key_is_documented_and_named_once() {
    let paths: Vec<&str> = keys().map(|key| key.path).collect();
    let unique: std::collections::BTreeSet<&str> = paths.iter().copied().collect();
    assert_eq!(paths.len(), unique.len());
    for key in keys() {
        assert!(key.meaning.len() > 10 && !key.default.is_empty(), "{key:?}");
    }
}

#[test]
fn defaults_are_as_published() {
    let default = |path: &str| keys().find(|key| key.path == path).map(|key| key.default).unwrap();
    for (path, expected) in [
        ("listen", "127.0.0.1:8080"),
        ("node", "none"),
        ("engine", "memory"),
        ("redis.addresses", "[\"127.0.0.1:6379\"]"),
        ("redis.mode", "single"),
        ("redis.prefix", "throng"),
        ("redis.patience", "2s"),
        ("redis.max_waiting_bytes", "32MiB"),
        ("redis.room_ttl", "1h"),
        ("limits.max_message_bytes", "64KiB"),
        ("queue.policy", "disconnect"),
        ("fanout.linger", "0ms"),
        ("endpoints.timeout_max", "5m"),
        ("history.ttl", "10m"),
        ("auth.algorithm", "HS256"),
        ("auth.secret", "none"),
        ("admission.origins", "any"),
        ("rate_limit.enabled", "true"),
        ("drain.window", "5s"),
    ] {
        assert_eq!(default(path), expected, "{path}");
    }
}

#[test]
fn only_settings_that_were_set_give_warnings() {
    let warnings = |env: &[(&str, &str)]| {
        Config::load(Sources::new().environment(env.iter().copied())).unwrap().warnings()
    };
    assert_eq!(warnings(&[]), Vec::<String>::new());
    assert_eq!(warnings(&[("THRONG_RATE_LIMIT__ENABLED", "false")]), Vec::<String>::new());
    assert_eq!(warnings(&[("THRONG_LIMITS__MAX_CONNECTIONS_PER_ADDRESS", "0")]), Vec::<String>::new());
    assert_eq!(warnings(&[("THRONG_RATE_LIMIT__BURST", "5")]), Vec::<String>::new());
    let short = warnings(&[("THRONG_AUTH__SECRET", "hunter2")]);
    assert!(short.len() == 1 && !short[0].contains("hunter2"), "{short:?}");
}

#[test]
fn a_server_that_is_reachable_without_authentication_gives_a_warning() {
    let loaded = |pairs: &[&str]| {
        let sources = pairs.iter().fold(Sources::new(), |sources, pair| sources.set(pair));
        Config::load(sources).unwrap()
    };
    let secret = "auth.secret=an-example-key-of-at-least-32-bytes";
    for (pairs, warned) in [
        (&["listen=0.0.0.0:80"][..], "`auth.required` is false"),
        (&["listen=[::]:80", secret], "`auth.required` is false"),
        (&["listen=192.0.2.1:80"], "`auth.required` is false"),
        (&["listen=0.0.0.0:80", secret, "auth.required=true"], ""),
        (&["listen=127.0.0.2:80"], ""),
        (&["listen=[::1]:80"], ""),
        (&["listen=[::ffff:127.0.0.1]:80", "admission.proxy_protocol=true"], ""),
        (
            &["listen=0.0.0.0:80", secret, "auth.required=true", "admission.proxy_protocol=true"],
            "`admission.proxy_protocol` trusts every peer",
        ),
        (
            &[
                "listen=0.0.0.0:80",
                secret,
                "auth.required=true",
                "admission.proxy_protocol=true",
                "admission.trusted_proxies=10.0.0.0/8",
            ],
            "",
        ),
    ] {
        let warnings = loaded(pairs).warnings();
        assert_eq!(warnings.len(), usize::from(!warned.is_empty()), "{pairs:?}: {warnings:?}");
        assert!(warnings.iter().all(|warning| warning.contains(warned)), "{pairs:?}: {warnings:?}");
    }
    let defaults = loaded(&[]);
    assert!(!defaults.is_reachable() && defaults.loopback_notice().is_some());
    assert!(loaded(&["listen=127.0.0.1:8080"]).loopback_notice().is_none(), "`listen` is set");
}
