//! What keys do. Pure.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::edit::{Edit, To};

/// What a key asks for, beyond a change of the line being typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// The line is as it was.
    Nothing,
    /// The line has changed.
    Edited,
    Send,
    NextPlace,
    PreviousPlace,
    Up,
    Down,
    Redraw,
    Quit,
}

/// Carries a key out on the line, and says what else it asks for.
pub(super) fn press(key: KeyEvent, edit: &mut Edit) -> Wish {
    if key.kind == KeyEventKind::Release {
        return Wish::Nothing;
    }
    let is_word = key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
    let before = if is_word { To::PreviousWord } else { To::Left };
    let behind = if is_word { To::NextWord } else { To::Right };
    match key.code {
        KeyCode::Char(char) if key.modifiers.contains(KeyModifiers::CONTROL) => return control(char, edit),
        KeyCode::Char('b') if key.modifiers.contains(KeyModifiers::ALT) => edit.go(To::PreviousWord),
        KeyCode::Char('f') if key.modifiers.contains(KeyModifiers::ALT) => edit.go(To::NextWord),
        KeyCode::Char('d') if key.modifiers.contains(KeyModifiers::ALT) => edit.delete(To::NextWord),
        KeyCode::Char(char) => {
            edit.insert(char.encode_utf8(&mut [0; 4]));
            return Wish::Edited;
        }
        KeyCode::Backspace => edit.delete(before),
        KeyCode::Delete => edit.delete(behind),
        KeyCode::Left => edit.go(before),
        KeyCode::Right => edit.go(behind),
        KeyCode::Home => edit.go(To::Start),
        KeyCode::End => edit.go(To::End),
        KeyCode::Up => edit.earlier(),
        KeyCode::Down => edit.later(),
        KeyCode::Enter => return Wish::Send,
        KeyCode::Tab => return Wish::NextPlace,
        KeyCode::BackTab => return Wish::PreviousPlace,
        KeyCode::PageUp => return Wish::Up,
        KeyCode::PageDown => return Wish::Down,
        _ => (),
    }
    Wish::Nothing
}

/// As in a shell, where it makes sense.
fn control(char: char, edit: &mut Edit) -> Wish {
    match char {
        'c' => return Wish::Quit,
        'd' if edit.text().is_empty() => return Wish::Quit,
        'n' => return Wish::NextPlace,
        'p' => return Wish::PreviousPlace,
        'l' => return Wish::Redraw,
        'd' => edit.delete(To::Right),
        'h' => edit.delete(To::Left),
        'w' => edit.delete(To::PreviousWord),
        'u' => edit.delete(To::Start),
        'k' => edit.delete(To::End),
        'a' => edit.go(To::Start),
        'e' => edit.go(To::End),
        'b' => edit.go(To::Left),
        'f' => edit.go(To::Right),
        _ => (),
    }
    Wish::Nothing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pressed(keys: &[(KeyCode, KeyModifiers)]) -> (String, Vec<Wish>) {
        let mut edit = Edit::default();
        edit.insert("one two");
        let wishes = keys.iter().map(|(code, with)| press(KeyEvent::new(*code, *with), &mut edit)).collect();
        (edit.text().to_owned(), wishes)
    }

    #[test]
    fn keys_do_what_people_expect() {
        use KeyCode as K;
        const NONE: KeyModifiers = KeyModifiers::NONE;
        const CTRL: KeyModifiers = KeyModifiers::CONTROL;
        for (keys, text, last) in [
            (&[(K::Char('é'), NONE)][..], "one twoé", Wish::Edited),
            (&[(K::Char('X'), KeyModifiers::SHIFT)], "one twoX", Wish::Edited),
            (&[(K::Backspace, NONE)], "one tw", Wish::Nothing),
            (&[(K::Home, NONE), (K::Delete, NONE)], "ne two", Wish::Nothing),
            (&[(K::Char('w'), CTRL)], "one ", Wish::Nothing),
            (&[(K::Left, CTRL), (K::Char('k'), CTRL)], "one ", Wish::Nothing),
            (&[(K::Char('u'), CTRL), (K::Char('d'), CTRL)], "", Wish::Quit),
            (&[(K::Char('d'), CTRL)], "one two", Wish::Nothing),
            (&[(K::Char('c'), CTRL)], "one two", Wish::Quit),
            (&[(K::Tab, NONE)], "one two", Wish::NextPlace),
            (&[(K::BackTab, KeyModifiers::SHIFT)], "one two", Wish::PreviousPlace),
            (&[(K::PageUp, NONE)], "one two", Wish::Up),
            (&[(K::Enter, NONE)], "one two", Wish::Send),
            (&[(K::F(5), NONE)], "one two", Wish::Nothing),
        ] {
            let (after, wishes) = pressed(keys);
            assert_eq!((&*after, wishes.last()), (text, Some(&last)), "{keys:?}");
        }
    }

    #[test]
    fn a_key_counts_when_it_goes_down() {
        let mut edit = Edit::default();
        let mut key = KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE);
        key.kind = KeyEventKind::Release;
        assert_eq!(press(key, &mut edit), Wish::Nothing);
    }
}
