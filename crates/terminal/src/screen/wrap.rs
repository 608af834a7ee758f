//! Breaks text into rows of limited width. Pure.

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

/// Breaks a text between words, and within a word that is wider than a row. Every row is at most `columns` wide. A
/// character that is wider than that is left out. There is at least one row.
pub(super) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut rows = Vec::new();
    let mut row = String::new();
    for word in text.split_word_bounds() {
        if row.width() + word.width() > columns && !row.is_empty() {
            rows.push(std::mem::take(&mut row));
            // The blank at a break does not begin the next row.
            if word.trim().is_empty() {
                continue;
            }
        }
        if word.width() <= columns {
            row.push_str(word);
            continue;
        }
        for cluster in word.graphemes(true).filter(|cluster| cluster.width() <= columns) {
            if row.width() + cluster.width() > columns {
                rows.push(std::mem::take(&mut row));
            }
            row.push_str(cluster);
        }
    }
    if !row.is_empty() || rows.is_empty() {
        rows.push(row);
    }
    rows
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rows_end_between_words_where_possible() {
        assert_eq!(wrap("the quick brown fox", 10), ["the quick ", "brown fox"]);
        assert_eq!(wrap("the quick brown fox", 9), ["the quick", "brown fox"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("日本語", 4), ["日本", "語"]);
        assert_eq!(wrap("日本語", 1), [""]);
        assert_eq!(wrap("", 4), [""]);
    }

    proptest! {
        #[test]
        fn nothing_is_too_wide_and_no_word_is_lost(text in "\\PC{0,60}", columns in 2..20_usize) {
            let rows = wrap(&text, columns);
            prop_assert!(rows.iter().all(|row| row.width() <= columns), "{rows:?}");
            let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
            let narrow: String = text.graphemes(true).filter(|cluster| cluster.width() <= columns).collect();
            prop_assert_eq!(letters(&rows.concat()), letters(&narrow));
        }
    }
}
