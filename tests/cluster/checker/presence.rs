//! The check of presence: every node shows the same members of a room, and these are the members.

use std::collections::BTreeSet;

/// The members of a room as one node shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) node: usize,
    pub(crate) members: u64,
    pub(crate) users: BTreeSet<String>,
}

/// Returns the first difference between the members of a room and what the nodes show.
pub(crate) fn difference(room: &str, there: &BTreeSet<String>, shown: &[Shown]) -> Option<String> {
    shown.iter().find_map(|Shown { node, members, users }| {
        let missing: Vec<_> = there.difference(users).collect();
        let ghosts: Vec<_> = users.difference(there).collect();
        let is_right = missing.is_empty() && ghosts.is_empty() && *members == there.len() as u64;
        let what = || {
            let count = there.len();
            format!(
                "{room} at node {node}: {members} members of {count}, missing {missing:?}, ghosts {ghosts:?}"
            )
        };
        (!is_right).then(what)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(users: &[&str]) -> BTreeSet<String> {
        users.iter().map(|user| (*user).to_owned()).collect()
    }

    #[test]
    fn a_missing_user_a_ghost_and_a_wrong_count_are_differences() {
        let there = set(&["a", "b"]);
        let shown = |members, users: &[&str]| Shown { node: 1, members, users: set(users) };
        assert_eq!(difference("r", &there, &[shown(2, &["a", "b"])]), None);
        for (wrong, part) in [
            (shown(1, &["a"]), "missing [\"b\"]"),
            (shown(3, &["a", "b", "c"]), "ghosts [\"c\"]"),
            (shown(3, &["a", "b"]), "3 members of 2"),
        ] {
            let found = difference("r", &there, &[shown(2, &["a", "b"]), wrong]).unwrap_or_default();
            assert!(found.contains(part), "{found}");
        }
    }
}
