//! The tests of the chat once more, on Redis as the engine: each server under test is one node of it, or two among
//! which its clients are spread at random. The tests are the same. This binary runs itself with `THRONG_TEST_ENGINE`,
//! which the [support](crate::support::engine) reads, so nothing is compiled twice.
//!
//! The lists here say which tests speak of the chat's contract, and which do not and why. A new module has to be in
//! one of them.

use std::env::current_exe;
use std::io::Write as _;
use std::process::{Command, Stdio};

use parking_lot::Mutex;

use crate::support::engine::VARIABLE;

/// The tests of the chat: modules, and single tests of modules that are about something else.
const CHAT: &[&str] = &[
    "api",
    "chat",
    "carried",
    "claims",
    "client",
    "duplicates",
    "examples",
    "json",
    "listed",
    "manual::examples::the_first_chat_goes_as_shown",
    "notices",
    "pauses",
    "rate_limit",
    "schemas::live",
    "schemas::openapi::live",
    "secure",
    "slow",
    "soak",
    "sse",
    "terminal",
    "v1_dialects",
    "v1_direct",
    "v1_ends",
    "v1_entry",
    "v1_gaps",
    "v1_heartbeat",
    "v1_history",
    "v1_messages",
    "v1_presence",
    "v1_resume",
    "v1_rooms",
    "v1_takeover",
    "wire::closes",
    "wire::errors",
    "wire::events",
    "wire::inbox",
];

/// The tests that are not of the chat, each with the reason why an engine makes no difference to them.
const OTHERS: &[(&str, &str)] = &[
    ("addresses", "the limits of an address are each node's own, and count before the chat"),
    ("api_cli", "a client of the API, whose own tests run on an engine"),
    ("backends", "a backend in another process"),
    ("bench", "the load generator, for which one kind of server is enough"),
    ("bench_compare", "the load generator, for which one kind of server is enough"),
    ("bench_conditions", "the load generator, for which one kind of server is enough"),
    ("bench_plots", "the load generator, for which one kind of server is enough"),
    ("bench_ramp", "the load generator, for which one kind of server is enough"),
    ("bench_rounds", "the load generator, for which one kind of server is enough"),
    ("bench_tls", "the load generator over TLS, for which one kind of server is enough"),
    ("canary", "the judge of the logs, without a server"),
    ("checker", "the judge of the tests, without a server"),
    ("churn", "sockets, descriptors and memory of one process"),
    ("client_storm", "the server keeps its history on disk"),
    ("deflate", "the compression of frames and lanes, which is each node's own"),
    ("demo", "a server of its own, with people in it"),
    ("doctor", "a command without a server"),
    ("edges", "the sockets, before the chat reads them"),
    ("embedded", "settings inside another program"),
    ("endpoints", "the endpoints beside the chat"),
    ("engines", "these tests"),
    ("epochs", "clients against a server that plays a script"),
    ("faults", "a panic inside an endpoint"),
    ("fragments", "the messages of WebSocket, before the chat reads them"),
    ("frames", "the frames of WebSocket, before the chat reads them"),
    ("handshake", "HTTP, before the chat is entered"),
    ("heartbeat", "the heartbeats of the other endpoints"),
    ("history_damage", "a history on disk"),
    ("history_dir", "a history on disk"),
    ("hooks", "the questions of each node, before the chat is entered"),
    ("installed", "the binary of an installation, before anybody chats"),
    ("jwks", "the keys of tokens, before the chat is entered"),
    ("lifecycle", "the end of one process"),
    ("listen", "the sockets of one process"),
    ("logs", "the log of one process"),
    ("manual", "the pages of the manual"),
    ("metrics", "the figures of one process"),
    ("moved", "a clock that the test moves, which an engine does not follow"),
    ("newcomer", "the server keeps its history on disk"),
    ("places", "the handshake permits of one process"),
    ("proxy", "the address of a connection, before the chat is entered"),
    ("refusals", "HTTP, before the chat is entered"),
    ("reload", "the settings of one process"),
    ("renewal", "the tokens of one connection"),
    ("revoke", "the revocations of one node; those of several are in tests/cluster"),
    ("schemas", "the protocol's description, without a server"),
    ("scripts", "scripts that measure and draw, with servers of their own"),
    ("security", "the words of the security policy"),
    ("settings", "the configuration, without a server"),
    ("shell", "the shell lines of the manual"),
    ("snapshots", "encoded events, without a server"),
    ("stats", "the dashboard of one process"),
    ("support", "the helpers of the tests, without a server"),
    ("tls", "the bytes of a connection, before the chat is entered"),
    ("tls_hostile", "the bytes of a connection, before the chat is entered"),
    ("tls_websocket", "a server with certificates of its own"),
    ("traces", "the traces of one process"),
    ("trust", "the certificates that a client trusts"),
    ("vanish", "the socket of one connection"),
    ("watching", "the board and the alerts, which are about the figures of any process"),
    ("web", "the pages for browsers"),
    ("webhooks", "the events of one node; those of several are in tests/cluster"),
    ("webhooks_dir", "events of one node, on its disk"),
    ("wire", "the rest of it: HTTP, and the list of proofs"),
];

/// Tests of the chat that an engine leaves out, whatever the number of nodes.
const WITHOUT_AN_ENGINE: &[(&str, &str)] = &[
    ("api::doors::a_crowd_of_clients_does_not_keep_operators_out", "the addresses of one process"),
    (
        "api::doors::an_address_of_its_own_serves_the_api_and_nothing_else_does",
        "the addresses of one process",
    ),
    ("api::orders::a_room_that_was_forgotten_stays_forgotten_after_a_restart", "the history is on disk"),
    ("api::with_a_history_on_disk_an_answered_message_and_its_key_survive", "the history is on disk"),
    ("client::after_a_restart_messages_are_there_or_reported_lost", "the history is on disk"),
    ("examples::a_client_says_that_it_has_missed_something", "the history is on disk"),
    ("examples::messages_sent_while_a_client_is_away_come_once", "the history is on disk"),
    ("soak::a_mixed_load_does_not_grow_memory", "the memory of one process"),
    ("soak::nothing_is_lost_or_doubled_however_a_server_with_a_log_ends", "the history is on disk"),
    ("soak::the_judge_finds_a_server_that_breaks_a_promise", "the judge alone, without a server"),
    ("soak::the_judge_finds_a_server_that_forgets", "the history is on disk"),
    (
        "soak::the_judge_finds_the_real_server_when_it_breaks_a_promise",
        "some faults are only in one node's rooms",
    ),
    ("soak::the_slope_of_a_line_is_computed_right", "without a server"),
    ("terminal::with_a_history_on_disk_nothing_is_lost_when_the_server_is_killed", "the history is on disk"),
    (
        "v1_messages::the_last_keys_of_each_user_are_remembered_and_nothing_is_refused",
        "the engine keeps keys by time",
    ),
    ("v1_resume::a_resume_in_a_quiet_room_misses_nothing", "a node keeps an empty room for half a minute"),
    (
        "v1_resume::a_resume_in_a_quiet_room_misses_nothing_after_its_messages_expired",
        "a node keeps an empty room for half a minute",
    ),
    (
        "v1_resume::a_room_whose_position_is_not_remembered_has_another_epoch",
        "the engine remembers positions for redis.room_ttl",
    ),
    (
        "wire::inbox::a_private_message_that_a_full_inbox_refuses_reaches_nobody",
        "private messages come through the engine more slowly than a worker takes them in",
    ),
];

/// Tests of the chat that run with an engine on one node, and not on two.
const ON_ONE_NODE: &[(&str, &str)] = &[
    ("chat::a_room_too_many_is_refused_with_1013", "limits.max_rooms is each node's own"),
    ("claims::messages_of_another_connection_of_the_user_are_no_strike", "rate limits are each node's own"),
    ("claims::eight_claims_of_a_name_may_wait_for_an_answer", "each node lets as many wait"),
    ("claims::two_claims_of_one_address_may_wait_for_an_answer", "each node lets as many wait"),
    (
        "duplicates::simultaneous_claims_do_not_evict_a_live_connection",
        "each node lets two of an address wait",
    ),
    (
        "pauses::a_pause_of_the_server_makes_no_client_miss_a_deadline",
        "a claim that waits for another node is given up when that node stands still",
    ),
    (
        "rate_limit::a_flood_is_refused_with_errors_and_then_closed_with_4002",
        "a message without an ack may come behind a later one of the other node",
    ),
    ("rate_limit::the_connections_of_a_user_share_tokens", "rate limits are each node's own"),
    ("secure::a_token_of_more_than_8_kib_is_refused_and_the_log_says_why", "a log is one node's"),
    ("secure::without_a_key_every_token_is_bad_and_the_log_says_so_once", "a log is one node's"),
    (
        "sse::readers_count_among_the_connections_and_a_token_ends_them",
        "limits.max_connections_per_address is each node's own",
    ),
    (
        "terminal::without_a_history_on_disk_the_chat_reports_lost_messages",
        "two nodes cannot listen on one port",
    ),
    ("v1_ends::a_refused_client_gets_a_disconnect_event_too", "limits.max_rooms is each node's own"),
    ("v1_entry::the_welcome_comes_first_and_says_everything", "each node has its own name"),
    (
        "v1_gaps::drop_newest_keeps_the_oldest_and_sends_a_gap_for_the_rest",
        "the last message may come to the other node after its ack, when the client reads again",
    ),
    (
        "v1_presence::a_client_that_missed_much_is_told_to_ask_for_the_list_of_users",
        "in larger rooms a node tells the others of its users once in each presence.interval",
    ),
    (
        "v1_presence::a_member_who_enters_between_two_presence_events_gets_their_base",
        "in larger rooms a node tells the others of its users once in each presence.interval",
    ),
    (
        "v1_presence::a_user_who_joins_and_leaves_around_a_list_is_not_on_it_for_ever",
        "in larger rooms a node tells the others of its users once in each presence.interval",
    ),
    (
        "v1_presence::a_user_who_leaves_and_joins_around_a_list_is_not_missing_for_ever",
        "in larger rooms a node tells the others of its users once in each presence.interval",
    ),
    ("v1_rooms::a_room_too_many_for_the_node_is_unavailable", "limits.max_rooms is each node's own"),
    ("v1_rooms::empty_rooms_cannot_keep_others_out", "limits.max_rooms is each node's own"),
    ("v1_rooms::remembered_keys_cannot_keep_others_out", "limits.max_rooms is each node's own"),
    ("v1_rooms::rooms_are_joined_and_left", "a message of another node may come a moment after `joined`"),
    ("wire::closes::every_end_comes_over_a_socket", "limits.max_rooms is each node's own"),
];

/// Held while a run lasts: one after the other keeps the machine as busy as other tests do.
static RUNS: Mutex<()> = Mutex::new(());

/// Returns true if a test is this one, or in this module.
fn is_in(test: &str, entry: &str) -> bool {
    test.strip_prefix(entry).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn is_of_the_chat(test: &str) -> bool {
    CHAT.iter().any(|entry| is_in(test, entry))
}

/// Returns the names of all tests of this binary.
fn tests() -> Vec<String> {
    let output = Command::new(current_exe().expect("a path")).arg("--list").output().expect("it runs");
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    lines.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

/// Runs the tests of the chat on an engine, with this many nodes for each server.
#[track_caller]
fn run_chat(nodes: usize) {
    let left_out = [WITHOUT_AN_ENGINE, if nodes > 1 { ON_ONE_NODE } else { &[] }].concat();
    let is_left_out = |test: &String| left_out.iter().any(|(name, _)| name == test);
    let of_the_chat: Vec<_> = tests().into_iter().filter(|test| is_of_the_chat(test)).collect();
    let chosen: Vec<_> = of_the_chat.iter().filter(|test| !is_left_out(test)).collect();
    // They wait for answers, most of the time.
    let threads = 2 * std::thread::available_parallelism().map_or(1, usize::from);
    let _run = RUNS.lock();
    let output = Command::new(current_exe().expect("a path"))
        .args(["--exact", "--test-threads", &threads.to_string()])
        .args(&chosen)
        .env(VARIABLE, format!("redis:{nodes}"))
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let passed = format!("{} passed; 0 failed", chosen.len());
    assert!(
        output.status.success() && text.contains(&passed),
        "THRONG_TEST_ENGINE=redis:{nodes}: {text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let (ran, left_out) = (chosen.len(), of_the_chat.len() - chosen.len());
    // Past the harness, which shows no output of a test that passes. `tests/run` looks for this line.
    let form = if nodes == 1 { "one node" } else { "two nodes" };
    let _ = writeln!(std::io::stderr(), "the chat on an engine, {form}: {ran} passed, {left_out} left out");
}

#[test]
fn the_chat_is_the_same_on_an_engine_with_one_node() {
    run_chat(1);
}

#[test]
fn the_chat_is_the_same_on_an_engine_with_two_nodes() {
    run_chat(2);
}

#[test]
fn every_test_is_of_the_chat_or_is_not_and_every_entry_is_a_test() {
    let tests = tests();
    for test in &tests {
        let is_other = OTHERS.iter().any(|(module, _)| is_in(test, module));
        assert!(is_of_the_chat(test) || is_other, "{test} is in no list of tests/it/engines.rs");
    }
    for entry in CHAT.iter().chain(OTHERS.iter().map(|(module, _)| module)) {
        // The modules that need a feature have no tests without it.
        let is_there = tests.iter().any(|test| is_in(test, entry));
        assert!(is_there || !cfg!(feature = "fault-injection"), "{entry} is no test and no module");
    }
    for (name, _) in WITHOUT_AN_ENGINE.iter().chain(ON_ONE_NODE) {
        let is_there = tests.iter().any(|test| test == name);
        assert!(is_there || !cfg!(feature = "fault-injection"), "{name} is no test");
        assert!(is_of_the_chat(name), "{name} is not of the chat, and does not run on an engine");
    }
}
