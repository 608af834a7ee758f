//! Parses a typed line: a text to send, or a command. Pure functions.

use thiserror::Error;

use throng_names::{NameError, RoomName, UserId};

/// Messages that `/history` without a number asks for.
pub(super) const HISTORY_DEFAULT: u16 = 20;
/// Most messages that a server returns at once.
pub(super) const HISTORY_MAX: u16 = 100;

/// The commands as `/help` lists them, each with its meaning.
pub(super) const COMMANDS: &[(&str, &str)] = &[
    ("/join ROOM", "enter a room, and speak there"),
    ("/leave [ROOM]", "leave this room, or ROOM"),
    ("/room ROOM", "speak in another of your rooms"),
    ("/msg USER TEXT", "say something to one user alone"),
    ("/who", "list the users of this room"),
    ("/history [N]", "show the last 20 messages of this room, or the last N (up to 100)"),
    ("/help", "this list"),
    ("/quit", "leave"),
    ("//TEXT", "say a text that begins with a slash"),
];

/// The meaning of a typed line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Input {
    /// Send this text to the current room.
    Say(String),
    /// Enter this room and make it the current one.
    Join(RoomName),
    /// Leave this room, or the current one.
    Leave(Option<RoomName>),
    /// Make this room the current one.
    Switch(RoomName),
    /// Send this text to that user alone.
    Direct(UserId, String),
    /// List the users of the current room.
    Users,
    /// Show so many earlier messages of the current room.
    History(u16),
    /// List the commands.
    Help,
    /// End the chat.
    Quit,
}

/// Why a typed line has no meaning. The message says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum InputError {
    /// The word behind the slash is not a command.
    #[error("no such command: /{0} (/help lists them; // says a text that begins with a slash)")]
    Unknown(String),
    /// The command has too few or too many arguments.
    #[error("usage: {0}")]
    Usage(&'static str),
    /// The room's name is not valid.
    #[error("a room's name {0}")]
    Room(NameError),
    /// The user id is not valid.
    #[error("a user id {0}")]
    User(NameError),
    /// The argument of `/history` is not a number in the allowed range.
    #[error("/history takes a number from 1 to {HISTORY_MAX}")]
    Number,
}

/// Parses a line. Returns `None` when it holds nothing but blanks.
pub(super) fn parse(line: &str) -> Result<Option<Input>, InputError> {
    let line = line.trim();
    if line.is_empty() {
        return Ok(None);
    }
    let Some(command) = line.strip_prefix('/') else { return Ok(Some(Input::Say(line.to_owned()))) };
    if command.starts_with('/') {
        return Ok(Some(Input::Say(command.to_owned())));
    }
    let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    command_of(name, rest.trim()).map(Some)
}

/// Parses a command from its name and the text behind it.
fn command_of(name: &str, rest: &str) -> Result<Input, InputError> {
    let words = rest.split_whitespace().count();
    let at_most = |max: usize, usage: &'static str| {
        if words > max { Err(InputError::Usage(usage)) } else { Ok(()) }
    };
    match name {
        "join" | "room" if words != 1 => {
            Err(InputError::Usage(if name == "join" { "/join ROOM" } else { "/room ROOM" }))
        }
        "join" => Ok(Input::Join(room(rest)?)),
        "room" => Ok(Input::Switch(room(rest)?)),
        "leave" => {
            at_most(1, "/leave [ROOM]")?;
            Ok(Input::Leave(if rest.is_empty() { None } else { Some(room(rest)?) }))
        }
        "msg" => {
            let parts = rest.split_once(char::is_whitespace);
            let (user, text) = parts.ok_or(InputError::Usage("/msg USER TEXT"))?;
            Ok(Input::Direct(user.parse().map_err(InputError::User)?, text.trim_start().to_owned()))
        }
        "who" => at_most(0, "/who").map(|()| Input::Users),
        "history" if rest.is_empty() => Ok(Input::History(HISTORY_DEFAULT)),
        "history" => match rest.parse() {
            Ok(count) if (1..=HISTORY_MAX).contains(&count) => Ok(Input::History(count)),
            _ => Err(InputError::Number),
        },
        "help" => at_most(0, "/help").map(|()| Input::Help),
        "quit" => at_most(0, "/quit").map(|()| Input::Quit),
        // The name is cut, because piped input can be very long.
        _ => Err(InputError::Unknown(name.chars().take(20).collect())),
    }
}

fn room(text: &str) -> Result<RoomName, InputError> {
    text.parse().map_err(InputError::Room)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room_of(name: &str) -> RoomName {
        name.parse().expect("a name")
    }

    #[test]
    fn texts_and_commands_are_parsed() {
        let bob = "bob".parse::<UserId>().expect("a name");
        for (line, meaning) in [
            ("hi", Input::Say("hi".into())),
            ("  hi there \r", Input::Say("hi there".into())),
            ("//join is a word", Input::Say("/join is a word".into())),
            ("///", Input::Say("//".into())),
            ("/join news", Input::Join(room_of("news"))),
            ("/leave", Input::Leave(None)),
            ("/leave  news ", Input::Leave(Some(room_of("news")))),
            ("/room a.b:c@d-e_f", Input::Switch(room_of("a.b:c@d-e_f"))),
            ("/msg bob  how are  you", Input::Direct(bob.clone(), "how are  you".into())),
            ("/msg bob /join", Input::Direct(bob, "/join".into())),
            ("/who", Input::Users),
            ("/history", Input::History(20)),
            ("/history 100", Input::History(100)),
            ("/help", Input::Help),
            ("/quit", Input::Quit),
        ] {
            assert_eq!(parse(line), Ok(Some(meaning)), "{line:?}");
        }
        for blank in ["", "  ", "\t\r"] {
            assert_eq!(parse(blank), Ok(None), "{blank:?}");
        }
    }

    #[test]
    fn errors_say_what_is_allowed() {
        for (line, text) in [
            ("/", "no such command: / (/help"),
            ("/shrug", "no such command: /shrug (/help"),
            ("/Join news", "no such command: /Join"),
            ("/home/user/file", "no such command: /home/user/file (/help"),
            ("/join", "usage: /join ROOM"),
            ("/join a b", "usage: /join ROOM"),
            ("/room", "usage: /room ROOM"),
            ("/leave a b", "usage: /leave [ROOM]"),
            ("/msg", "usage: /msg USER TEXT"),
            ("/msg bob", "usage: /msg USER TEXT"),
            ("/who else", "usage: /who"),
            ("/quit now", "usage: /quit"),
            ("/join a/b", "a room's name may only contain"),
            ("/msg b hi", "a user id must have 3 to 64 characters"),
            ("/history 0", "/history takes a number from 1 to 100"),
            ("/history 101", "/history takes"),
            ("/history many", "/history takes"),
        ] {
            let error = parse(line).expect_err(line).to_string();
            assert!(error.starts_with(text), "{line:?}: {error}");
        }
        let long = format!("/{}", "x".repeat(10_000));
        assert!(parse(&long).expect_err("no command").to_string().len() < 150);
    }

    #[test]
    fn every_listed_command_is_parsed() {
        for (usage, _) in COMMANDS {
            let line = usage.replace("[ROOM]", "").replace("[N]", "").replace("USER", "bob");
            assert!(matches!(parse(&line), Ok(Some(_))), "{usage}");
        }
    }
}
