//! Pages of sorted rows: made of what is in no order, and merged from several nodes.

use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

/// Bytes of the rows of one page, roughly. The answer of a node has to fit into a control message.
pub(super) const PAGE_BYTES: usize = 48 * 1024;

/// The first rows of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The rows, sorted.
    pub rows: Vec<T>,
    /// True when more follow.
    pub more: bool,
}

impl<T> Page<T> {
    /// Keeps the first rows, which together have at most [`PAGE_BYTES`] bytes, as `len` counts them.
    pub(super) fn bounded(rows: impl IntoIterator<Item = T>, more: bool, len: impl Fn(&T) -> usize) -> Self {
        let mut bytes = 0;
        let mut page = Self { rows: Vec::new(), more };
        for row in rows {
            bytes += len(&row);
            if bytes > PAGE_BYTES {
                page.more = true;
                return page;
            }
            page.rows.push(row);
        }
        page
    }

    /// Merges the pages of several nodes into one of at most `limit` rows. Rows with the same name become one, by
    /// `join`. A page that says that more follow has nothing to say about the names behind its last one, so that these
    /// are left out.
    #[must_use]
    pub fn merge(
        pages: impl IntoIterator<Item = Self>,
        limit: usize,
        name: impl Fn(&T) -> &str,
        join: impl Fn(&mut T, T),
    ) -> Self {
        let mut merged = Self { rows: Vec::new(), more: false };
        let mut known_up_to: Option<String> = None;
        for page in pages {
            if page.more {
                merged.more = true;
                let last = page.rows.last().map_or("", &name);
                if known_up_to.as_deref().is_none_or(|known| last < known) {
                    known_up_to = Some(last.to_owned());
                }
            }
            merged.rows.extend(page.rows);
        }
        merged.rows.sort_by(|one, other| name(one).cmp(name(other)));
        let mut rows: Vec<T> = Vec::new();
        for row in merged.rows {
            match rows.last_mut().filter(|last| name(last) == name(&row)) {
                Some(last) => join(last, row),
                None => rows.push(row),
            }
        }
        if let Some(known) = known_up_to {
            rows.retain(|row| name(row) <= &*known);
        }
        merged.more |= rows.len() > limit;
        rows.truncate(limit);
        Self { rows, more: merged.more }
    }
}

/// Collects the smallest names of many.
pub(super) struct Smallest<N> {
    /// The largest is on top.
    names: BinaryHeap<N>,
    most: usize,
}

impl<N: Ord + Clone> Smallest<N> {
    pub(super) fn new(most: usize) -> Self {
        Self { names: BinaryHeap::new(), most }
    }

    /// Notes a name, which is copied only if it is one of the smallest so far.
    pub(super) fn note(&mut self, name: &N) {
        // One more than wanted tells whether more follow.
        if self.names.len() > self.most {
            if self.names.peek().is_some_and(|largest| largest <= name) {
                return;
            }
            self.names.pop();
        }
        self.names.push(name.clone());
    }

    /// Returns the names in order, and whether there were more.
    pub(super) fn sorted(self) -> (Vec<N>, bool) {
        let mut names = self.names.into_sorted_vec();
        let more = names.len() > self.most;
        names.truncate(self.most);
        (names, more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(rows: &[&str], more: bool) -> Page<String> {
        Page { rows: rows.iter().map(|&row| row.to_owned()).collect(), more }
    }

    fn merged(pages: &[Page<String>], limit: usize) -> Page<String> {
        Page::merge(pages.iter().cloned(), limit, |row| row, |_, _| {})
    }

    #[test]
    fn pages_of_nodes_become_one() {
        let (one, other) = (page(&["a", "c", "e"], false), page(&["b", "c"], false));
        assert_eq!(merged(&[one.clone(), other.clone()], 9), page(&["a", "b", "c", "e"], false));
        assert_eq!(merged(&[one, other], 3), page(&["a", "b", "c"], true));
    }

    #[test]
    fn nothing_is_left_out_behind_the_end_of_a_page() {
        // The first node may have a "d", which the next page then shows.
        let (one, other) = (page(&["a", "c"], true), page(&["b", "e"], false));
        assert_eq!(merged(&[one, other], 9), page(&["a", "b", "c"], true));
        let (one, other) = (page(&[], true), page(&["b"], false));
        assert_eq!(merged(&[one, other], 9), page(&[], true));
    }

    #[test]
    fn the_smallest_names_are_found_in_any_order() {
        for names in [[1, 2, 3, 4, 5], [5, 4, 3, 2, 1], [3, 5, 1, 4, 2]] {
            let mut smallest = Smallest::new(3);
            names.iter().for_each(|name| smallest.note(name));
            assert_eq!(smallest.sorted(), (vec![1, 2, 3], true));
        }
        let mut all = Smallest::new(3);
        [2, 1, 3].iter().for_each(|name| all.note(name));
        assert_eq!(all.sorted(), (vec![1, 2, 3], false));
    }

    #[test]
    fn a_page_is_bounded_in_bytes() {
        let rows = (0..10).map(|n| n.to_string());
        let half = Page::bounded(rows.clone(), false, |_| PAGE_BYTES / 5);
        assert_eq!((half.rows.len(), half.more), (5, true));
        assert!(!Page::bounded(rows, false, |_| 1).more);
    }
}
