//! The calls of the server API: parses their JSON, carries them out on the node, and writes their answers as JSON.
//!
//! There is no HTTP here: `server` checks the key and the head of a request, and reads its body. A call lets other
//! tasks of its worker have their turn after each short slice of work.

mod answer;
mod call;
mod error;
mod fields;
mod method;
mod object;
mod read;
mod read_fields;
mod run;
mod slice;
mod written;

pub use self::answer::{Answer, Outcome};
pub use self::call::{Call, Disconnect, Leave, Read, Revoke};
pub use self::error::ApiError;
pub use self::method::{Method, PATHS, Target};
pub use self::object::Object;
pub use self::run::{Service, run};
pub use self::slice::Slice;
pub use self::written::Written;
