//! Joins chat, broker and registry into one node: what endpoints and HTTP talk to.

mod claim;
mod direct;
mod fanout;
mod held;
mod membership;
mod permit;
mod presence;
mod publish;
mod shared;
mod typing;
mod unanswered;

pub use self::claim::{ClaimRequest, UserClaim};
pub use self::membership::{Entered, Membership};
pub use self::permit::ConnectionPermit;
pub use self::publish::{Post, refusal};
pub use self::shared::Node;
pub use self::typing::TypingPause;
