//! Joins chat, broker and registry into one node: what endpoints and HTTP talk to.

mod announcer;
mod claim;
mod direct;
mod engine;
mod fanout;
mod held;
mod membership;
mod opening;
mod outgoing;
mod pending;
mod permission;
mod permit;
mod presence;
mod publish;
mod reach;
mod server_post;
mod shared;
mod subscription;
pub mod survey;
mod telling;
mod typing;
mod unanswered;
mod waiter;

pub use self::claim::{ClaimRequest, UserClaim};
pub use self::direct::Delivery;
pub use self::membership::{Entered, Membership, UserPage, Visitor};
pub use self::opening::Opening;
pub use self::outgoing::refusal;
pub use self::permission::{NotPermitted, Permission};
pub use self::permit::ConnectionPermit;
pub use self::publish::Post;
pub use self::server_post::{PostError, ServerPost, Submitted};
pub use self::shared::{LaggardSearch, Node, OpenError};
pub use self::subscription::{Subscribed, Subscription};
pub use self::telling::tell_ended;
pub use self::typing::TypingPause;
