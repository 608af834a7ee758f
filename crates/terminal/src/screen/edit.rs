//! The editor of the input line, with the lines typed before. Pure.

use std::collections::VecDeque;

use unicode_segmentation::{GraphemeCursor, GraphemeIncomplete, UnicodeSegmentation as _};
use unicode_width::UnicodeWidthStr as _;

use crate::escape::is_dangerous;

/// Longest input line, in bytes: more than a server accepts with its default limits.
const MAX_BYTES: usize = 8 * 1024;
/// Most earlier lines that are kept.
const MAX_REMEMBERED: usize = 100;

/// A line with a cursor that moves by grapheme clusters, which people see as characters.
#[derive(Debug, Default)]
pub(super) struct LineEditor {
    text: String,
    /// An index in bytes, always on the boundary of a grapheme cluster.
    cursor: usize,
    earlier: VecDeque<String>,
    /// The index of the earlier line that is shown, and the draft that was being typed before.
    recalled: Option<(usize, String)>,
}

/// A motion of the cursor.
#[derive(Debug, Clone, Copy)]
pub(super) enum Motion {
    Left,
    Right,
    Start,
    End,
    PreviousWord,
    NextWord,
}

impl LineEditor {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Inserts text at the cursor. Characters that are dangerous for a terminal become blanks. Text beyond the longest
    /// line is left out.
    pub(super) fn insert(&mut self, text: &str) {
        for char in text.chars().map(|char| if is_dangerous(char) { ' ' } else { char }) {
            if self.text.len() + char.len_utf8() > MAX_BYTES {
                return;
            }
            self.text.insert(self.cursor, char);
            self.cursor += char.len_utf8();
        }
        // A combining mark may have joined the text behind the cursor into one cluster with that before it.
        self.cursor = self.boundary_at_or_behind(self.cursor);
    }

    /// Moves the cursor.
    pub(super) fn go(&mut self, motion: Motion) {
        self.cursor = self.target(motion);
    }

    /// Deletes the text between the cursor and the target of the motion.
    pub(super) fn delete(&mut self, motion: Motion) {
        let target = self.target(motion);
        let (from, until) = (self.cursor.min(target), self.cursor.max(target));
        self.text.drain(from..until);
        // The texts on both sides may have become one cluster.
        self.cursor = self.boundary_at_or_behind(from);
    }

    /// Shows the line that was typed before the one shown.
    pub(super) fn earlier(&mut self) {
        let next = self.recalled.as_ref().map_or(0, |(index, _)| index + 1);
        if let Some(line) = self.earlier.get(next).cloned() {
            let shown = std::mem::replace(&mut self.text, line);
            let draft = self.recalled.take().map_or(shown, |(_, draft)| draft);
            self.recalled = Some((next, draft));
            self.cursor = self.text.len();
        }
    }

    /// Shows the line that was typed after the one shown, or finally the draft.
    pub(super) fn later(&mut self) {
        let Some((index, draft)) = self.recalled.take() else { return };
        if index == 0 {
            self.text = draft;
        } else {
            self.text.clone_from(&self.earlier[index - 1]);
            self.recalled = Some((index - 1, draft));
        }
        self.cursor = self.text.len();
    }

    /// Takes the line, leaves an empty one, and keeps the line among the earlier ones.
    pub(super) fn take(&mut self) -> String {
        let line = std::mem::take(&mut self.text);
        (self.cursor, self.recalled) = (0, None);
        if !line.trim().is_empty() && self.earlier.front() != Some(&line) {
            self.earlier.push_front(line.clone());
            self.earlier.truncate(MAX_REMEMBERED);
        }
        line
    }

    /// Returns the part of the line around the cursor that fits into so many columns, and the column of the cursor. One
    /// column is left for a cursor at the end.
    pub(super) fn window(&self, columns: usize) -> (&str, usize) {
        let width = columns.saturating_sub(1);
        let mut start = 0;
        for (index, _) in self.text[..self.cursor].grapheme_indices(true).chain([(self.cursor, "")]) {
            start = index;
            if self.text[start..self.cursor].width() <= width {
                break;
            }
        }
        let mut end = self.cursor;
        for (index, cluster) in self.text[self.cursor..].grapheme_indices(true) {
            let behind = self.cursor + index + cluster.len();
            if self.text[start..behind].width() > width {
                break;
            }
            end = behind;
        }
        (&self.text[start..end], self.text[start..self.cursor].width())
    }

    /// Returns the index to which a motion leads.
    fn target(&self, motion: Motion) -> usize {
        let (before, behind) = self.text.split_at(self.cursor);
        match motion {
            Motion::Left => before.grapheme_indices(true).next_back().map_or(0, |(index, _)| index),
            Motion::Right => self.cursor + behind.graphemes(true).next().map_or(0, str::len),
            Motion::Start => 0,
            Motion::End => self.text.len(),
            Motion::PreviousWord => {
                let words = before.trim_end();
                let word = words
                    .rfind(char::is_whitespace)
                    .map_or(0, |blank| blank + words[blank..].chars().next().map_or(0, char::len_utf8));
                self.boundary(word, GraphemeCursor::prev_boundary, 0)
            }
            Motion::NextWord => {
                let word = behind.find(|char: char| !char.is_whitespace()).unwrap_or(behind.len());
                let end = behind[word..].find(char::is_whitespace);
                self.boundary_at_or_behind(self.cursor + end.map_or(behind.len(), |end| word + end))
            }
        }
    }

    /// Returns the first cluster boundary at or behind the index.
    fn boundary_at_or_behind(&self, index: usize) -> usize {
        self.boundary(index, GraphemeCursor::next_boundary, self.text.len())
    }

    /// Returns the index itself if it is the boundary of a cluster, else the boundary that `step` finds, or `last`.
    fn boundary(&self, index: usize, step: Step, last: usize) -> usize {
        let mut cursor = GraphemeCursor::new(index, self.text.len(), true);
        match cursor.is_boundary(&self.text, 0) {
            Ok(true) => index,
            _ => step(&mut cursor, &self.text, 0).ok().flatten().unwrap_or(last),
        }
    }
}

type Step = fn(&mut GraphemeCursor, &str, usize) -> Result<Option<usize>, GraphemeIncomplete>;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn typed(text: &str) -> LineEditor {
        let mut edit = LineEditor::default();
        edit.insert(text);
        edit
    }

    #[test]
    fn the_cursor_moves_by_grapheme_clusters() {
        // A family of three code points and two joiners, a letter with a mark, a wide one.
        let mut edit = typed("a👩‍👩‍👧e\u{301}日");
        assert_eq!(edit.window(80), ("a👩‍👩‍👧e\u{301}日", 1 + 2 + 1 + 2));
        for expected in [4, 3, 1, 0, 0] {
            edit.go(Motion::Left);
            assert_eq!(edit.window(80).1, expected);
        }
        edit.go(Motion::Right);
        edit.delete(Motion::Right);
        assert_eq!(edit.text(), "ae\u{301}日");
        edit.go(Motion::End);
        edit.delete(Motion::Left);
        edit.delete(Motion::Left);
        assert_eq!(edit.text(), "a");
    }

    #[test]
    fn words_and_whole_lines_are_deleted_at_once() {
        let mut edit = typed("one  two three");
        edit.delete(Motion::PreviousWord);
        assert_eq!(edit.text(), "one  two ");
        edit.delete(Motion::PreviousWord);
        assert_eq!(edit.text(), "one  ");
        edit.insert("four");
        edit.go(Motion::Start);
        edit.go(Motion::NextWord);
        edit.delete(Motion::End);
        assert_eq!(edit.text(), "one");
        edit.delete(Motion::Start);
        assert_eq!(edit.text(), "");
        for motion in [Motion::Left, Motion::Right, Motion::PreviousWord, Motion::NextWord] {
            edit.delete(motion);
        }
        // A joiner and the blank before it are one cluster, so that no word begins between them.
        let mut edit = typed(" \u{200d}");
        edit.go(Motion::PreviousWord);
        assert_eq!(edit.cursor, 0);
    }

    #[test]
    fn earlier_lines_come_back_and_the_draft_is_kept() {
        let mut edit = LineEditor::default();
        for line in ["one", "two", "two", "  "] {
            edit.insert(line);
            assert_eq!(edit.take(), line);
        }
        edit.insert("draft");
        edit.later();
        assert_eq!(edit.text(), "draft");
        for expected in ["two", "one", "one"] {
            edit.earlier();
            assert_eq!(edit.text(), expected);
        }
        for expected in ["two", "draft", "draft"] {
            edit.later();
            assert_eq!(edit.text(), expected);
        }
    }

    #[test]
    fn lines_and_their_number_are_limited() {
        let mut edit = LineEditor::default();
        for number in 0..300 {
            edit.insert(&number.to_string());
            edit.take();
        }
        assert_eq!(edit.earlier.len(), MAX_REMEMBERED);
        edit.insert(&"ü".repeat(MAX_BYTES));
        assert_eq!(edit.text().len(), MAX_BYTES);
    }

    #[test]
    fn pasted_text_becomes_one_harmless_line() {
        assert_eq!(typed("two\nlines\x1b[2J").text(), "two lines [2J");
    }

    #[test]
    fn the_window_contains_the_cursor() {
        let mut edit = typed("0123456789");
        assert_eq!(edit.window(5), ("6789", 4));
        edit.go(Motion::Start);
        assert_eq!(edit.window(5), ("0123", 0));
        assert_eq!(edit.window(0), ("", 0));
        // A wide character that would be cut in half is left out.
        assert_eq!(typed("日本語").window(4), ("語", 2));
    }

    const MOTIONS: [Motion; 6] =
        [Motion::Left, Motion::Right, Motion::Start, Motion::End, Motion::PreviousWord, Motion::NextWord];

    proptest! {
        #[test]
        fn the_cursor_always_stays_on_a_boundary(
            steps in prop::collection::vec(
                (0..4_u8, 0..MOTIONS.len(), "\\PC{0,3}|[\u{300}-\u{303}\u{200d}👩🇩🇪]{1,3}"),
                0..40,
            ),
            columns in 0..12_usize,
        ) {
            let mut edit = LineEditor::default();
            for (action, motion, text) in steps {
                let motion = MOTIONS[motion];
                match action {
                    0 => edit.go(motion),
                    1 => edit.delete(motion),
                    _ => edit.insert(&text),
                }
                let boundaries = edit.text.grapheme_indices(true).map(|(index, _)| index);
                prop_assert!(boundaries.chain([edit.text.len()]).any(|index| index == edit.cursor));
                let (shown, column) = edit.window(columns);
                prop_assert!(shown.width() <= columns && column <= columns.saturating_sub(1));
            }
        }
    }
}
