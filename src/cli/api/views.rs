//! The tables in which results are shown: a row for each element of a list, or one for the result itself.

/// The rows and columns of a table.
pub(super) struct View {
    /// The field of the result with the list of rows; empty where the result is the only row.
    pub(super) rows: &'static str,
    pub(super) columns: &'static [Column],
}

/// A column. It is left out where no row has a value for it.
pub(super) struct Column {
    pub(super) title: &'static str,
    /// The names of the fields that lead to the value, with dots between them; empty where the row is the value itself.
    pub(super) path: &'static str,
    pub(super) shown: Shown,
}

/// The form in which a value is shown.
#[derive(Clone, Copy)]
pub(super) enum Shown {
    /// As it is.
    Plain,
    /// A duration in milliseconds.
    Duration,
    /// A time in milliseconds since the Unix epoch, as its distance from now.
    Age,
    /// Not from the row: its number, beginning with 1.
    Number,
}

const fn plain(title: &'static str, path: &'static str) -> Column {
    Column { title, path, shown: Shown::Plain }
}

const fn duration(title: &'static str, path: &'static str) -> Column {
    Column { title, path, shown: Shown::Duration }
}

const fn age(title: &'static str, path: &'static str) -> Column {
    Column { title, path, shown: Shown::Age }
}

pub(super) const PUBLISHED: View = View {
    rows: "",
    columns: &[
        plain("ROOM", "room"),
        plain("OFFSET", "offset"),
        plain("ID", "id"),
        plain("DUPLICATE", "duplicate"),
    ],
};

/// How many connections a call concerned.
pub(super) const COUNTED: View = View {
    rows: "",
    columns: &[plain("DELIVERED", "delivered"), plain("CLOSED", "closed"), plain("LEFT", "left")],
};

pub(super) const REVOKED: View =
    View { rows: "", columns: &[plain("CLOSED", "closed"), plain("DURABLE", "durable")] };

/// The keys of the settings that have changed.
pub(super) const RELOADED: View =
    View { rows: "", columns: &[plain("CHANGED", "changed"), plain("NEEDS-RESTART", "restart")] };

/// The outcomes of the parts of a call, of all kinds.
pub(super) const RESULTS: View = View {
    rows: "results",
    columns: &[
        Column { title: "#", path: "", shown: Shown::Number },
        plain("ERROR", "error.code"),
        plain("ROOM", "result.room"),
        plain("OFFSET", "result.offset"),
        plain("ID", "result.id"),
        plain("DUPLICATE", "result.duplicate"),
        plain("DELIVERED", "result.delivered"),
        plain("CLOSED", "result.closed"),
        plain("LEFT", "result.left"),
        plain("REASON", "error.message"),
    ],
};

const ROOM_COLUMNS: &[Column] =
    &[plain("ROOM", "room"), plain("MEMBERS", "members"), plain("OFFSET", "offset"), plain("EPOCH", "epoch")];
pub(super) const ROOMS: View = View { rows: "rooms", columns: ROOM_COLUMNS };
pub(super) const ROOM: View = View { rows: "", columns: ROOM_COLUMNS };

pub(super) const USERS: View = View { rows: "users", columns: &[plain("USER", "")] };

pub(super) const HISTORY: View = View {
    rows: "messages",
    columns: &[
        plain("OFFSET", "offset"),
        age("AGE", "ts"),
        plain("USER", "user"),
        plain("MESSAGE", "message"),
    ],
};

pub(super) const CONNECTIONS: View = View {
    rows: "connections",
    columns: &[
        plain("CONNECTION", "connection"),
        plain("NODE", "node"),
        age("AGE", "since_ms"),
        plain("DIALECT", "dialect"),
        plain("ROOMS", "rooms"),
    ],
};

pub(super) const SLOW: View = View {
    rows: "connections",
    columns: &[
        plain("CONNECTION", "connection"),
        plain("NODE", "node"),
        plain("USER", "user"),
        plain("BYTES", "bytes"),
        plain("MESSAGES", "messages"),
        duration("WAITING", "age_ms"),
    ],
};

pub(super) const NODES: View = View {
    rows: "nodes",
    columns: &[
        plain("NODE", "name"),
        plain("VERSION", "version"),
        plain("LIVE", "is_live"),
        duration("BEAT", "age_ms"),
        plain("STATE", "counters.state"),
        duration("UP", "counters.uptime_ms"),
        plain("CONNECTIONS", "counters.connections"),
        plain("ROOMS", "counters.rooms"),
        plain("MESSAGES", "counters.messages"),
        plain("DELIVERIES", "counters.deliveries"),
        plain("QUEUED", "counters.queue_bytes"),
        plain("REFUSED", "counters.refused"),
    ],
};
