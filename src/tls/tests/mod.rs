//! Tests against the client of the same library, over made-up certificates.

mod authority;
mod files;
mod memory;
mod peers;
mod records;
mod session;
