//! The memory that clients can make the server hold at worst, as the sum of what the keys allow. The table in
//! `docs/operations.md` ("Memory at worst") is the same sum for people.

use super::size::about;
use crate::config::{Config, Engine, Finding};
use crate::names::units::{KIB, MIB};

/// One part of the sum.
struct Part {
    name: &'static str,
    /// The key to lower.
    key: &'static str,
    bytes: usize,
}

/// Returns the bytes of one connection at worst: idle, with two messages under way, with the answers and the input of a
/// client that sends and does not read, with TLS, and with its memberships.
fn per_connection(config: &Config) -> usize {
    let limits = &config.limits;
    let messages = limits.max_message_bytes.saturating_mul(2);
    let memberships = limits.max_rooms_per_connection.saturating_mul(100);
    // Keys, a record that has arrived in part, and ciphertext that is not sent.
    let tls = if config.tls.cert_file.is_some() { (4 + 18 + 32) * KIB } else { 0 };
    messages.saturating_add(130 * KIB + tls).saturating_add(memberships)
}

/// Returns the parts of the sum. A product that is too large for the type is as large as the type allows.
fn parts(config: &Config) -> Vec<Part> {
    let Config { limits, queue, fanout, history, redis, workers, .. } = config;
    let times = |count: usize, bytes: usize| count.saturating_mul(bytes);
    let per_address = limits.max_connections_per_address > 0 || limits.handshakes_per_second_per_address > 0;
    let addresses = if per_address { times(limits.max_connections, 64).saturating_add(64 * MIB) } else { 0 };
    let per_position = if history.dir.is_some() { 400 } else { 200 };
    let writer = if history.dir.is_some() { 24 * MIB } else { 0 };
    // Messages that wait to be sent, and those that have arrived and that no room has taken yet.
    let engine = match config.engine {
        Engine::Memory => 0,
        Engine::Redis => redis.max_waiting_bytes.saturating_add(64 * MIB),
    };
    let handshake = if config.tls.cert_file.is_some() { 128 * KIB } else { 16 * KIB };
    let part = |name, key, bytes| Part { name, key, bytes };
    vec![
        part("connections", "limits.max_connections", times(limits.max_connections, per_connection(config))),
        part("queues", "queue.total_bytes", queue.total_bytes),
        part("handshakes", "limits.max_handshakes", times(limits.max_handshakes + 32, handshake)),
        part("addresses", "limits.max_connections", addresses),
        part("inboxes", "fanout.max_inbox_bytes", times(*workers, fanout.max_inbox_bytes)),
        part("buffers", "workers", times(*workers, 8 * MIB + 512 * KIB)),
        part("histories", "history.total_bytes", history.total_bytes.saturating_add(writer)),
        part("rooms", "limits.max_rooms", times(limits.max_rooms, KIB)),
        part("positions", "history.positions", times(history.positions, per_position)),
        part("idempotency keys", "limits.max_keys_bytes", limits.max_keys_bytes),
        part("rate limits", "rate_limit.enabled", if config.rate_limit.enabled { 40_000_000 } else { 0 }),
        part("engine", "redis.max_waiting_bytes", engine),
        part("dashboard", "api.keys", 2 * MIB),
    ]
}

/// Compares the sum with the memory of the machine.
pub(super) fn check(config: &Config, memory_bytes: usize) -> Finding {
    let mut parts = parts(config);
    let sum = |parts: &[Part]| parts.iter().fold(0, |sum: usize, part| sum.saturating_add(part.bytes));
    let total = sum(&parts);
    let others = sum(&parts[1..]);
    parts.sort_by_key(|part| std::cmp::Reverse(part.bytes));
    let largest: Vec<String> = parts[..3]
        .iter()
        .map(|part| format!("{} {} (`{}`)", part.name, about(part.bytes), part.key))
        .collect();
    let text = format!(
        "clients can make the server hold {} at worst, of {} of memory; the most by {}",
        about(total),
        about(memory_bytes),
        largest.join(", ")
    );
    if total <= memory_bytes {
        return Finding::ok("memory", text);
    }
    let fitting = memory_bytes.saturating_sub(others) / per_connection(config);
    let advice = if fitting > 0 {
        format!(
            "lower `limits.max_connections` to {fitting}, or `limits.max_message_bytes`, which each connection may \
             take twice, or one of the other keys"
        )
    } else {
        format!("lower these keys: all but the connections may take {}", about(others))
    };
    Finding::warning("memory", text, advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Level, Machine, Sources};
    use crate::names::units::GIB;

    fn config(pairs: &[&str]) -> Config {
        let sources = pairs.iter().fold(Sources::new(), |sources, pair| sources.set(pair));
        let machine = Machine { descriptors: 65_536, memory_bytes: 8 * GIB, cores: 2 };
        Config::load(sources).expect("no mistakes").resolve(&machine)
    }

    #[test]
    fn the_advice_is_enough() {
        let finding = check(&config(&[]), 8 * GIB);
        assert_eq!(finding.level, Level::Warning, "{finding:?}");
        assert!(finding.text.contains("`limits.max_connections`"), "{finding:?}");
        let advice = finding.advice.expect("an advice");
        let words: Vec<&str> = advice.split([' ', ',']).collect();
        let fitting: usize = words.iter().find_map(|word| word.parse().ok()).expect("a number");
        assert!((10_000..64_448).contains(&fitting), "{advice}");
        let follows = config(&[&format!("limits.max_connections={fitting}")]);
        assert_eq!(check(&follows, 8 * GIB).level, Level::Ok);
        let more = config(&[&format!("limits.max_connections={}", fitting + 1)]);
        assert_eq!(check(&more, 8 * GIB).level, Level::Warning);
    }

    #[test]
    fn the_largest_parts_are_named_where_no_number_of_connections_fits() {
        let finding = check(&config(&["limits.max_connections=10"]), GIB);
        assert!(finding.advice.expect("an advice").starts_with("lower these keys"));
        assert!(finding.text.contains("queues 2 GiB (`queue.total_bytes`)"), "{}", finding.text);
    }

    #[test]
    fn every_key_of_the_sum_counts() {
        let total = |pairs: &[&str]| parts(&config(pairs)).iter().map(|part| part.bytes).sum::<usize>();
        let least = total(&[]);
        for more in [
            "limits.max_connections=64449",
            "limits.max_message_bytes=65KiB",
            "limits.max_rooms_per_connection=101",
            "limits.max_handshakes=1025",
            "limits.max_connections_per_address=1",
            "queue.total_bytes=2049MiB",
            "fanout.max_inbox_bytes=9MiB",
            "history.total_bytes=257MiB",
            "history.dir=/nowhere",
            "history.positions=1000001",
            "limits.max_rooms=1000001",
            "limits.max_keys_bytes=257MiB",
            "engine=redis",
        ] {
            // Another number of handshakes must not change that of the connections.
            let fixed = "limits.max_connections=64448";
            assert!(total(&[fixed, more]) > least, "{more}");
        }
    }

    #[test]
    fn the_largest_settings_do_not_overflow() {
        let finding =
            check(&config(&["limits.max_connections=10000000", "limits.max_message_bytes=1GiB"]), 8 * GIB);
        assert_eq!(finding.level, Level::Warning);
    }
}
