//! The vocabulary that the chat server throng shares with its clients: user ids, names, room names, positions, session
//! secrets, durations. Parsing is validation: a value that exists is valid.
//!
//! Nothing here does any I/O. Only [`Epoch::random`] and [`SessionId::random`] ask the system for something: random
//! numbers.
//!
//! ```
//! use throng_names::{NameError, RoomName, UserId};
//!
//! let room: RoomName = "lobby".parse()?;
//! assert_eq!(room.as_str(), "lobby");
//! assert_eq!("no blanks".parse::<UserId>(), Err(NameError::Character));
//! # Ok::<(), NameError>(())
//! ```
//!
//! ```text
//! src/
//!   lib.rs            this map, and what is public
//!   name.rs           user ids, room names, idempotency keys
//!   display_name.rs   the name of a user that people are shown
//!   spelling.rs       characters that deceive, spelled out
//!   pattern.rs        patterns of names, with `*`
//!   connection_id.rs  the id of a connection
//!   position.rs       a message's position in its room: epoch and offset
//!   epoch.rs          the period within which a room's offsets count upwards
//!   session.rs        the secret of a connection
//!   units.rs          durations and sizes as people write them
//!   error.rs          why a name or an id was refused
//! ```

#![forbid(unsafe_code)]

mod connection_id;
mod display_name;
mod epoch;
mod error;
mod name;
mod pattern;
mod position;
mod session;
mod spelling;
pub mod units;

pub use connection_id::ConnectionId;
pub use display_name::DisplayName;
pub use epoch::Epoch;
pub use error::NameError;
pub use name::{Key, RoomName, UserId};
pub use pattern::matches_pattern;
pub use position::{Offset, Position};
pub use session::SessionId;
pub use spelling::{is_dangerous, spelled};
pub use units::parse_duration;
