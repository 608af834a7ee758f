//! Creates the listening socket. Accepted sockets inherit the options that are set on it, which saves four system calls
//! for each connection.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::BindError;
use super::door::Door;
use super::transport::Transport;
use crate::config::Config;

/// Connections that the kernel queues until they are accepted; it caps this at `net.core.somaxconn`.
pub(crate) const BACKLOG: i32 = 4096;

/// A listening address.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: TcpListener,
    pub(super) address: SocketAddr,
    pub(super) door: Door,
    pub(super) transport: Transport,
}

impl Listener {
    /// Binds an address for a door.
    ///
    /// # Errors
    /// The address is in use, does not belong to this machine, or is not allowed.
    pub(super) fn bind(
        listen: SocketAddr,
        door: Door,
        transport: Transport,
        config: &Config,
    ) -> Result<Self, BindError> {
        let bound = bind(listen, config).and_then(|socket| Ok((socket.local_addr()?, socket)));
        let (address, socket) = bound.map_err(|source| BindError::Listen { listen, source })?;
        Ok(Self { socket, address, door, transport })
    }
}

/// Binds an address and listens on it.
///
/// # Errors
/// The address is in use, does not belong to this machine, or is not allowed.
fn bind(address: SocketAddr, config: &Config) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(config.socket.send_buffer)?;
    let lowat = u32::try_from(config.socket.notsent_lowat).unwrap_or(u32::MAX);
    socket.set_tcp_notsent_lowat(lowat)?;
    // The kernel gives up a peer that acknowledges no bytes after as long as the heartbeat would.
    socket.set_tcp_user_timeout(Some(user_timeout(config)))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn user_timeout(config: &Config) -> Duration {
    config.heartbeat.interval + config.heartbeat.timeout
}
