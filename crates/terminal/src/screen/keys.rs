//! Translates keys into edits of the input line and actions. Pure.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::edit::{LineEditor, Motion};

/// The action that a key asks for, besides moving the cursor or deleting text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyAction {
    /// No action, or an edit that is not typing.
    Nothing,
    /// A character was typed.
    Edited,
    /// Send the line.
    Send,
    NextConversation,
    PreviousConversation,
    ScrollUp,
    ScrollDown,
    Redraw,
    Quit,
}

/// Applies a key to the input line and returns the action that it asks for.
pub(super) fn press(key: KeyEvent, edit: &mut LineEditor) -> KeyAction {
    if key.kind == KeyEventKind::Release {
        return KeyAction::Nothing;
    }
    let is_word = key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
    let before = if is_word { Motion::PreviousWord } else { Motion::Left };
    let behind = if is_word { Motion::NextWord } else { Motion::Right };
    match key.code {
        KeyCode::Char(char) if key.modifiers.contains(KeyModifiers::CONTROL) => return control(char, edit),
        KeyCode::Char('b') if key.modifiers.contains(KeyModifiers::ALT) => edit.go(Motion::PreviousWord),
        KeyCode::Char('f') if key.modifiers.contains(KeyModifiers::ALT) => edit.go(Motion::NextWord),
        KeyCode::Char('d') if key.modifiers.contains(KeyModifiers::ALT) => edit.delete(Motion::NextWord),
        KeyCode::Char(char) => {
            edit.insert(char.encode_utf8(&mut [0; 4]));
            return KeyAction::Edited;
        }
        KeyCode::Backspace => edit.delete(before),
        KeyCode::Delete => edit.delete(behind),
        KeyCode::Left => edit.go(before),
        KeyCode::Right => edit.go(behind),
        KeyCode::Home => edit.go(Motion::Start),
        KeyCode::End => edit.go(Motion::End),
        KeyCode::Up => edit.earlier(),
        KeyCode::Down => edit.later(),
        KeyCode::Enter => return KeyAction::Send,
        KeyCode::Tab => return KeyAction::NextConversation,
        KeyCode::BackTab => return KeyAction::PreviousConversation,
        KeyCode::PageUp => return KeyAction::ScrollUp,
        KeyCode::PageDown => return KeyAction::ScrollDown,
        _ => (),
    }
    KeyAction::Nothing
}

/// Applies a key with Ctrl, with the meanings that shells give them.
fn control(char: char, edit: &mut LineEditor) -> KeyAction {
    match char {
        'c' => return KeyAction::Quit,
        'd' if edit.text().is_empty() => return KeyAction::Quit,
        'n' => return KeyAction::NextConversation,
        'p' => return KeyAction::PreviousConversation,
        'l' => return KeyAction::Redraw,
        'd' => edit.delete(Motion::Right),
        'h' => edit.delete(Motion::Left),
        'w' => edit.delete(Motion::PreviousWord),
        'u' => edit.delete(Motion::Start),
        'k' => edit.delete(Motion::End),
        'a' => edit.go(Motion::Start),
        'e' => edit.go(Motion::End),
        'b' => edit.go(Motion::Left),
        'f' => edit.go(Motion::Right),
        _ => (),
    }
    KeyAction::Nothing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pressed(keys: &[(KeyCode, KeyModifiers)]) -> (String, Vec<KeyAction>) {
        let mut edit = LineEditor::default();
        edit.insert("one two");
        let actions = keys.iter().map(|(code, with)| press(KeyEvent::new(*code, *with), &mut edit)).collect();
        (edit.text().to_owned(), actions)
    }

    #[test]
    fn keys_have_their_usual_meanings() {
        use KeyCode as K;
        const NONE: KeyModifiers = KeyModifiers::NONE;
        const CTRL: KeyModifiers = KeyModifiers::CONTROL;
        for (keys, text, last) in [
            (&[(K::Char('é'), NONE)][..], "one twoé", KeyAction::Edited),
            (&[(K::Char('X'), KeyModifiers::SHIFT)], "one twoX", KeyAction::Edited),
            (&[(K::Backspace, NONE)], "one tw", KeyAction::Nothing),
            (&[(K::Home, NONE), (K::Delete, NONE)], "ne two", KeyAction::Nothing),
            (&[(K::Char('w'), CTRL)], "one ", KeyAction::Nothing),
            (&[(K::Left, CTRL), (K::Char('k'), CTRL)], "one ", KeyAction::Nothing),
            (&[(K::Char('u'), CTRL), (K::Char('d'), CTRL)], "", KeyAction::Quit),
            (&[(K::Char('d'), CTRL)], "one two", KeyAction::Nothing),
            (&[(K::Char('c'), CTRL)], "one two", KeyAction::Quit),
            (&[(K::Tab, NONE)], "one two", KeyAction::NextConversation),
            (&[(K::BackTab, KeyModifiers::SHIFT)], "one two", KeyAction::PreviousConversation),
            (&[(K::PageUp, NONE)], "one two", KeyAction::ScrollUp),
            (&[(K::Enter, NONE)], "one two", KeyAction::Send),
            (&[(K::F(5), NONE)], "one two", KeyAction::Nothing),
        ] {
            let (after, actions) = pressed(keys);
            assert_eq!((&*after, actions.last()), (text, Some(&last)), "{keys:?}");
        }
    }

    #[test]
    fn the_release_of_a_key_is_ignored() {
        let mut edit = LineEditor::default();
        let mut key = KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE);
        key.kind = KeyEventKind::Release;
        assert_eq!(press(key, &mut edit), KeyAction::Nothing);
    }
}
