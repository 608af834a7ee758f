//! Patterns of names, as room rules and tokens contain them.

/// Returns true when `name` matches `pattern`, in which each `*` stands for any number of characters, also none.
///
/// The search backtracks to the last `*` only, which is sufficient. The work is therefore at most proportional to the
/// product of the two lengths.
#[must_use]
pub fn matches_pattern(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut pattern_index, mut name_index) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while name_index < name.len() {
        match pattern.get(pattern_index) {
            Some(b'*') => {
                pattern_index += 1;
                retry = Some((pattern_index, name_index));
            }
            Some(byte) if *byte == name[name_index] => {
                pattern_index += 1;
                name_index += 1;
            }
            _ => {
                let Some((after_star, consumed)) = &mut retry else { return false };
                *consumed += 1;
                (pattern_index, name_index) = (*after_star, *consumed);
            }
        }
    }
    pattern[pattern_index..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, yes, no) in [
            ("lobby", &["lobby"][..], &["lobb", "lobby2", "Lobby", ""][..]),
            ("*", &["a", "a-b:c"], &[]),
            ("live-*", &["live-", "live-1", "live-*"], &["live", "a-live-1"]),
            ("*-live", &["-live", "a-live", "-live-live"], &["a-live-1", "live"]),
            ("a*b*c", &["abc", "a-b-c", "abcbc", "aabbcc"], &["ab", "acb", "abcd"]),
            ("**x", &["x", "ax"], &["xa"]),
        ] {
            assert!(yes.iter().all(|name| matches_pattern(pattern, name)), "{pattern}");
            assert!(!no.iter().any(|name| matches_pattern(pattern, name)), "{pattern}");
        }
        assert!(
            !matches_pattern(&"*a".repeat(32), &format!("{}b", "a".repeat(63))),
            "the worst case must finish"
        );
    }
}
