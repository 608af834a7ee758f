//! The line that is being typed, and those that were. Pure.

use std::collections::VecDeque;

use unicode_segmentation::{GraphemeCursor, GraphemeIncomplete, UnicodeSegmentation as _};
use unicode_width::UnicodeWidthStr as _;

use crate::escape::is_dangerous;

/// What is typed is at most so long, in bytes: four times what a server takes unless it was told otherwise.
const MAX_BYTES: usize = 8 * 1024;
/// So many lines can be called back.
const MAX_REMEMBERED: usize = 100;

/// A line with a cursor, which moves by what people take for characters (grapheme clusters).
#[derive(Debug, Default)]
pub(super) struct Edit {
    text: String,
    /// In bytes, on a boundary.
    cursor: usize,
    earlier: VecDeque<String>,
    /// Which of the earlier lines is shown, and what was being typed before.
    recalled: Option<(usize, String)>,
}

/// Where the cursor is to go.
#[derive(Debug, Clone, Copy)]
pub(super) enum To {
    Left,
    Right,
    Start,
    End,
    PreviousWord,
    NextWord,
}

impl Edit {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Puts text in at the cursor. What a terminal would obey becomes a blank; what is too much is left out.
    pub(super) fn insert(&mut self, text: &str) {
        for char in text.chars().map(|char| if is_dangerous(char) { ' ' } else { char }) {
            if self.text.len() + char.len_utf8() > MAX_BYTES {
                return;
            }
            self.text.insert(self.cursor, char);
            self.cursor += char.len_utf8();
        }
        // A mark that joined what stands behind the cursor would leave the cursor within a cluster.
        self.cursor = self.boundary_at_or_behind(self.cursor);
    }

    pub(super) fn go(&mut self, to: To) {
        self.cursor = self.place(to);
    }

    /// Takes out what is between the cursor and there.
    pub(super) fn delete(&mut self, to: To) {
        let there = self.place(to);
        let (from, until) = (self.cursor.min(there), self.cursor.max(there));
        self.text.drain(from..until);
        // What met at the seam may have become one cluster.
        self.cursor = self.boundary_at_or_behind(from);
    }

    /// Calls back the line before the one shown.
    pub(super) fn earlier(&mut self) {
        let next = self.recalled.as_ref().map_or(0, |(index, _)| index + 1);
        if let Some(line) = self.earlier.get(next).cloned() {
            let shown = std::mem::replace(&mut self.text, line);
            let draft = self.recalled.take().map_or(shown, |(_, draft)| draft);
            self.recalled = Some((next, draft));
            self.cursor = self.text.len();
        }
    }

    /// And the one after it, in the end what was being typed.
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

    /// The line, which is remembered, and an empty one in its place.
    pub(super) fn take(&mut self) -> String {
        let line = std::mem::take(&mut self.text);
        (self.cursor, self.recalled) = (0, None);
        if !line.trim().is_empty() && self.earlier.front() != Some(&line) {
            self.earlier.push_front(line.clone());
            self.earlier.truncate(MAX_REMEMBERED);
        }
        line
    }

    /// What of the line fits into so many columns, the cursor's place included, and the column of the cursor.
    pub(super) fn window(&self, columns: usize) -> (&str, usize) {
        let room = columns.saturating_sub(1);
        let mut start = 0;
        for (index, _) in self.text[..self.cursor].grapheme_indices(true).chain([(self.cursor, "")]) {
            start = index;
            if self.text[start..self.cursor].width() <= room {
                break;
            }
        }
        let mut end = self.cursor;
        for (index, cluster) in self.text[self.cursor..].grapheme_indices(true) {
            let behind = self.cursor + index + cluster.len();
            if self.text[start..behind].width() > room {
                break;
            }
            end = behind;
        }
        (&self.text[start..end], self.text[start..self.cursor].width())
    }

    fn place(&self, to: To) -> usize {
        let (before, behind) = self.text.split_at(self.cursor);
        match to {
            To::Left => before.grapheme_indices(true).next_back().map_or(0, |(index, _)| index),
            To::Right => self.cursor + behind.graphemes(true).next().map_or(0, str::len),
            To::Start => 0,
            To::End => self.text.len(),
            To::PreviousWord => {
                let words = before.trim_end();
                let word = words
                    .rfind(char::is_whitespace)
                    .map_or(0, |blank| blank + words[blank..].chars().next().map_or(0, char::len_utf8));
                self.boundary(word, GraphemeCursor::prev_boundary, 0)
            }
            To::NextWord => {
                let word = behind.find(|char: char| !char.is_whitespace()).unwrap_or(behind.len());
                let end = behind[word..].find(char::is_whitespace);
                self.boundary_at_or_behind(self.cursor + end.map_or(behind.len(), |end| word + end))
            }
        }
    }

    fn boundary_at_or_behind(&self, place: usize) -> usize {
        self.boundary(place, GraphemeCursor::next_boundary, self.text.len())
    }

    /// The place itself if it is a boundary, else the one to which `step` leads, or `last` where there is none.
    fn boundary(&self, place: usize, step: Step, last: usize) -> usize {
        let mut cursor = GraphemeCursor::new(place, self.text.len(), true);
        match cursor.is_boundary(&self.text, 0) {
            Ok(true) => place,
            _ => step(&mut cursor, &self.text, 0).ok().flatten().unwrap_or(last),
        }
    }
}

type Step = fn(&mut GraphemeCursor, &str, usize) -> Result<Option<usize>, GraphemeIncomplete>;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn typed(text: &str) -> Edit {
        let mut edit = Edit::default();
        edit.insert(text);
        edit
    }

    #[test]
    fn the_cursor_moves_by_what_people_take_for_characters() {
        // A family of three code points and two joiners, a letter with a mark, a wide one.
        let mut edit = typed("a👩‍👩‍👧e\u{301}日");
        assert_eq!(edit.window(80), ("a👩‍👩‍👧e\u{301}日", 1 + 2 + 1 + 2));
        for expected in [4, 3, 1, 0, 0] {
            edit.go(To::Left);
            assert_eq!(edit.window(80).1, expected);
        }
        edit.go(To::Right);
        edit.delete(To::Right);
        assert_eq!(edit.text(), "ae\u{301}日");
        edit.go(To::End);
        edit.delete(To::Left);
        edit.delete(To::Left);
        assert_eq!(edit.text(), "a");
    }

    #[test]
    fn words_and_whole_lines_go_at_once() {
        let mut edit = typed("one  two three");
        edit.delete(To::PreviousWord);
        assert_eq!(edit.text(), "one  two ");
        edit.delete(To::PreviousWord);
        assert_eq!(edit.text(), "one  ");
        edit.insert("four");
        edit.go(To::Start);
        edit.go(To::NextWord);
        edit.delete(To::End);
        assert_eq!(edit.text(), "one");
        edit.delete(To::Start);
        assert_eq!(edit.text(), "");
        for to in [To::Left, To::Right, To::PreviousWord, To::NextWord] {
            edit.delete(to);
        }
        // A joiner behind a blank is one cluster with it, which is no place between words.
        let mut edit = typed(" \u{200d}");
        edit.go(To::PreviousWord);
        assert_eq!(edit.cursor, 0);
    }

    #[test]
    fn earlier_lines_come_back_and_the_draft_is_kept() {
        let mut edit = Edit::default();
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
    fn nothing_grows_without_a_limit() {
        let mut edit = Edit::default();
        for number in 0..300 {
            edit.insert(&number.to_string());
            edit.take();
        }
        assert_eq!(edit.earlier.len(), MAX_REMEMBERED);
        edit.insert(&"ü".repeat(MAX_BYTES));
        assert_eq!(edit.text().len(), MAX_BYTES);
    }

    #[test]
    fn what_is_pasted_stays_one_harmless_line() {
        assert_eq!(typed("two\nlines\x1b[2J").text(), "two lines [2J");
    }

    #[test]
    fn the_window_shows_the_cursor() {
        let mut edit = typed("0123456789");
        assert_eq!(edit.window(5), ("6789", 4));
        edit.go(To::Start);
        assert_eq!(edit.window(5), ("0123", 0));
        assert_eq!(edit.window(0), ("", 0));
        // A wide character that would be cut in half is left out.
        assert_eq!(typed("日本語").window(4), ("語", 2));
    }

    proptest! {
        #[test]
        fn whatever_is_done_the_cursor_stays_on_a_boundary(
            steps in prop::collection::vec((0..4_u8, 0..6_usize, "\\PC{0,3}|[\u{300}-\u{303}\u{200d}👩🇩🇪]{1,3}"), 0..40),
            columns in 0..12_usize,
        ) {
            let mut edit = Edit::default();
            for (what, to, text) in steps {
                let to = [To::Left, To::Right, To::Start, To::End, To::PreviousWord, To::NextWord][to];
                match what {
                    0 => edit.go(to),
                    1 => edit.delete(to),
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
