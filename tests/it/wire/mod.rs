//! Every row of the protocol's tables has a test: what can be counted comes over real sockets here, and is kept in
//! `snapshots/wire-*.txt`; each test below fails when a word of the vocabulary never came. What is a sentence rather
//! than a word, and what needs a story of its own, stands in a table with the test that proves it.

mod closes;
mod errors;
mod events;
mod inbox;
mod refusals;
mod tape;

use std::collections::BTreeSet;
use std::path::Path;

/// Rows that are proved in another place: kind, row, file, test. Without a file: the row is not in force.
type Proofs = &'static [(&'static str, &'static str, &'static str, &'static str)];

/// Words that do not come over the sockets of this module.
const ELSEWHERE: Proofs = &[
    ("close", "1011 Internal error", "tests/it/faults.rs", "a_panic_costs_its_connection_alone"),
    ("close", "1001 Going away", "tests/it/lifecycle.rs", "who_stops_it_decides_what_clients_are_told"),
    // On one node no room changes its epoch while it has members: nothing sends it.
    (
        "close",
        "4003 Position lost",
        "tests/it/history_dir.rs",
        "a_disk_that_is_full_for_a_while_costs_nobody_their_position",
    ),
    // For the server API, which is not there yet; the code is that of a replaced connection, which is on the wire.
    ("close", "4501 Kicked", "", ""),
    ("refusal", "made_way", "tests/it/places.rs", "one_address_cannot_hold_all_places"),
    ("refusal", "api_key", "tests/it/stats.rs", "only_a_key_shows_it_wherever_one_asks_from"),
    ("refusal", "too_many_viewers", "tests/it/stats.rs", "so_many_may_look_and_take_no_place_from_others"),
    // The HTTP library answers, without a code.
    ("refusal", "head_too_large", "tests/it/refusals.rs", "what_is_not_http_gets_an_answer_and_a_clean_end"),
];

/// Sentences: the guarantees, each proved right and each found out when it is broken on purpose, and the rules.
const SENTENCES: Proofs = &[
    (
        "G1",
        "one order",
        "tests/it/v1_messages.rs",
        "the_ack_stands_at_the_messages_place_in_the_senders_stream",
    ),
    ("G1", "broken", "tests/it/checker.rs", "two_messages_at_one_place_break_g1"),
    (
        "G2",
        "a gap instead of a hole",
        "tests/it/v1_gaps.rs",
        "drop_oldest_keeps_the_newest_and_tells_of_the_rest",
    ),
    ("G2", "broken", "tests/it/checker.rs", "a_hole_breaks_g2"),
    (
        "G3",
        "exactly what was missed",
        "tests/it/v1_resume.rs",
        "more_than_a_page_comes_in_pages_and_runs_into_what_is_said_meanwhile",
    ),
    (
        "G3",
        "broken",
        "tests/it/checker.rs",
        "a_resume_that_is_partial_repeated_invented_or_elsewhere_breaks_g3",
    ),
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
        "what_a_full_inbox_does_not_take_was_never_said",
    ),
    ("G4", "broken", "tests/it/checker.rs", "a_key_that_appends_twice_breaks_g4"),
    ("G5", "once", "tests/it/soak.rs", "the_guarantees_hold_whenever_connections_break"),
    ("G5", "broken", "tests/it/checker.rs", "the_same_twice_breaks_g5"),
    (
        "G6",
        "nobody waits",
        "tests/it/slow.rs",
        "those_who_do_not_read_are_dropped_and_the_others_miss_nothing",
    ),
    ("G6", "bounded", "tests/it/slow.rs", "the_memory_of_dropped_clients_is_freed"),
    (
        "G1-5",
        "the real server, broken",
        "tests/it/soak.rs",
        "the_real_server_is_found_out_when_it_breaks_a_promise",
    ),
    (
        "answers",
        "never dropped",
        "tests/it/v1_history.rs",
        "answers_are_never_dropped_and_hold_up_the_commands_behind_them",
    ),
    ("answers", "evicted in a replay", "tests/it/v1_resume.rs", "what_is_let_go_while_it_is_read_is_a_gap"),
    (
        "keys",
        "so many",
        "tests/it/v1_messages.rs",
        "of_each_user_the_last_keys_are_remembered_and_nothing_is_refused",
    ),
    ("keys", "of private messages", "tests/it/v1_direct.rs", "a_key_hands_a_private_message_over_once"),
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
    (
        "session",
        "replaces",
        "tests/it/v1_takeover.rs",
        "the_session_takes_the_place_of_its_connection_and_nobody_notices",
    ),
    ("session", "of a dead one", "tests/it/v1_takeover.rs", "an_incumbent_that_is_dead_is_replaced"),
    ("presence", "merged", "tests/it/notices.rs", "above_the_limit_notices_are_merged"),
    ("dialects", "never both", "tests/it/v1_dialects.rs", "a_plain_client_hears_what_it_would_hear_alone"),
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

/// The rows of one kind.
fn rows(proofs: Proofs, kind: &str) -> BTreeSet<String> {
    proofs.iter().filter(|(of, ..)| *of == kind).map(|(_, row, ..)| (*row).to_owned()).collect()
}

#[test]
fn what_is_said_to_be_proved_elsewhere_is() {
    for (kind, row, file, test) in ELSEWHERE.iter().chain(SENTENCES).filter(|(.., file, _)| !file.is_empty())
    {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let source = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{file}: {error}"));
        let found = source.contains(&format!("fn {test}(")) || source.contains(&format!("test(\"{test}\""));
        assert!(found, "{kind}, {row}: no test {test} in {file}");
    }
}
