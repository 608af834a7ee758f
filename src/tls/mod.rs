//! TLS for connections that come in: certificates from files, chosen by the name that a client asks for, and the
//! records of one connection.
//!
//! There is no socket here: [`Tls`] turns ciphertext into plaintext and back, and its caller reads and writes. Requests
//! to other servers are not here either; `outbound` makes them.

mod certificate;
mod certificates;
mod chain;
mod changes;
mod error;
mod identity;
mod outgoing;
mod records;
mod server_config;
mod session;

pub use certificate::Validity;
pub use certificates::{Certificates, ReplaceError};
pub use chain::Chain;
pub use changes::Stamp;
pub use error::TlsError;
pub use identity::{Identity, IdentityError, Pair};
pub use outgoing::Scratch;
pub use server_config::{ConfigError, client_authorities, server_config};
pub use session::{Received, Tls};

/// A configuration of TLS for the server's side, which connections share.
pub type ServerConfig = rustls::ServerConfig;

#[cfg(test)]
mod tests;
