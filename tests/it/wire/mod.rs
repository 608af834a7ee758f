//! Proof that every row of the protocol's tables has a test. The tests here record every event, error, close and
//! refusal over real sockets, in `snapshots/wire-*.txt`, and fail when a word of the vocabulary never came. Rules that
//! are sentences rather than words, and rows that need a test of their own, stand in a table with the test that proves
//! them.

mod closes;
mod errors;
mod events;
mod inbox;
mod refusals;
mod tape;

use std::collections::BTreeSet;
use std::path::Path;

/// Rows that other tests prove: kind, row, file, test. A row without a file is not in force.
type Proofs = &'static [(&'static str, &'static str, &'static str, &'static str)];

/// Words that do not come over the sockets of this module.
const ELSEWHERE: Proofs = &[
    // Only nodes with an engine send it.
    (
        "event",
        "epoch",
        "tests/cluster/chat.rs",
        "a_restart_that_loses_nothing_is_a_new_epoch_and_disturbs_nobody",
    ),
    (
        "close",
        "1007 Invalid compressed data",
        "tests/it/deflate.rs",
        "damaged_streams_and_text_that_is_not_utf8_end_with_1007",
    ),
    ("close", "1011 Internal error", "tests/it/faults.rs", "a_panic_costs_its_connection_alone"),
    ("close", "1001 Going away", "tests/it/lifecycle.rs", "the_signal_decides_the_close_code_of_a_drain"),
    (
        "close",
        "4003 Position lost",
        "tests/cluster/chat.rs",
        "members_who_were_shown_lost_messages_are_closed_with_4003",
    ),
    (
        "close",
        "3003 Token revoked",
        "tests/it/revoke.rs",
        "a_revoked_token_ends_its_connections_and_opens_none",
    ),
    ("close", "4501 Kicked", "tests/it/api/mod.rs", "a_user_is_disconnected_on_every_node"),
    ("close", "1008 Not allowed", "tests/it/hooks.rs", "a_refusal_is_told_with_its_reason"),
    ("refusal", "made_way", "tests/it/places.rs", "one_address_cannot_hold_all_handshake_permits"),
    ("refusal", "tls", "tests/it/tls.rs", "a_request_without_tls_is_told_so"),
    ("refusal", "api_key", "tests/it/stats.rs", "the_dashboard_needs_a_key_from_every_address"),
    ("refusal", "too_many_viewers", "tests/it/stats.rs", "viewers_are_limited_and_use_no_connection_permits"),
    (
        "refusal",
        "no_engine",
        "tests/cluster/chat.rs",
        "an_engine_that_stands_still_turns_newcomers_away_and_keeps_everybody",
    ),
    // The HTTP library answers by itself, without a code.
    (
        "refusal",
        "head_too_large",
        "tests/it/refusals.rs",
        "requests_that_are_not_http_get_an_answer_and_a_clean_end",
    ),
];

/// Sentences of the protocol: the guarantees, each with a test that proves it and one that breaks it on purpose, and
/// the rules.
const SENTENCES: Proofs = &[
    ("G1", "one order", "tests/it/v1_messages.rs", "the_ack_follows_its_message_in_the_senders_stream"),
    ("G1", "broken", "tests/it/checker.rs", "two_messages_at_one_position_break_g1"),
    (
        "G2",
        "a gap instead of a hole",
        "tests/it/v1_gaps.rs",
        "drop_oldest_keeps_the_newest_and_sends_a_gap_for_the_rest",
    ),
    ("G2", "broken", "tests/it/checker.rs", "a_hole_breaks_g2"),
    (
        "G3",
        "exactly what was missed",
        "tests/it/v1_resume.rs",
        "missed_messages_come_in_pages_and_join_the_live_ones",
    ),
    ("G3", "broken", "tests/it/checker.rs", "a_resume_with_missing_repeated_or_foreign_messages_breaks_g3"),
    ("G4", "a key appends once", "tests/it/v1_messages.rs", "the_same_key_is_appended_once"),
    (
        "G4",
        "acknowledged is kept",
        "tests/it/history_dir.rs",
        "nothing_that_was_acknowledged_under_load_is_lost_by_a_kill",
    ),
    (
        "G4",
        "an error is not appended",
        "tests/it/wire/inbox.rs",
        "a_message_that_a_full_inbox_refuses_is_not_appended",
    ),
    ("G4", "broken", "tests/it/checker.rs", "a_key_that_appends_twice_breaks_g4"),
    ("G5", "once", "tests/it/soak.rs", "the_guarantees_hold_whenever_connections_break"),
    ("G5", "broken", "tests/it/checker.rs", "seeing_the_same_message_twice_breaks_g5"),
    (
        "G6",
        "nobody waits",
        "tests/it/slow.rs",
        "clients_that_do_not_read_are_dropped_and_others_miss_nothing",
    ),
    ("G6", "bounded", "tests/it/slow.rs", "the_memory_of_dropped_clients_is_freed"),
    (
        "G1-5",
        "the real server, broken",
        "tests/it/soak.rs",
        "the_judge_finds_the_real_server_when_it_breaks_a_promise",
    ),
    (
        "answers",
        "never dropped",
        "tests/it/v1_history.rs",
        "answers_are_never_dropped_and_hold_up_the_commands_behind_them",
    ),
    ("answers", "evicted in a replay", "tests/it/v1_resume.rs", "messages_evicted_during_a_replay_are_a_gap"),
    (
        "keys",
        "so many",
        "tests/it/v1_messages.rs",
        "the_last_keys_of_each_user_are_remembered_and_nothing_is_refused",
    ),
    (
        "keys",
        "of private messages",
        "tests/it/v1_direct.rs",
        "a_private_message_with_a_key_is_delivered_once",
    ),
    ("keys", "across a restart", "tests/it/history_dir.rs", "a_retry_after_a_kill_is_appended_once"),
    (
        "token",
        "where it comes from",
        "tests/it/secure.rs",
        "a_good_token_is_taken_from_header_query_and_subprotocol",
    ),
    ("token", "what is bad", "tests/it/secure.rs", "a_bad_token_gets_a_close_and_nothing_else"),
    (
        "token",
        "none configured",
        "tests/it/secure.rs",
        "without_a_key_every_token_is_bad_and_the_log_says_so_once",
    ),
    (
        "token",
        "sub is the user",
        "tests/it/secure.rs",
        "where_tokens_are_required_the_subject_is_the_user_id",
    ),
    ("token", "renewed", "tests/it/renewal.rs", "a_new_token_keeps_the_connection_beyond_the_old_one"),
    ("token", "revoked", "tests/it/revoke.rs", "a_revoked_token_ends_its_connections_and_opens_none"),
    ("token", "rooms", "tests/it/secure.rs", "a_token_names_the_rooms_it_opens"),
    (
        "token",
        "one algorithm",
        "tests/it/secure.rs",
        "each_algorithm_with_a_public_key_takes_its_own_tokens_and_no_others",
    ),
    ("token", "aud and iss", "tests/it/secure.rs", "audience_and_issuer_must_be_the_configured_ones"),
    (
        "token",
        "never echoed",
        "tests/it/v1_entry.rs",
        "a_token_comes_along_with_the_offer_and_is_never_echoed",
    ),
    ("session", "replaces", "tests/it/v1_takeover.rs", "a_session_replaces_its_connection_unnoticed"),
    ("session", "of a dead one", "tests/it/v1_takeover.rs", "a_dead_incumbent_is_replaced"),
    ("presence", "merged", "tests/it/notices.rs", "above_the_limit_notices_are_merged"),
    (
        "dialects",
        "never both",
        "tests/it/v1_dialects.rs",
        "a_plain_client_receives_the_same_with_and_without_other_dialects",
    ),
    (
        "back-off",
        "doubles",
        "tests/web/backoff.test.mjs",
        "the ceiling doubles from 500 ms and stays at 20 s",
    ),
    (
        "back-off",
        "random",
        "tests/web/backoff.test.mjs",
        "the jitter is full: every delay below the ceiling is as likely",
    ),
    (
        "back-off",
        "begins afresh",
        "tests/web/backoff.test.mjs",
        "thirty healthy seconds begin afresh, a millisecond less does not",
    ),
    (
        "back-off",
        "after_ms",
        "tests/web/backoff.test.mjs",
        "the delay that the server asks for is the first one, and later the least",
    ),
    ("back-off", "codes that stop it", "tests/web/client.test.mjs", "some codes stop it, others do not"),
    (
        "back-off",
        "every room is resumed",
        "tests/web/client.test.mjs",
        "it resumes every room and shows its session",
    ),
    (
        "typing",
        "to the others alone",
        "tests/it/v1_presence.rs",
        "typing_is_shown_to_the_others_and_to_nobody_else",
    ),
];

/// Returns the rows of one kind.
fn rows(proofs: Proofs, kind: &str) -> BTreeSet<String> {
    proofs.iter().filter(|(of, ..)| *of == kind).map(|(_, row, ..)| (*row).to_owned()).collect()
}

#[test]
fn every_row_proved_elsewhere_names_a_test_that_exists() {
    for (kind, row, file, test) in ELSEWHERE.iter().chain(SENTENCES).filter(|(.., file, _)| !file.is_empty())
    {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let source = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{file}: {error}"));
        let found = source.contains(&format!("fn {test}(")) || source.contains(&format!("test(\"{test}\""));
        assert!(found, "{kind}, {row}: no test {test} in {file}");
    }
}
