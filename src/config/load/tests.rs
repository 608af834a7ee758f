//! Tests of the layers and of the errors in them.

use std::time::Duration;

use super::super::kind::Kind;
use super::super::list::Lines;
use super::super::text::HeaderSecret;
use super::super::types::{Duplicate, QueuePolicy, Secret};
use super::*;

fn file(text: &str) -> Sources {
    Sources::new().file("throng.toml", text)
}

fn environment(name: &str, value: &str) -> Sources {
    Sources::new().environment([(name, value)])
}

/// Loads and returns the errors, one line each.
fn mistakes(sources: Sources) -> Vec<String> {
    match Config::load(sources) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.to_string().lines().map(Into::into).collect(),
    }
}

/// Loads and returns the one error that must be found.
fn mistake(sources: Sources) -> String {
    let mut found = mistakes(sources);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn later_layers_win() {
    let text = "workers = 1\nnode = \"file\"\n[queue]\nmax_bytes = \"128KiB\"\npolicy = \"drop_oldest\"";
    let sources = file(text)
        .environment([("THRONG_WORKERS", "2"), ("THRONG_QUEUE__MAX_BYTES", "512KiB"), ("PATH", "/bin")])
        .set("workers=3")
        .flag("--workers", "workers", "4");
    let config = Config::load(sources).expect("no mistakes");
    assert_eq!(config.workers, 4);
    assert_eq!(config.queue.max_bytes, 512 * 1024);
    assert_eq!(config.queue.policy, QueuePolicy::DropOldest);
    assert_eq!(config.node, "file");
    assert_eq!(config.heartbeat.interval, Duration::from_secs(25));
}

#[test]
fn a_history_on_disk_is_kept_for_days_unless_the_time_is_given() {
    let ttl = |sources| Config::load(sources).expect("no mistakes").history.ttl;
    let sources = Sources::new().set("history.dir=/tmp/h");
    assert_eq!(ttl(Sources::new()), Duration::from_secs(600));
    assert_eq!(ttl(sources.clone()), Duration::from_secs(7 * 86_400));
    assert_eq!(ttl(sources.set("history.ttl=10m")), Duration::from_secs(600));
}

#[test]
fn text_stands_for_every_type() {
    let config = Config::load(Sources::new().environment([
        ("THRONG_LISTEN", "0.0.0.0:0"),
        ("THRONG_LIMITS__MAX_ROOMS", "2_000"),
        ("THRONG_HEARTBEAT__INTERVAL", "100ms"),
        ("THRONG_CHAT__DUPLICATE", "allow"),
        ("THRONG_METRICS__ENABLED", "false"),
        ("THRONG_ADMISSION__ORIGINS", "https://a.example, https://b.example"),
        ("THRONG_ADMISSION__TRUSTED_PROXIES", "10.0.0.0/8,::1"),
        ("THRONG_ROOMS", r#"[{pattern="live-*", history_messages=5}]"#),
        ("THRONG_HISTORY__DIR", "/var/lib/throng"),
        ("THRONG_DRAIN__WINDOW", "0ms"),
    ]))
    .expect("no mistakes");
    assert_eq!(config.listen[0].to_string(), "0.0.0.0:0");
    assert_eq!(config.limits.max_rooms, 2000);
    assert_eq!(config.heartbeat.interval, Duration::from_millis(100));
    assert_eq!(config.chat.duplicate, Duplicate::Allow);
    assert!(!config.metrics.enabled);
    assert_eq!(config.admission.origins, ["https://a.example", "https://b.example"]);
    assert_eq!(config.admission.trusted_proxies, ["10.0.0.0/8", "::1"]);
    assert_eq!(config.rooms[0].history_messages, Some(5));
    assert_eq!(config.drain.window, Duration::ZERO);
}

#[test]
fn any_origin_must_be_asked_for_by_name() {
    for good in ["any", "*"] {
        assert!(
            Config::load(environment("THRONG_ADMISSION__ORIGINS", good))
                .expect("no mistakes")
                .admission
                .origins
                .is_empty()
        );
    }
    assert!(mistake(environment("THRONG_ADMISSION__ORIGINS", "")).contains("\"any\" or"));
    assert!(mistake(file("[admission]\norigins = []")).contains("\"any\" or"));
    assert!(
        mistake(environment("THRONG_ADMISSION__ORIGINS", "any,https://a.example")).contains("\"any\" or")
    );
}

#[test]
fn unknown_keys_get_a_hint() {
    let line = mistake(file("[limits]\nmax_conections = 5"));
    let expected =
        "limits.max_conections (file throng.toml): unknown key, did you mean limits.max_connections?";
    assert_eq!(line, expected);

    let line = mistake(environment("THRONG_QUEUE_MAX_BYTES", "1MiB"));
    assert!(line.ends_with("unknown key, did you mean THRONG_QUEUE__MAX_BYTES?"), "{line}");
    assert!(line.contains("(environment variable THRONG_QUEUE_MAX_BYTES)"), "{line}");

    assert_eq!(
        mistake(Sources::new().set("wrokers=2")),
        "wrokers (flag --set): unknown key, did you mean workers?"
    );
    assert_eq!(mistake(Sources::new().set("gibberish=2")), "gibberish (flag --set): unknown key");
    assert_eq!(mistake(file("[gibberish]")), "gibberish (file throng.toml): unknown key");
    assert!(mistake(file("limits = 5")).contains("is a section, set its keys, like limits.max_connections"));
    assert!(mistake(Sources::new().set("workers")).contains("must be KEY=VALUE"));
    assert_eq!(mistakes(file("[limits]")), Vec::<String>::new(), "an empty section says nothing wrong");
}

#[test]
fn wrong_types_and_values_say_what_is_allowed() {
    for (text, expected) in [
        ("workers = \"4\"", "workers = \"4\" (file throng.toml): must be a whole number from 0 to 255"),
        ("workers = 256", "workers = 256 (file throng.toml): must be a whole number from 0 to 255"),
        ("workers = -1", "from 0 to 255"),
        ("listen = \"localhost\"", "like 127.0.0.1:8080"),
        ("listen = { a = 1 }", "like 127.0.0.1:8080"),
        ("node = \"a b\"", "1 to 64 of"),
        ("node = \"\"", "1 to 64 of"),
        ("queue.max_bytes = \"63KiB\"", "a size from 64KiB to 1GiB"),
        ("queue.total_bytes = 1", "0 or a size from 64KiB to 1TiB"),
        ("queue.policy = \"drop\"", "one of disconnect, drop_oldest, drop_newest"),
        ("limits.max_message_bytes = 0", "a size from 1 to 1GiB"),
        ("heartbeat.timeout = \"0s\"", "from 1ms to 1h"),
        ("heartbeat.timeout = 10", "a duration with its unit"),
        ("metrics.enabled = \"yes\"", "true or false"),
        ("log.level = \"warning\"", "a level (off, error, warn"),
        ("admission.origins = [\"a.example\"]", "scheme://host[:port]"),
        ("admission.trusted_proxies = [\"ten\"]", "an IP address or block"),
        ("auth.public_key = \"abc\"", "a public key in PEM"),
        ("rooms = 5", "a list of up to 256 tables"),
    ] {
        let line = mistakes(file(text)).remove(0);
        assert!(line.contains(expected), "{text}: {line}");
    }
}

#[test]
fn errors_of_room_rules_name_rule_and_field() {
    let found = mistakes(file(
        "[[rooms]]\npattern = \"a b\"\n[[rooms]]\npatern = \"x\"\nhistory_ttl = 5\n[[rooms]]\npattern = \"ok\"",
    ));
    let expected = [
        "rooms[0].pattern = \"a b\" (file throng.toml): must be a room name",
        "rooms[1].history_ttl = 5 (file throng.toml): must be a duration",
        "rooms[1].patern (file throng.toml): unknown key, did you mean pattern?",
        "rooms[1].pattern (file throng.toml): must be set",
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for start in expected {
        assert!(found.iter().any(|line| line.starts_with(start)), "{start}: {found:?}");
    }
    let injected = mistake(environment("THRONG_ROOMS", "[]\nworkers = 5"));
    assert!(injected.contains("must be a list"), "{injected}");
}

#[test]
fn contradictions_name_the_key_that_was_set() {
    let line = mistake(Sources::new().set("endpoints.timeout_max=5s"));
    assert_eq!(
        line,
        "endpoints.timeout_max = \"5s\" (flag --set): \
         endpoints.timeout (30s) must not exceed endpoints.timeout_max (5s)"
    );
    for (pairs, expected) in [
        (&["auth.required=true"][..], "no key could verify a token"),
        (&["auth.secret=a", "auth.secret_file=/none"], "only one of"),
        (&["auth.secret=a", "auth.algorithm=RS256"], "auth.secret belongs to HS256"),
        (&["auth.public_key=-----BEGIN PUBLIC KEY-----"], "HS256 takes auth.secret"),
        (&["queue.total_bytes=64KiB"], "queue.max_bytes (1MiB) must not exceed queue.total_bytes (64KiB)"),
        (&["history.bytes=512MiB"], "must not exceed history.total_bytes"),
        (&[r#"rooms=[{pattern="a", history_bytes="1GiB"}]"#], "history_bytes of a (1GiB) must not exceed"),
        (&["chat.max_message_chars=1000000"], "must not exceed queue.max_bytes (1MiB)"),
        (&["rate_limit.burst=300"], "(300) must not exceed rate_limit.frames_per_second (200)"),
    ] {
        let sources = pairs.iter().fold(Sources::new(), |sources, pair| sources.set(pair));
        let found = mistakes(sources);
        assert!(found.iter().any(|line| line.contains(expected)), "{pairs:?}: {found:?}");
    }
    // An invalid value is not compared with others.
    assert!(
        mistake(Sources::new().set("endpoints.timeout=10m").set("endpoints.timeout_max=x"))
            .contains("from 1ms to 1d")
    );
}

#[test]
fn everything_at_once() {
    let sources = file("workers = 900\n[queue]\nmax_bytes = 1\nnonsense = true")
        .environment([("THRONG_DRAIN__WINDOW", "soon"), ("THRONG_NOTHING", "1")])
        .set("log.format=xml")
        .flag("--listen", "listen", "here");
    let found = mistakes(sources);
    assert_eq!(found.len(), 7, "{found:#?}");
    for (line, origin) in found[3..].iter().zip([
        "(environment variable THRONG_DRAIN__WINDOW)",
        "(environment variable THRONG_NOTHING)",
        "(flag --set)",
        "(flag --listen)",
    ]) {
        assert!(line.contains(origin), "{line}");
    }
}

#[test]
fn syntax_errors_name_the_line_and_quote_nothing() {
    let line = mistake(file("workers = 1\n[auth]\nsecret = hunter2"));
    assert!(line.starts_with("line 3, column"), "{line}");
    assert!(!line.contains("hunter2"), "{line}");
}

#[test]
fn no_secret_is_ever_shown() {
    let sources = file(
        "[auth]\nsecret = 12345678\nsecrt = \"12345678\"\n[api]\nkeys = \"12345678\"\nkes = [\"12345678\"]",
    )
    .environment([("THRONG_AUTH__SECRET", "12345678".repeat(1000)), ("THRONG_SECRET", "12345678".into())])
    .set("api.key=12345678")
    .set("12345678");
    let text = Config::load(sources).unwrap_err().to_string();
    assert!(text.lines().count() >= 7, "{text}");
    assert!(!text.contains("1234"), "{text}");
    assert!(text.contains("auth.secret = [redacted]"), "{text}");

    let config = Config::load(Sources::new().set("auth.secret=12345678")).expect("no mistakes");
    assert!(!format!("{config:?}").contains("1234"));
}

#[test]
fn keys_come_from_files() {
    let mut sources = Sources::new().set("auth.secret_file=/run/secret").set("auth.required=true");
    sources.read = |path| {
        assert_eq!(path, Path::new("/run/secret"));
        Ok("hunter2\n".into())
    };
    let config = Config::load(sources.clone()).expect("no mistakes");
    assert_eq!(config.auth.secret, [Secret::new("hunter2")]);

    sources.read = |_| Ok("first\n\n  second, with blanks \t\r\n".into());
    let config = Config::load(sources.clone()).expect("no mistakes");
    assert_eq!(config.auth.secret, ["first", "  second, with blanks"].map(Secret::new));
    let config = Config::load(file("auth.secret = [\"first\", \"second, too\"]")).expect("no mistakes");
    assert_eq!(config.auth.secret, ["first", "second, too"].map(Secret::new));
    let many = mistake(environment("THRONG_AUTH__SECRET", &"canary\n".repeat(9)));
    assert!(many.contains("a list of up to 8 (in text one per line)") && !many.contains("canary"), "{many}");

    sources.read = |_| Err(io::ErrorKind::NotFound.into());
    assert!(
        mistake(sources.clone()).contains("auth.secret_file = \"/run/secret\" (flag --set): cannot be read")
    );
    sources.read = |_| Ok("\n".into());
    assert!(mistake(sources).contains("must contain 1 to 4096 bytes"));

    let mut sources = Sources::new().set("api.keys_file=/run/keys");
    sources.read = |_| Ok("an-example-key-1\r\n\n  an-example,key-2\n".into());
    let keys = Config::load(sources.clone()).expect("no mistakes").api.keys;
    let keys: Vec<_> = keys.iter().map(Secret::expose).collect();
    assert_eq!(keys, [&b"an-example-key-1"[..], b"an-example,key-2"]);
    for text in ["\n", "too-short\n", "an-example-key-1 and more\n", "an-example-key-1\nshort"] {
        assert!(
            HeaderSecret.parse(Raw::Text(text)).is_none()
                && Lines(HeaderSecret).parse(Raw::Text(text)).is_none()
        );
    }
    let both = mistake(sources.clone().set("api.keys=an-example-key-1"));
    assert!(both.contains("only one of api.keys and api.keys_file"), "{both}");
    sources.read = |_| Ok("canary\n".into());
    let line = mistake(sources);
    assert!(
        line.contains("must contain 1 to 1024 lines, each 16 to 256") && !line.contains("canary"),
        "{line}"
    );
    assert!(mistake(Sources::new().set("api.keys=short")).starts_with("api.keys = [redacted] ("));
}

#[test]
fn a_key_that_does_not_fit_its_algorithm_is_a_mistake() {
    const RS256: &str = include_str!("../../../tests/keys/TEST-ONLY-rs256.public.pem");
    const ES256: &str = include_str!("../../../tests/keys/TEST-ONLY-es256.public.pem");
    const PRIVATE: &str = include_str!("../../../tests/keys/TEST-ONLY-es256.private.pem");
    let with = |algorithm: &str, key: &str| {
        Sources::new().environment([("THRONG_AUTH__ALGORITHM", algorithm), ("THRONG_AUTH__PUBLIC_KEY", key)])
    };
    assert!(Config::load(with("RS256", RS256)).is_ok());
    let line = mistake(with("ES256", RS256));
    assert_eq!(
        line,
        "auth.public_key (environment variable THRONG_AUTH__PUBLIC_KEY): is an RSA key, but auth.algorithm ES256 \
         takes an EC key on the curve P-256"
    );
    assert!(mistake(with("RS256", "-----BEGIN PUBLIC KEY-----\nabc")).contains("damaged or cut off"));
    // A value that may be a private key is not shown.
    assert!(mistake(with("ES256", PRIVATE)).starts_with("auth.public_key = [redacted] ("));

    // Of several keys, the one that is wrong is named.
    let two = mistake(with("RS256", &format!("{RS256}{ES256}")));
    assert!(two.starts_with("auth.public_key[1] (environment variable"), "{two}");
    let config = Config::load(with("RS256", &format!("{RS256}{RS256}"))).expect("no mistakes");
    assert_eq!(config.auth.public_key, [RS256, RS256]);
    let list = file(&format!("auth.secret = [\"a\", {RS256:?}]"));
    assert!(mistake(list).starts_with("auth.secret[1] (file throng.toml): is a key in PEM"));

    let mut sources = Sources::new().set("auth.algorithm=EdDSA").set("auth.public_key_file=/run/key");
    sources.read = |_| Ok(RS256.into());
    let line = mistake(sources);
    assert!(line.starts_with("auth.public_key_file (flag --set): is an RSA key"), "{line}");
    // With the public key as the secret, anybody could sign tokens.
    let mut sources = Sources::new().set("auth.secret_file=/run/key");
    sources.read = |_| Ok(RS256.into());
    assert!(mistake(sources).contains("set auth.algorithm and auth.public_key_file"));
}

#[cfg(unix)]
#[test]
fn the_environment_must_be_text() {
    use std::os::unix::ffi::OsStringExt;
    let sources = Sources::new().environment([("THRONG_NODE", OsString::from_vec(vec![0xff]))]);
    assert!(mistake(sources).contains("must be UTF-8"));
}
