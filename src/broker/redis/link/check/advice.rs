//! Finds the unwise settings in a server's configuration. Pure.

use std::collections::HashMap;

use super::super::call::{Reply, ServerError};
use super::super::facts::ServerFacts;
use super::warning;
use crate::config::Finding;

/// The command that asks for the settings that are judged here.
pub(super) const QUESTION: [&str; 7] = [
    "CONFIG",
    "GET",
    "maxmemory-policy",
    "client-output-buffer-limit",
    "min-replicas-to-write",
    "save",
    "appendonly",
];

/// Bytes that a server should keep for a subscriber which does not read for a moment: less than two seconds of a
/// network of 1 Gbit/s.
const SUBSCRIBER_BYTES: u64 = 256 * 1024 * 1024;

/// Judges the answer to [`QUESTION`].
pub(super) fn findings(answer: &Result<Reply, ServerError>, facts: &ServerFacts) -> Vec<Finding> {
    let settings = match answer {
        Ok(Reply::Map(pairs)) => settings(pairs),
        Ok(_) => HashMap::new(),
        Err(error) => {
            return vec![warning(
                format!(
                    "the configuration of the server could not be checked: CONFIG GET is refused ({error})"
                ),
                "see to maxmemory-policy noeviction, client-output-buffer-limit pubsub 256mb 256mb 60, \
                 min-replicas-to-write and persistence yourself",
            )];
        }
    };
    let value = |name: &str| settings.get(name).map(String::as_str);
    let mut findings = Vec::new();
    if let Some(policy) = value("maxmemory-policy").filter(|policy| *policy != "noeviction") {
        findings.push(warning(
            format!("maxmemory-policy is {policy}: the server may evict rooms that are in use"),
            "set maxmemory-policy noeviction",
        ));
    }
    if let Some(limit) = value("client-output-buffer-limit").and_then(too_small_limit) {
        findings.push(warning(
            format!(
                "client-output-buffer-limit of pubsub is {limit} bytes: a node is cut off when it pauses"
            ),
            "set client-output-buffer-limit \"pubsub 256mb 256mb 60\"",
        ));
    }
    if facts.replicas > 0 && value("min-replicas-to-write") == Some("0") {
        findings.push(warning(
            "there are replicas, but min-replicas-to-write is 0: a failover may lose many acknowledged messages",
            "set min-replicas-to-write 1 and min-replicas-max-lag 10",
        ));
    }
    if (value("save"), value("appendonly")) == (Some(""), Some("no")) {
        findings.push(warning(
            "nothing is persisted: after a restart of the server every room is empty",
            "set appendonly yes and appendfsync everysec",
        ));
    }
    findings
}

fn settings(pairs: &[(Reply, Reply)]) -> HashMap<String, String> {
    let text = |reply: &Reply| match reply {
        Reply::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    };
    pairs.iter().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect()
}

/// Returns the smaller limit of subscribers if it is too small: `normal 0 0 0 slave 1 1 60 pubsub HARD SOFT SECONDS`.
/// 0 is no limit.
fn too_small_limit(limits: &str) -> Option<u64> {
    let mut words = limits.split_whitespace().skip_while(|word| *word != "pubsub").skip(1);
    let mut limit = || words.next()?.parse::<u64>().ok();
    let (hard, soft) = (limit()?, limit()?);
    [hard, soft].into_iter().filter(|limit| (1..SUBSCRIBER_BYTES).contains(limit)).min()
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::Version;
    use super::*;

    fn facts(replicas: u32) -> ServerFacts {
        ServerFacts {
            version: Version(7, 0, 0),
            valkey: None,
            is_cluster: false,
            run_id: String::new(),
            replication_id: String::new(),
            replicas,
        }
    }

    fn judged(settings: &[(&'static str, &'static str)], replicas: u32) -> Vec<String> {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (Reply::Bytes((*name).into()), Reply::Bytes((*value).into()))
        };
        let answer = Ok(Reply::Map(settings.iter().map(pair).collect()));
        findings(&answer, &facts(replicas)).into_iter().map(|finding| finding.text).collect()
    }

    #[test]
    fn each_unwise_setting_is_found() {
        let good = [
            ("maxmemory-policy", "noeviction"),
            ("client-output-buffer-limit", "normal 0 0 0 slave 1 1 60 pubsub 268435456 0 60"),
            ("min-replicas-to-write", "0"),
            ("save", ""),
            ("appendonly", "yes"),
        ];
        assert_eq!(judged(&good, 0), [""; 0]);
        let found = |index: usize, value: &'static str, replicas: u32| {
            let mut settings = good;
            settings[index].1 = value;
            let found = judged(&settings, replicas);
            assert_eq!(found.len(), 1, "{found:?}");
            found[0].clone()
        };
        assert!(found(0, "allkeys-lru", 0).contains("allkeys-lru"));
        assert!(found(1, "normal 0 0 0 pubsub 33554432 8388608 60", 0).contains("8388608"));
        assert!(found(1, "pubsub 0 8388608 60", 0).contains("8388608"));
        assert!(found(2, "0", 1).contains("min-replicas-to-write"));
        assert!(found(4, "no", 0).contains("restart"));
    }

    #[test]
    fn a_refusal_says_that_nothing_was_checked() {
        let refused = Err(ServerError::new("NOPERM", "no permissions"));
        let found = findings(&refused, &facts(0));
        assert!(found.len() == 1 && found[0].text.contains("could not be checked"), "{found:?}");
    }
}
