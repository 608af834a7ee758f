//! Checks of real servers.

use super::*;
use crate::broker::redis::link::check::{Report, Trial, check, trials};
use crate::config::{Finding, Level, Secret};

async fn checked(settings: &ServerSettings) -> Report {
    check(settings, &trials("throng:{~}:check"), &[], None).await
}

fn texts(report: &Report) -> String {
    let line =
        |finding: &Finding| format!("{}: {}\n", finding.text, finding.advice.as_deref().unwrap_or_default());
    report.findings.iter().map(line).collect()
}

#[tokio::test]
async fn a_well_configured_server_passes_and_keeps_nothing() {
    let limit = ("client-output-buffer-limit", "pubsub 256mb 256mb 60");
    let server = TestServer::start_with(&[limit, ("appendonly", "yes")]);
    let report = checked(&server.settings()).await;
    let is_slow_machine = |text: &str| text.contains("answers a ping after");
    assert!(report.findings.iter().all(|finding| is_slow_machine(&finding.text)), "{}", texts(&report));
    assert!(report.is_usable() && report.latency.is_some());
    assert!(report.clock_ahead_ms.unwrap().abs() < 1_000, "{report:?}");
    assert_eq!(server.run("DBSIZE"), redis::Value::Int(0));
}

#[tokio::test]
async fn unwise_settings_are_warned_of() {
    let server = TestServer::start_with(&[("maxmemory-policy", "allkeys-lru")]);
    let report = checked(&server.settings()).await;
    let texts = texts(&report);
    for part in ["maxmemory-policy is allkeys-lru", "client-output-buffer-limit", "nothing is persisted"] {
        assert!(texts.contains(part), "{texts}");
    }
    assert!(report.is_usable(), "{texts}");
}

#[tokio::test]
async fn every_command_that_is_refused_is_named() {
    let rights = "chat on >secret ~* &* +@all -config -xadd -eval -evalsha -sunsubscribe";
    let server = TestServer::start_with(&[("user", rights)]);
    let mut settings = server.settings();
    settings.username = Some("chat".into());
    settings.password = Some(Secret::new("secret"));
    let report = checked(&settings).await;
    let texts = texts(&report);
    let errors = report.findings.iter().filter(|finding| finding.level == Level::Error).count();
    assert_eq!((errors, report.is_usable()), (3, false), "{texts}");
    for part in [
        "refuses EVAL or EVALSHA (NOPERM",
        "refuses XADD (NOPERM",
        "CONFIG GET is refused",
        "refuses SUNSUBSCRIBE (NOPERM",
    ] {
        assert!(texts.contains(part), "{texts}");
    }
}

#[tokio::test]
async fn the_caller_adds_trials() {
    static BROKEN: Script = Script::new("broken", "return redis.call('NOSUCHCOMMAND')");
    let server = TestServer::start();
    let call = Call::Script { script: &BROKEN, keys: vec!["k".into()], args: Vec::new() };
    let report = check(&server.settings(), &[], &[Trial { name: "the script broken", call }], None).await;
    assert!(texts(&report).contains("refuses the script broken (ERR"), "{}", texts(&report));
}

#[tokio::test]
async fn another_mode_than_the_configured_one_is_an_error() {
    let server = TestServer::start();
    let settings = ServerSettings { is_cluster: true, ..server.settings() };
    let report = checked(&settings).await;
    assert!(!report.is_usable() && texts(&report).contains("redis.mode"), "{}", texts(&report));
}

#[tokio::test]
async fn a_server_that_cannot_be_used_is_one_error() {
    let mut server = TestServer::start();
    server.kill();
    let report = checked(&server.settings()).await;
    assert!(!report.is_usable() && report.facts.is_none() && report.findings.len() == 1, "{report:?}");
    assert!(texts(&report).starts_with("cannot connect"), "{report:?}");
}
