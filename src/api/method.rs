//! The kinds of calls, and their paths.

use std::borrow::Cow;

/// The kind of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Publishes a message in a room.
    Publish,
    /// Publishes a message in several rooms.
    Broadcast,
    /// Sends a private message to one user or several.
    Direct,
    /// Ends the connections of a user.
    Disconnect,
    /// Lets the connections of a user leave a room.
    Leave,
    /// Forgets the history and the position of a room.
    Forget,
    /// Makes tokens hold no longer.
    Revoke,
    /// Carries out several commands.
    Batch,
    /// Reads the settings again.
    Reload,
    /// Lists the rooms.
    Rooms,
    /// Describes a room.
    Room,
    /// Lists the users in a room.
    Presence,
    /// Returns the last messages of a room.
    History,
    /// Lists the users who are online.
    Users,
    /// Describes the connections of a user.
    User,
    /// Describes the nodes.
    Info,
    /// Lists the connections with the longest queues.
    Slow,
}

/// Every path behind `/api/`, with what it means. A part in braces is the field of that name, and stands for any text.
pub const PATHS: [(&str, Method); 22] = [
    ("publish", Method::Publish),
    ("broadcast", Method::Broadcast),
    ("direct", Method::Direct),
    ("disconnect", Method::Disconnect),
    ("kick", Method::Disconnect),
    ("leave", Method::Leave),
    ("forget", Method::Forget),
    ("revoke", Method::Revoke),
    ("reload", Method::Reload),
    ("batch", Method::Batch),
    ("rooms", Method::Rooms),
    ("rooms/{room}", Method::Room),
    ("room", Method::Room),
    ("rooms/{room}/presence", Method::Presence),
    ("presence", Method::Presence),
    ("rooms/{room}/history", Method::History),
    ("history", Method::History),
    ("users", Method::Users),
    ("users/{user}", Method::User),
    ("user", Method::User),
    ("info", Method::Info),
    ("connections/slow", Method::Slow),
];

/// The method of a path, with the field that the path has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<'p> {
    /// The method.
    pub method: Method,
    /// The name and the value of the field in the path.
    pub field: Option<(&'static str, Cow<'p, str>)>,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 17] = [
        Self::Publish,
        Self::Broadcast,
        Self::Direct,
        Self::Disconnect,
        Self::Leave,
        Self::Forget,
        Self::Revoke,
        Self::Batch,
        Self::Reload,
        Self::Rooms,
        Self::Room,
        Self::Presence,
        Self::History,
        Self::Users,
        Self::User,
        Self::Info,
        Self::Slow,
    ];

    /// Returns the name, for logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Broadcast => "broadcast",
            Self::Direct => "direct",
            Self::Disconnect => "disconnect",
            Self::Leave => "leave",
            Self::Forget => "forget",
            Self::Revoke => "revoke",
            Self::Batch => "batch",
            Self::Reload => "reload",
            Self::Rooms => "rooms",
            Self::Room => "room",
            Self::Presence => "presence",
            Self::History => "history",
            Self::Users => "users",
            Self::User => "user",
            Self::Info => "info",
            Self::Slow => "slow",
        }
    }

    /// Returns true for a call that changes nothing. It may be made with `GET`, and with a key that only reads.
    #[must_use]
    pub const fn only_reads(self) -> bool {
        match self {
            Self::Publish | Self::Broadcast | Self::Direct | Self::Batch => false,
            Self::Disconnect | Self::Leave | Self::Forget | Self::Revoke | Self::Reload => false,
            Self::Rooms | Self::Room | Self::Presence | Self::History => true,
            Self::Users | Self::User | Self::Info | Self::Slow => true,
        }
    }

    /// Returns the value of `Allow` for its paths.
    #[must_use]
    pub const fn allow(self) -> &'static str {
        if self.only_reads() { "GET, POST" } else { "POST" }
    }
}

impl<'p> Target<'p> {
    /// Returns what the decoded parts of a path behind `/api/` mean; `None` where there is no such call.
    #[must_use]
    pub fn of_path(parts: &[Cow<'p, str>]) -> Option<Self> {
        PATHS.iter().find_map(|(path, method)| {
            if path.split('/').count() != parts.len() {
                return None;
            }
            let mut field = None;
            for (expected, part) in path.split('/').zip(parts) {
                match expected.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                    Some(name) => field = Some((name, part.clone())),
                    None if expected == part => {}
                    None => return None,
                }
            }
            Some(Self { method: *method, field })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_their_methods_and_fields() {
        let target = |path: &'static str| {
            let parts: Vec<_> = path.split('/').map(Cow::Borrowed).collect();
            Target::of_path(&parts).map(|Target { method, field }| {
                (method.name(), field.map(|(name, value)| format!("{name}={value}")))
            })
        };
        for (path, expected) in [
            ("publish", Some(("publish", None))),
            ("kick", Some(("disconnect", None))),
            ("rooms", Some(("rooms", None))),
            ("rooms/a", Some(("room", Some("room=a".to_owned())))),
            ("rooms/a/presence", Some(("presence", Some("room=a".to_owned())))),
            ("rooms/a/history", Some(("history", Some("room=a".to_owned())))),
            ("history", Some(("history", None))),
            ("users/anna", Some(("user", Some("user=anna".to_owned())))),
            ("connections/slow", Some(("slow", None))),
            ("rooms/a/else", None),
            ("slow", None),
            ("publish/a", None),
            ("", None),
        ] {
            assert_eq!(target(path), expected, "{path}");
        }
    }
}
