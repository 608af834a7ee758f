//! Rows of values as aligned columns for a terminal. Texts of other users cannot move its cursor or hide anything.

use std::borrow::Cow;
use std::fmt::Write as _;

use simd_json::OwnedValue;
use simd_json::prelude::*;

use super::views::{Column, Shown, View};
use crate::names::spelled;

/// Blanks between columns.
const GAP: usize = 2;
/// Widest column that others are aligned behind. A longer cell moves the rest of its own row alone.
const MAX_WIDTH: usize = 48;

/// A table that grows by pages of rows. Its columns do not become narrower from page to page.
pub(super) struct Table {
    view: &'static View,
    columns: Vec<State>,
    /// Rows so far.
    count: usize,
}

#[derive(Clone, Copy)]
struct State {
    width: usize,
    is_shown: bool,
}

impl Table {
    /// Makes a table without rows.
    pub(super) fn new(view: &'static View) -> Self {
        let state = |column: &Column| State { width: column.title.len(), is_shown: false };
        Self { view, columns: view.columns.iter().map(state).collect(), count: 0 }
    }

    /// Writes the rows of a result, below the titles where these are new. `now_ms` is the time since the Unix epoch.
    pub(super) fn rows(&mut self, result: &OwnedValue, now_ms: u64) -> String {
        let rows: Vec<&OwnedValue> = match self.view.rows {
            "" => vec![result],
            list => result.get_array(list).into_iter().flatten().collect(),
        };
        let numbered = rows.into_iter().zip(self.count + 1..);
        let cells: Vec<Vec<String>> = numbered
            .map(|(row, number)| {
                self.view.columns.iter().map(|column| cell(column, row, number, now_ms)).collect()
            })
            .collect();
        let is_first = self.count == 0;
        self.count += cells.len();
        let mut is_new = is_first;
        for (index, state) in self.columns.iter_mut().enumerate() {
            let column = || cells.iter().map(|row| &row[index]);
            let widest = column().map(|cell| cell.chars().count()).max().unwrap_or_default();
            state.width = state.width.max(widest.min(MAX_WIDTH));
            let is_needed = column().any(|cell| !cell.is_empty()) || (cells.is_empty() && is_first);
            is_new |= is_needed && !state.is_shown;
            state.is_shown |= is_needed;
        }
        let mut text = String::new();
        if is_new {
            self.line(&mut text, self.view.columns.iter().map(|column| column.title));
        }
        for row in &cells {
            self.line(&mut text, row.iter().map(String::as_str));
        }
        text
    }

    fn line<'c>(&self, text: &mut String, cells: impl Iterator<Item = &'c str>) {
        let mut line = String::new();
        for (cell, _) in cells.zip(&self.columns).filter(|(_, state)| state.is_shown) {
            line.push_str(cell);
            line.push('\0');
        }
        // The last cell is not filled up: no line ends with blanks.
        let widths = self.columns.iter().filter(|state| state.is_shown).map(|state| state.width);
        let mut cells = line.trim_end_matches('\0').split('\0').zip(widths).peekable();
        while let Some((cell, width)) = cells.next() {
            let width = if cells.peek().is_some() { width + GAP } else { 0 };
            // Writing to a string cannot fail.
            let _ = write!(text, "{cell:<width$}");
        }
        text.push('\n');
    }
}

/// Returns the text of a cell; empty where the row has no value for it.
fn cell(column: &Column, row: &OwnedValue, number: usize, now_ms: u64) -> String {
    let mut names = column.path.split('.').filter(|name| !name.is_empty());
    let value = names.try_fold(row, |value, name| value.get(name));
    match (column.shown, value) {
        (Shown::Number, _) => number.to_string(),
        (_, None) => String::new(),
        (Shown::Plain, Some(value)) => text_of(value),
        (Shown::Duration, Some(value)) => value.as_u64().map_or_else(String::new, duration),
        (Shown::Age, Some(value)) => {
            value.as_u64().map_or_else(String::new, |since_ms| duration(now_ms.saturating_sub(since_ms)))
        }
    }
}

fn text_of(value: &OwnedValue) -> String {
    if let Some(text) = value.as_str() {
        return clean(text).into_owned();
    }
    if let Some(flag) = value.as_bool() {
        return if flag { "yes" } else { "no" }.to_owned();
    }
    if let Some(list) = value.as_array() {
        return list.iter().map(text_of).collect::<Vec<_>>().join(",");
    }
    if value.is_null() { String::new() } else { clean(&value.encode()).into_owned() }
}

/// Writes a duration with its largest unit, rounded down.
fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Returns the text on one line, with dangerous characters spelled out.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    spelled(text, |out, char| out.extend(char.escape_default()))
}

/// Returns the JSON text with dangerous characters spelled out. They can occur only within strings, and as blanks, so
/// that the meaning does not change.
pub(super) fn clean_json(json: &str) -> Cow<'_, str> {
    spelled(json, |out, char| match char {
        '\0'..='\x1f' => out.push(' '),
        // Writing to a string cannot fail.
        _ => _ = write!(out, "\\u{:04x}", char as u32),
    })
}

#[cfg(test)]
mod tests {
    use super::super::views;
    use super::*;

    fn shown(table: &mut Table, json: &str) -> String {
        table.rows(&simd_json::to_owned_value(&mut json.as_bytes().to_vec()).unwrap(), 100_000)
    }

    #[test]
    fn columns_are_aligned_and_those_without_values_left_out() {
        let mut table = Table::new(&views::RESULTS);
        let first = shown(
            &mut table,
            r#"{"results":[{"result":{"room":"a","offset":7,"duplicate":true}},{"result":{"room":"ab","offset":12}}]}"#,
        );
        assert_eq!(first, "#  ROOM  OFFSET  DUPLICATE\n1  a     7       yes\n2  ab    12\n");
        // Numbers go on, and a column that is needed only now brings the titles again.
        let more = shown(&mut table, r#"{"results":[{"result":{"room":"b","offset":1}}]}"#);
        assert_eq!(more, "3  b     1\n");
        let failed =
            shown(&mut table, r#"{"results":[{"error":{"code":"invalid_room","message":"no room"}}]}"#);
        let head = "#  ERROR         ROOM  OFFSET  DUPLICATE  REASON\n";
        assert_eq!(failed, format!("{head}4  invalid_room                           no room\n"));
    }

    #[test]
    fn an_empty_list_is_a_head_and_a_list_of_texts_one_column() {
        assert_eq!(
            shown(&mut Table::new(&views::ROOMS), r#"{"rooms":[]}"#),
            "ROOM  MEMBERS  OFFSET  EPOCH\n"
        );
        let mut users = Table::new(&views::USERS);
        assert_eq!(shown(&mut users, r#"{"users":["ann"]}"#), "USER\nann\n");
        assert_eq!(shown(&mut users, r#"{"users":["bob"]}"#), "bob\n");
    }

    #[test]
    fn values_are_shown_by_their_kind() {
        let json = r#"{"connections":[{"connection":"n/1","since_ms":28000,"rooms":["a","b"]}]}"#;
        assert_eq!(
            shown(&mut Table::new(&views::CONNECTIONS), json),
            "CONNECTION  AGE  ROOMS\nn/1         1m   a,b\n"
        );
        for (ms, text) in
            [(0, "0s"), (59_999, "59s"), (60_000, "1m"), (7_200_000, "2h"), (u64::MAX, "213503982334d")]
        {
            assert_eq!(duration(ms), text);
        }
    }

    #[test]
    fn texts_cannot_steer_the_terminal() {
        let json = r#"{"messages":[{"offset":1,"message":"a\u001b[2J\n\u202eb\u009b"}]}"#;
        let text = shown(&mut Table::new(&views::HISTORY), json);
        assert_eq!(text, "OFFSET  MESSAGE\n1       a\\u{1b}[2J\\n\\u{202e}b\\u{9b}\n");
        assert_eq!(clean_json("{\"a\":\n\"\u{9b}ü\u{202e}\"}"), "{\"a\": \"\\u009bü\\u202e\"}");
    }
}
