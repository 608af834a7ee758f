//! Finds pairs of settings that do not fit together: because of one, the other has no effect, or a lower limit applies
//! than it states. The server starts nevertheless, and logs a warning.

use crate::names::units::show_size;

use super::super::tree::Config;

/// Most bytes of a character in UTF-8.
const UTF8_BYTES_PER_CHAR: usize = 4;
/// Most bytes of a character in the JSON that the server writes: a control character is escaped, like `\u0000`.
pub(super) const JSON_BYTES_PER_CHAR: usize = 6;
/// Most bytes that a command or a stored message has in addition to its text: field names, room, key, ids.
const AROUND_TEXT: usize = 1024;
/// Fewest bytes of memory that an idempotency key takes, by which the server recognises a message that is sent again.
const KEY_BYTES: usize = 200;

/// Returns a warning for each pair of settings that do not fit together.
pub(super) fn mismatches(config: &Config) -> impl Iterator<Item = String> {
    messages(config).into_iter().chain(queues(config)).chain(counts(config)).flatten()
}

/// Compares the longest message with the limits on its bytes. Returns a warning for each limit that is too low.
fn messages(config: &Config) -> [Option<String>; 4] {
    let Config { limits, history, chat, endpoints, .. } = config;
    let size = show_size;
    let message = chat.max_message_chars * UTF8_BYTES_PER_CHAR + chat.max_data_bytes + AROUND_TEXT;
    let stored = chat.max_message_chars * JSON_BYTES_PER_CHAR + chat.max_data_bytes + AROUND_TEXT;
    let small_room = config.rooms.iter().find(|rule| rule.history_bytes.is_some_and(|bytes| bytes < stored));
    [
        (message > limits.max_message_bytes).then(|| {
            format!(
                "`chat.max_message_chars` {} may need {} with `chat.max_data_bytes` and the other fields, more than \
                 `limits.max_message_bytes` {}: such a message ends its connection with 1009 instead of an error",
                chat.max_message_chars,
                size(message),
                size(limits.max_message_bytes)
            )
        }),
        (endpoints.max_message_chars * UTF8_BYTES_PER_CHAR + AROUND_TEXT > limits.max_message_bytes).then(|| {
            format!(
                "`endpoints.max_message_chars` {} may need more than `limits.max_message_bytes` {}: such a message \
                 ends its connection with 1009 instead of an error",
                endpoints.max_message_chars,
                size(limits.max_message_bytes)
            )
        }),
        (history.messages > 0 && stored > history.bytes).then(|| {
            format!(
                "`chat.max_message_chars` {} may need {} in a history, more than `history.bytes` {}: such a message \
                 is not kept, nor is any message before it",
                chat.max_message_chars,
                size(stored),
                size(history.bytes)
            )
        }),
        small_room.map(|rule| {
            format!(
                "`rooms`: the history_bytes of {} ({}) are fewer than the {} that a message of \
                 `chat.max_message_chars` {} may need: such a message is not kept, nor is any message before it",
                rule.pattern,
                size(rule.history_bytes.unwrap_or(0)),
                size(stored),
                chat.max_message_chars
            )
        }),
    ]
}

/// Compares limits on queues and sockets where one is part of the other. Returns a warning where the part is larger
/// than the whole.
fn queues(config: &Config) -> [Option<String>; 2] {
    let Config { queue, socket, .. } = config;
    let size = show_size;
    let workers = config.workers.max(1);
    [
        (queue.total_bytes > 0 && queue.total_bytes / workers < queue.max_bytes).then(|| {
            format!(
                "`queue.total_bytes` {} is {} for each of `workers` {workers}, less than `queue.max_bytes` {}: a \
                 client is dropped before its own queue is full",
                size(queue.total_bytes),
                size(queue.total_bytes / workers),
                size(queue.max_bytes)
            )
        }),
        (socket.notsent_lowat > socket.send_buffer).then(|| {
            format!(
                "`socket.notsent_lowat` {} is never reached within `socket.send_buffer` {}",
                size(socket.notsent_lowat),
                size(socket.send_buffer)
            )
        }),
    ]
}

/// Compares limits on the number of connections, handshakes, rooms, keys and members where one is part of the other.
/// Returns a warning where the part is larger than the whole.
fn counts(config: &Config) -> [Option<String>; 5] {
    let Config { limits, presence, .. } = config;
    let size = show_size;
    let keys = config.keys_per_user();
    [
        (limits.max_connections > 0 && limits.max_connections_per_address > limits.max_connections).then(|| {
            format!(
                "`limits.max_connections_per_address` {} is never reached within `limits.max_connections` {}",
                limits.max_connections_per_address, limits.max_connections
            )
        }),
        (limits.handshakes_per_second_per_address > limits.max_handshakes).then(|| {
            format!(
                "`limits.handshakes_per_second_per_address` {} is more than `limits.max_handshakes` {}, which all \
                 addresses share",
                limits.handshakes_per_second_per_address, limits.max_handshakes
            )
        }),
        (limits.max_rooms_per_connection > limits.max_rooms).then(|| {
            format!(
                "`limits.max_rooms_per_connection` {} is never reached within `limits.max_rooms` {}",
                limits.max_rooms_per_connection, limits.max_rooms
            )
        }),
        (keys.saturating_mul(KEY_BYTES) > limits.max_keys_bytes).then(|| {
            format!(
                "the {keys} idempotency keys of one user (`limits.max_keys_per_user`, or as many as \
                 `rate_limit.messages_per_second` {} allows) may need {}, more than `limits.max_keys_bytes` {}: one \
                 user could make the server forget the keys of all others",
                config.rate_limit.messages_per_second,
                size(keys.saturating_mul(KEY_BYTES)),
                size(limits.max_keys_bytes)
            )
        }),
        (presence.notice_limit > presence.count_only_above).then(|| {
            format!(
                "`presence.notice_limit` {} is more than `presence.count_only_above` {}: in rooms of more \
                 members than that, notices contain no names",
                presence.notice_limit, presence.count_only_above
            )
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    /// Each row has the settings that cause one warning, and the two keys, each with its value, that this warning must
    /// name.
    const ROWS: [(&[&str], [&str; 2]); 11] = [
        (
            &["limits.max_message_bytes=2KiB"],
            ["chat.max_message_chars` 500", "limits.max_message_bytes` 2KiB"],
        ),
        (
            &["endpoints.max_message_chars=100000"],
            ["endpoints.max_message_chars` 100000", "limits.max_message_bytes` 64KiB"],
        ),
        (&["history.bytes=2KiB"], ["chat.max_message_chars` 500", "history.bytes` 2KiB"]),
        (
            &[r#"rooms=[{pattern="a", history_bytes="1KiB"}]"#],
            ["history_bytes of a (1KiB)", "chat.max_message_chars` 500"],
        ),
        (&["queue.total_bytes=3MiB", "workers=4"], ["queue.total_bytes` 3MiB", "queue.max_bytes` 1MiB"]),
        (&["socket.send_buffer=16KiB"], ["socket.notsent_lowat` 32KiB", "socket.send_buffer` 16KiB"]),
        (
            &["limits.max_connections=5", "limits.max_connections_per_address=6"],
            ["limits.max_connections_per_address` 6", "limits.max_connections` 5"],
        ),
        (
            &["limits.handshakes_per_second_per_address=2000"],
            ["limits.handshakes_per_second_per_address` 2000", "limits.max_handshakes` 1024"],
        ),
        (&["limits.max_rooms=99"], ["limits.max_rooms_per_connection` 100", "limits.max_rooms` 99"]),
        (
            &["limits.max_keys_bytes=64KiB"],
            ["rate_limit.messages_per_second` 10", "limits.max_keys_bytes` 64KiB"],
        ),
        (&["presence.count_only_above=99"], ["presence.notice_limit` 100", "presence.count_only_above` 99"]),
    ];

    #[test]
    fn each_pair_is_named_with_both_values_and_the_defaults_contradict_nothing() {
        let warned = |set: &[&str]| -> Vec<String> {
            let sources = set.iter().fold(Sources::new(), |sources, pair| sources.set(pair));
            mismatches(&Config::load(sources).expect("no mistakes")).collect()
        };
        assert_eq!(warned(&[]), Vec::<String>::new());
        for (set, named) in ROWS {
            let warnings = warned(set);
            assert_eq!(warnings.len(), 1, "{set:?}: {warnings:?}");
            assert!(named.iter().all(|key| warnings[0].contains(key)), "{set:?}: {warnings:?}");
        }
        // Values derived from a machine fit each other, however small it is.
        let machine = crate::config::Machine { descriptors: 64, memory_bytes: 1 << 22, cores: 8 };
        let resolved = Config::default().resolve(&machine);
        assert_eq!(mismatches(&resolved).collect::<Vec<_>>(), Vec::<String>::new());
    }
}
