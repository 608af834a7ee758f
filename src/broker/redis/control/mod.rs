//! Control messages between nodes: what one node asks of another about connections that are there, and the answers.
//!
//! A message is delivered at most once, and what it asks for may be done twice without harm, except for a private
//! message, which is why nobody sends that again. A node that does not answer in time counts as silent; whether it has
//! done what was asked is not known then.

mod contents;
pub mod endings;
pub mod message;
mod parser;
mod reading;
pub mod requests;
#[cfg(test)]
mod tests;

pub use endings::Endings;
pub use message::{Answer, BadMessage, EndCause, Kind, Message, Order, Outcome, Request};
pub use requests::{Done, Requests};
