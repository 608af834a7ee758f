//! The command line and the settings: all mistakes are reported at once, with exit codes, and printed settings can be
//! read back.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::Output;

use crate::support::server::{Server, Settings, run};

/// Exit codes of `sysexits.h`: bad usage, and an address that cannot be used.
const USAGE: i32 = 64;
const UNAVAILABLE: i32 = 69;

/// Returns standard output and error together: these tests do not check which one a message goes to.
fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

#[test]
fn every_mistake_is_reported_at_once() {
    let mistakes: Settings<'_> = &[
        ("queue.max_bytes", "banana"),
        ("limits.no_such_key", "1"),
        ("workers", "-3"),
        ("drain.window", "5 parsecs"),
        ("auth.required", "perhaps"),
        ("chat.duplicate", "explode"),
        ("listen", "nowhere"),
    ];
    for command in ["serve", "check-config"] {
        let output = run(&[command], mistakes);
        let said = said(&output).to_lowercase();
        assert_eq!(output.status.code(), Some(USAGE), "{command}: {said}");
        for key in ["max_bytes", "no_such_key", "workers", "window", "required", "duplicate", "listen"] {
            assert!(said.contains(key), "{command}: {key} is not reported: {said}");
        }
        assert!(said.contains("banana") && said.contains("parsecs"), "{command}: no values: {said}");
    }
}

#[test]
fn mistakes_of_a_file_and_the_environment_are_reported_together() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    writeln!(file, "no_such_table = 1\n[queue]\nmax_messages = \"many\"\n").expect("written");
    let path = file.path().to_str().expect("a path in UTF-8");
    let output = run(&["check-config", "--config", path], &[("heartbeat.interval", "often")]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(USAGE), "{said}");
    for key in ["no_such_table", "max_messages", "interval"] {
        assert!(said.to_lowercase().contains(key), "{key} is not reported: {said}");
    }
}

#[test]
fn bad_arguments_are_bad_usage() {
    for arguments in [&["--no-such-flag"][..], &["no-such-command"], &["serve", "--workers", "x"]] {
        let output = run(arguments, &[]);
        assert_eq!(output.status.code(), Some(USAGE), "{arguments:?}: {}", said(&output));
    }
    let output = run(&["check-config", "--config", "/no/such/file.toml"], &[]);
    assert!(output.status.code().is_some_and(|code| (USAGE..=78).contains(&code)), "{}", said(&output));
}

#[test]
fn a_good_configuration_is_good() {
    let output = run(&["check-config"], &[("queue.max_bytes", "64KiB")]);
    assert!(output.status.success(), "{}", said(&output));
    for arguments in [&["--help"][..], &["--version"], &["serve", "--help"]] {
        assert!(run(arguments, &[]).status.success(), "{arguments:?}");
    }
}

#[test]
fn printed_settings_can_be_read_back() {
    let settings: Settings<'_> = &[
        ("queue.max_bytes", "96KiB"),
        ("drain.window", "1500ms"),
        ("admission.origins", "https://a.com,https://b.com"),
    ];
    let first = run(&["check-config", "--print-config"], settings);
    assert!(first.status.success(), "{}", said(&first));
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(&first.stdout).expect("written");
    let path = file.path().to_str().expect("a path in UTF-8");
    let second = run(&["check-config", "--print-config", "--config", path], &[]);
    assert!(second.status.success(), "{}", said(&second));
    let [first, second] = [first, second].map(|output| String::from_utf8(output.stdout).expect("UTF-8"));
    assert_eq!(first, second);
    assert!(first.contains("https://b.com"), "{first}");
    let defaults = run(&["check-config", "--print-config"], &[]);
    let defaults = String::from_utf8(defaults.stdout).expect("UTF-8");
    let same = |line: &&str| defaults.lines().any(|default| default == *line);
    // The node's name is random, and so differs.
    let changed = first.lines().filter(|line| !line.starts_with("node") && !same(line));
    assert_eq!(
        changed.count(),
        settings.len(),
        "the lines that differ from the defaults are those that were set:
{first}"
    );
}

#[test]
fn settings_of_the_engine_are_checked_and_its_passwords_are_not_shown() {
    let engine = ("engine", "redis");
    let two = ("redis.addresses", "one.example:6379,two.example:6379");
    let password = ("redis.password", "hunter2-hunter2");
    let output = run(&["check-config"], &[engine, two, password, ("history.dir", "/var/lib/throng")]);
    let wrong = said(&output);
    assert_eq!(output.status.code(), Some(USAGE), "{wrong}");
    for part in ["history.dir = \"/var/lib/throng\"", "takes one address, not 2", "two.example:6379"] {
        assert!(wrong.contains(part), "no {part}: {wrong}");
    }
    let output =
        run(&["check-config", "--print-config"], &[engine, two, password, ("redis.mode", "cluster")]);
    let good = said(&output);
    assert!(output.status.success() && good.contains("engine = \"redis\""), "{good}");
    assert!(good.contains("# password = \"[redacted]\""), "{good}");
    let idle = said(&run(&["check-config"], &[password]));
    assert!(idle.contains("warning: `redis.password` has no effect while `engine` is \"memory\""), "{idle}");
    assert!(![wrong, good, idle].concat().contains("hunter2"), "a password was shown");
}

#[test]
fn the_environment_beats_the_file_and_flags_beat_both() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    writeln!(file, "workers = 3\n[queue]\nmax_messages = 11\n[chat]\ndefault_room = \"file\"")
        .expect("written");
    let path = file.path().to_str().expect("a path in UTF-8");
    let environment: Settings<'_> = &[("queue.max_messages", "22"), ("workers", "4")];
    let output = run(&["check-config", "--print-config", "--config", path, "--workers", "5"], environment);
    let printed = said(&output);
    for line in ["workers = 5", "max_messages = 22", "default_room = \"file\""] {
        assert!(printed.contains(line), "no {line}: {printed}");
    }
    let output = run(&["check-config", "--print-config", "--set", "queue.max_messages=33"], environment);
    assert!(said(&output).contains("max_messages = 33"), "{}", said(&output));
}

#[test]
fn an_address_in_use_is_named_in_the_error() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let output = run(&["serve", "--listen", &address], &[]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(UNAVAILABLE), "{said}");
    assert!(said.contains(&address), "the address is not named: {said}");
}

#[test]
fn the_server_starts_quickly() {
    let started = std::time::Instant::now();
    let server = Server::start(&[]);
    assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
    assert_eq!(server.get("/readyz").status, 200);
}
