//! The canary of the logs: it finds every kind of secret that is planted, reports it without repeating it, and lets
//! logs without secrets pass.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::canary::{Canary, remember_header, remember_request, remember_target};
use crate::support::log::Log;
use crate::support::raw::handshake;

const SECRET: &str = "planted-secret-of-\"32\"-characters";

/// Returns a command with a secret in each place that a test may put one.
fn command(folder: &Path) -> Command {
    let path = |name: &str| folder.join(name).display().to_string();
    for (name, text) in [
        ("keys", "planted-key-in-file\nname=planted-key-with-name\n"),
        ("hook", "whsec_cGxhbnRlZC1ob29r\n"),
        ("toml-password", "planted-password-in-file"),
        (
            "toml",
            &*format!(
                "[redis]\npassword_file = '{}'\n[auth]\nsecret = ['planted-in-toml']\n",
                path("toml-password")
            ),
        ),
    ] {
        std::fs::write(folder.join(name), text).expect("written");
    }
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec \"$@\" --config {}", path("toml")), "sh", "serve"]);
    command.args(["--auth.secret=planted-in-flag", "--set", "redis.password=planted-in-set"]);
    command.env("THRONG_AUTH__SECRET", format!("{SECRET}\nplanted-second-secret"));
    command.env("THRONG_API__READ_KEYS", "planted-first-key,bob=planted-other-key");
    command.env("THRONG_API__KEYS_FILE", path("keys"));
    command.env("THRONG_REDIS__URL", "redis://planted-user:planted-in-url@127.0.0.1:1");
    command.env(
        "THRONG_WEBHOOKS__RECEIVERS",
        format!("[{{url = 'http://a', secret_file = '{}'}}]", path("hook")),
    );
    command.env("TOKEN_SECRET", "planted-for-backend");
    command.env("THRONG_AUTH__PUBLIC_KEY", "no-secret-but-public");
    command.env("THRONG_API__MAX_KEYS", "1000000");
    command
}

#[test]
fn every_planted_secret_is_found_and_not_repeated() {
    let folder = tempfile::tempdir().expect("a folder");
    let canary = Canary::of(&command(folder.path()));
    remember_request(handshake("/ws?token=planted-in-query&session=planted-session", "").as_bytes());
    remember_request(handshake("/ws", "X-API-Key: planted-in-header\r\n").as_bytes());
    remember_header("Authorization", "Bearer planted-bearer");
    remember_header("Sec-WebSocket-Protocol", "throng.v1, bearer, planted-in-protocol");
    remember_target("/sse/a?token=planted.and.c2lnbmF0dXJlLW9mLXBsYW50");
    let json = SECRET.replace('"', "\\\"");
    for secret in [
        SECRET,
        &json,
        "planted-second-secret",
        "planted-first-key",
        "planted-other-key",
        "planted-key-in-file",
        "planted-key-with-name",
        "cGxhbnRlZC1ob29r",
        "planted-password-in-file",
        "planted-in-toml",
        "planted-in-flag",
        "planted-in-set",
        "planted-in-url",
        "planted-for-backend",
        "planted-in-query",
        "planted-session",
        "planted-in-header",
        "planted-bearer",
        "planted-in-protocol",
        "c2lnbmF0dXJlLW9mLXBsYW50",
        // These give themselves away.
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2ln",
        "0123456789abcdef0123456789abcdef",
        "Bearer some-stranger",
        "whsec_AAECAwQFBgcICQoLDA0ODxAR",
        "redis://some:stranger@127.0.0.1/",
        "-----BEGIN PRIVATE KEY-----\\nMC4CAQAwBQYDK2VwBCIEIA",
    ] {
        let line = format!("{{\"message\":\"a line with {secret} in it\"}}");
        let secret = secret.trim_start_matches("whsec_");
        let report = canary.leak(["a good line", &line]).unwrap_or_else(|| panic!("{secret} is not found"));
        let is_shown = report.contains(&secret[3..]) && !secret.starts_with(['-', 'B', 'r']);
        assert!(report.contains("a line with ") && report.contains('…') && !is_shown, "{report}");
    }
    // A token is shortened as a whole, although its signature alone was found, and so is a second secret in its line.
    let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJib2IifQ.c2lnbmF0dXJlLW9mLXBsYW50";
    let both = canary.leak([&*format!("{token} and {SECRET}")]).expect("a leak");
    assert!(both.ends_with("… and pla…") && !both.contains("eyJzdWIi"), "{both}");
    // A file that has another secret when it is read again, and the first one, which was in use before.
    std::fs::write(folder.path().join("keys"), "planted-in-place\n").expect("written");
    for secret in ["planted-in-place", "planted-key-in-file"] {
        assert!(canary.leak([secret]).is_some(), "{secret}");
    }
}

#[test]
fn a_line_without_a_secret_passes() {
    let folder = tempfile::tempdir().expect("a folder");
    let canary = Canary::of(&command(folder.path()));
    for line in [
        "the key must be in `Authorization: Bearer KEY` or `X-API-Key`, as whsec_ and base64",
        "no-secret-but-public, 1000000 keys",
        "script 0123456789abcdef0123456789abcdef01234567 at http://127.0.0.1:80/a@b and user@host",
        "-----BEGIN PUBLIC KEY-----",
        "connection of alice ended after 12345678901234567890 ns, id 5q01ku2n3d503",
    ] {
        assert_eq!(canary.leak([line]), None);
    }
    // The operator's key may be announced, once.
    let own = "dashboard: http://127.0.0.1:1/dashboard#key=4d4c9c4b8b8f4c0f8e1f7a6b5c4d3e2f";
    assert_eq!(canary.leak([own, "a good line"]), None);
    let (_, key) = own.split_once("#key=").expect("a key");
    // Clients use it.
    remember_header("X-API-Key", key);
    assert_eq!(canary.leak([own]), None);
    let configured = "dashboard: http://127.0.0.1:1/dashboard#key=planted-other-key";
    assert!(canary.leak([configured]).is_some_and(|report| !report.contains("planted-o")));
    let again = canary.leak([own, &format!("called with {key}")]).expect("a leak");
    assert!(again.contains("the operator's key") && !again.contains(key), "{again}");
}

/// Returns the log of a process that writes its own secret.
fn leaking() -> Log {
    let mut command = Command::new("sh");
    command.args(["-c", "echo a good line >&2; echo \"oh: $THRONG_AUTH__SECRET\" >&2"]);
    command.env("THRONG_AUTH__SECRET", SECRET).stderr(Stdio::piped());
    let mut child = command.spawn().expect("sh runs");
    let log = Log::follow(child.stderr.take().expect("stderr is piped"), &command);
    child.wait().expect("a child of ours");
    log
}

fn panic_of(work: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(work)).expect_err("a panic");
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).expect("a text")
}

#[test]
fn a_log_with_a_secret_fails_its_test_when_it_is_dropped() {
    let log = leaking();
    let said = panic_of(|| drop(log));
    assert_eq!(said, "the secret of `auth.secret` is in the log: oh: pla…");
}

/// A second panic while a test fails would abort all tests.
#[test]
fn a_test_that_fails_already_fails_with_its_own_words() {
    let logs = [leaking(), leaking()];
    let said = panic_of(|| {
        let _logs = logs;
        panic!("the first mistake");
    });
    assert_eq!(said, "the first mistake");
    // Of two logs that are dropped together, the first one fails the test, and the second one does not abort it.
    let logs = vec![leaking(), leaking()];
    assert!(panic_of(|| drop(logs)).starts_with("the secret of `auth.secret`"));
}
