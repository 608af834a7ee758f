//! The examples of the manual: command lines, settings, what a log and a first chat look like, the clients to copy.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use super::{CLIENTS, GETTING_STARTED, Page, README, blocks};
use crate::examples::run_in_node;
use crate::support::client::Client;
use crate::support::log::Log;
use crate::support::server::{Server, run, signal, throng};

/// Returns the key and the value of an assignment like `THRONG_QUEUE__MAX_BYTES=512KiB`.
fn assignment(word: &str) -> Option<(String, String)> {
    let (name, value) = word.strip_prefix("THRONG_")?.split_once('=')?;
    Some((name.to_lowercase().replace("__", "."), value.trim_matches(['"', '\'']).to_owned()))
}

/// Runs the binary with the words and settings of a shell line. Returns its standard error if it fails.
fn accepted(words: &[&str], settings: &[(String, String)]) -> Result<(), String> {
    let settings: Vec<_> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let output = run(words, &settings);
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn every_command_line_is_understood() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(blocks("toml").concat().as_bytes()).expect("written");
    let path = file.path().to_str().expect("a path in UTF-8");
    let mut count = 0;
    for line in blocks("sh").iter().flat_map(|block| block.lines()) {
        let line = line.split(" #").next().unwrap_or(line).split(" > ").next().unwrap_or(line);
        let words: Vec<_> = line.split_whitespace().map(|word| word.trim_matches('\'')).collect();
        let settings: Vec<_> = words.iter().map_while(|word| assignment(word)).collect();
        let mut arguments = match &words[settings.len()..] {
            ["throng", arguments @ ..] | ["cargo", "run", "--release", "--", arguments @ ..] => {
                arguments.to_vec()
            }
            ["cargo", "run", "--release"] => Vec::new(),
            _ => continue,
        };
        count += 1;
        arguments.iter_mut().filter(|word| **word == "throng.toml").for_each(|word| *word = path);
        // A command that would serve prints its settings instead.
        let serves = arguments.first().is_none_or(|first| *first == "serve" || first.starts_with("--"));
        if serves && !arguments.contains(&"--help") {
            arguments.push("--print-config");
        }
        // A command that would measure, chat, call or write prints its help instead, once it has understood the rest.
        if matches!(
            arguments.first(),
            Some(&"api" | &"bench" | &"chat" | &"completions" | &"demo" | &"health" | &"history" | &"man")
        ) {
            arguments.push("--help");
        }
        assert_eq!(accepted(&arguments, &settings), Ok(()), "{line}");
    }
    assert!(count >= 5, "only {count} command lines found");
}

#[test]
fn the_examples_of_settings_are_accepted_and_say_what_they_seem_to() {
    let [toml] = blocks("toml")[..] else { panic!("one example in TOML") };
    let settings: Vec<_> = blocks("env").iter().flat_map(|block| block.lines()).map(assignment).collect();
    let settings: Vec<_> = settings.into_iter().map(|setting| setting.expect("NAME=VALUE")).collect();
    assert!(settings.len() >= 3, "an example of the environment");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(toml.as_bytes()).expect("written");
    let path = file.path().to_str().expect("a path in UTF-8");
    assert_eq!(accepted(&["check-config"], &settings), Ok(()));
    assert_eq!(accepted(&["check-config", "--config", path], &settings), Ok(()));
    // An example that used a key that is not in force would be warned about.
    let output = run(&["check-config", "--config", path], &[]);
    let warnings = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && warnings.is_empty(), "{warnings}");
}

/// Returns a line of the log without the parts that differ from run to run.
fn unstamped(line: &str) -> String {
    let (_, line) = line.split_once(' ').unwrap_or(("", line));
    let varies =
        |word: &&str| ["address=", "node=", "workers=", "http://"].iter().any(|name| word.starts_with(name));
    let masked = |word: &str| word.split(['=', '/']).next().unwrap_or_default().to_owned();
    let words = line.split(' ').map(|word| if varies(&word) { masked(word) } else { word.to_owned() });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn the_log_is_written_as_shown() {
    let (_, rest) =
        GETTING_STARTED.text.split_once("has written to standard error:\n\n```text\n").expect("the example");
    let shown = rest.lines().take_while(|line| *line != "```");
    // The server logs this line only if `listen` is not set, and then it would use the port of the example.
    let (of_default, shown): (Vec<_>, Vec<_>) =
        shown.map(unstamped).partition(|line| line.contains("`listen`"));
    let [of_default] = &of_default[..] else { panic!("one line about `listen`: {of_default:?}") };
    let text = of_default.trim_start().strip_prefix("INFO throng: ").expect("a line of main's");
    let code = include_str!("../../../src/config/checks/mod.rs").replace("\\\n", "");
    let code = code.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(code.contains(text), "the checks say no {text:?}");
    let mut command = throng(&[], &[]);
    command
        .args(["--listen", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the server starts");
    let log = Log::follow(child.stderr.take().expect("stderr is piped"), &command);
    log.wait_for_line("listening", |line| line.contains("listening"));
    signal(&child, "TERM");
    log.wait_for_end();
    let _ = child.wait();
    let written: Vec<_> = log.text().lines().map(unstamped).collect();
    assert_eq!(shown, written);
}

/// Returns an event without the fields that differ from run to run.
fn masked(event: &str) -> String {
    let mut event: Value = serde_json::from_str(event).unwrap_or_else(|error| panic!("{error}: {event}"));
    for field in ["ts", "id"] {
        if let Some(value) = event.get_mut(field) {
            *value = "differs".into();
        }
    }
    event.to_string()
}

/// Returns the events that a page shows for one of the users of its first chat.
fn shown(page: Page, user: &str) -> Vec<String> {
    let lines = page.section("## A first chat").lines();
    lines.filter_map(|line| line.strip_prefix(&format!("{user} gets "))).map(masked).collect()
}

#[tokio::test]
async fn the_first_chat_goes_as_shown() {
    let server = Server::start(&[]);
    let (mut said_alice, mut said_bob) = (Vec::new(), Vec::new());
    let mut alice = Client::connect(&server, "/ws/chat/alice").await;
    said_alice.push(masked(&alice.recv_text().await));
    let mut bob = Client::connect(&server, "/ws/chat/bob").await;
    said_bob.push(masked(&bob.recv_text().await));
    said_alice.push(masked(&alice.recv_text().await));
    alice.send_text(r#"{"message":"hi"}"#).await;
    said_alice.push(masked(&alice.recv_text().await));
    said_bob.push(masked(&bob.recv_text().await));
    bob.send_text("hello?").await;
    said_bob.push(masked(&bob.recv_text().await));
    bob.close().await;
    said_alice.push(masked(&alice.recv_text().await));
    assert_eq!(shown(GETTING_STARTED, "alice"), said_alice);
    assert_eq!(shown(GETTING_STARTED, "bob"), said_bob);
    // The README stops after the first message.
    let (of_alice, of_bob) = (shown(README, "alice"), shown(README, "bob"));
    assert!(said_alice.starts_with(&of_alice) && said_bob.starts_with(&of_bob), "{of_alice:?} {of_bob:?}");
    assert_eq!((of_alice.len(), of_bob.len()), (3, 2));
}

/// Returns a first chat with pauses five times as long, because other tests keep the machine busy.
fn slowed(program: &str) -> String {
    let mut slowed = program.to_owned();
    for ms in [200, 300, 600, 900] {
        slowed = slowed.replace(&format!(", {ms})"), &format!(", {})", 5 * ms));
    }
    assert_ne!(slowed, program, "no pauses in {program}");
    slowed
}

#[test]
fn the_first_chats_print_what_is_shown_below_them() {
    for page in [README, GETTING_STARTED] {
        let [program] = page.blocks("js")[..] else { panic!("one program in JavaScript on each page") };
        let server = Server::start(&[]);
        let program = slowed(program).replace("127.0.0.1:8080", &server.address().to_string());
        let Some(printed) = run_in_node(&program) else { return };
        for user in ["alice", "bob"] {
            let lines = printed.lines().filter_map(|line| line.strip_prefix(&format!("{user} gets ")));
            assert_eq!(lines.map(masked).collect::<Vec<_>>(), shown(page, user), "{printed}");
        }
        // The ends are counted only: platforms differ in which of two ends they report first.
        let ends = |text: &str| text.lines().filter(|line| line.contains(" is out, code 1000")).count();
        assert_eq!(ends(&printed), ends(page.section("## A first chat")), "{printed}");
    }
}

/// Counts the lines of a program that are not imports, comments, attributes or brackets.
fn lines_of_code(program: &str) -> usize {
    let lines = program.lines().map(str::trim_start);
    let counts = |line: &&str| {
        let is_aside = ["//", "# ", "#[", "use ", "import "].iter().any(|start| line.starts_with(start));
        !is_aside && line.contains(char::is_alphanumeric)
    };
    lines.filter(counts).count()
}

#[test]
fn the_clients_to_copy_are_those_that_are_tested_and_are_as_short_as_promised() {
    let clients = [
        ("python", include_str!("../../../examples/client.py")),
        ("js", include_str!("../../../examples/client.mjs")),
        ("rust", include_str!("../../../examples/client.rs")),
    ];
    let promised = CLIENTS.section("## Write your own client").contains("of at most 30 lines of code");
    assert!(promised, "the number here and there must be the same");
    for (language, program) in clients {
        assert!(
            CLIENTS.blocks(language).contains(&program),
            "examples/client.*: not what docs/clients.md shows as {language}"
        );
        let count = lines_of_code(program);
        assert!((20..=30).contains(&count), "{language}: {count} lines of code");
    }
}
