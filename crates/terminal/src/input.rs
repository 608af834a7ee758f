//! What is typed: a text to say, or a command. Pure.

use thiserror::Error;

use throng_names::{NameError, RoomName, UserId};

/// Messages asked for by `/history` without a number, and the most that a server gives at once.
pub(super) const HISTORY_DEFAULT: u16 = 20;
pub(super) const HISTORY_MOST: u16 = 100;

/// The commands, each with what it does: for `/help`, and so that there is one list of them.
pub(super) const COMMANDS: &[(&str, &str)] = &[
    ("/join ROOM", "enter a room, and speak there"),
    ("/leave [ROOM]", "go out of this room, or that one"),
    ("/room ROOM", "speak in another of your rooms"),
    ("/msg USER TEXT", "say something to one user alone"),
    ("/who", "who is in this room"),
    ("/history [N]", "what was said here before, the last 20 messages or N (up to 100)"),
    ("/help", "this list"),
    ("/quit", "leave"),
    ("//TEXT", "say a text that begins with a slash"),
];

/// A line that means something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Input {
    /// Say this where one speaks.
    Say(String),
    /// Enter this room and speak there.
    Join(RoomName),
    /// Leave this room, or the one where one speaks.
    Leave(Option<RoomName>),
    /// Speak in this room from now on.
    Speak(RoomName),
    /// Say this to that user alone.
    Tell(UserId, String),
    /// Who is here?
    Who,
    /// The last so many messages.
    History(u16),
    /// The list of commands.
    Help,
    /// The end.
    Quit,
}

/// Why a line means nothing; the text says what would.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum InputError {
    /// A slash and a word that is no command.
    #[error("no such command: /{0} (/help lists them; // says a text that begins with a slash)")]
    Unknown(String),
    /// A command without what it needs, or with more.
    #[error("usage: {0}")]
    Usage(&'static str),
    /// A name that no room can have.
    #[error("a room's name {0}")]
    Room(NameError),
    /// A name that no user can have.
    #[error("a user id {0}")]
    User(NameError),
    /// A number that is none, or not one that can be asked for.
    #[error("/history takes a number from 1 to {HISTORY_MOST}")]
    Number,
}

/// Reads a line. `None`: there is nothing in it but blanks.
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

fn command_of(name: &str, rest: &str) -> Result<Input, InputError> {
    let words = rest.split_whitespace().count();
    let usage = |most: usize, usage: &'static str| {
        if words > most { Err(InputError::Usage(usage)) } else { Ok(()) }
    };
    match name {
        "join" | "room" if words != 1 => {
            Err(InputError::Usage(if name == "join" { "/join ROOM" } else { "/room ROOM" }))
        }
        "join" => Ok(Input::Join(room(rest)?)),
        "room" => Ok(Input::Speak(room(rest)?)),
        "leave" => {
            usage(1, "/leave [ROOM]")?;
            Ok(Input::Leave(if rest.is_empty() { None } else { Some(room(rest)?) }))
        }
        "msg" => {
            let to_whom = rest.split_once(char::is_whitespace);
            let (user, text) = to_whom.ok_or(InputError::Usage("/msg USER TEXT"))?;
            Ok(Input::Tell(user.parse().map_err(InputError::User)?, text.trim_start().to_owned()))
        }
        "who" => usage(0, "/who").map(|()| Input::Who),
        "history" if rest.is_empty() => Ok(Input::History(HISTORY_DEFAULT)),
        "history" => match rest.parse() {
            Ok(count) if (1..=HISTORY_MOST).contains(&count) => Ok(Input::History(count)),
            _ => Err(InputError::Number),
        },
        "help" => usage(0, "/help").map(|()| Input::Help),
        "quit" => usage(0, "/quit").map(|()| Input::Quit),
        // Cut, as it comes from whatever was piped in.
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
    fn texts_are_said_and_commands_are_understood() {
        let bob = "bob".parse::<UserId>().expect("a name");
        for (line, meaning) in [
            ("hi", Input::Say("hi".into())),
            ("  hi there \r", Input::Say("hi there".into())),
            ("//join is a word", Input::Say("/join is a word".into())),
            ("///", Input::Say("//".into())),
            ("/join news", Input::Join(room_of("news"))),
            ("/leave", Input::Leave(None)),
            ("/leave  news ", Input::Leave(Some(room_of("news")))),
            ("/room a.b:c@d-e_f", Input::Speak(room_of("a.b:c@d-e_f"))),
            ("/msg bob  how are  you", Input::Tell(bob.clone(), "how are  you".into())),
            ("/msg bob /join", Input::Tell(bob, "/join".into())),
            ("/who", Input::Who),
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
    fn what_is_wrong_is_said_with_what_would_be_right() {
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
    fn the_list_is_of_what_is_understood() {
        for (usage, _) in COMMANDS {
            let line = usage.replace("[ROOM]", "").replace("[N]", "").replace("USER", "bob");
            assert!(matches!(parse(&line), Ok(Some(_))), "{usage}");
        }
    }
}
