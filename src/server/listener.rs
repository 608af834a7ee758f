//! Creates the listening sockets. Accepted sockets inherit the options that are set on them, which saves four system
//! calls for each connection.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs as _};
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::BindError;
use super::door::Door;
use super::transport::Transport;
use super::unix_socket::{self, SocketFile};
use crate::config::{Config, Listen};

/// Connections that the kernel queues until they are accepted; it caps this at `net.core.somaxconn`.
pub(crate) const BACKLOG: i32 = 4096;
/// Most addresses of one name.
const MAX_ADDRESSES_OF_NAME: usize = 16;

/// A listening address.
#[derive(Debug)]
pub(super) struct Listener {
    /// Removes the file of a Unix socket, before the socket is closed.
    pub(super) file: Option<SocketFile>,
    /// A TCP socket, or a Unix socket: the type stands for both, because nothing is done to it but `accept`.
    pub(super) socket: TcpListener,
    /// The address that was bound: an IP address with its port, or a Unix socket.
    pub(super) address: Listen,
    pub(super) door: Door,
    pub(super) transport: Transport,
}

impl Listener {
    /// Binds addresses for a door. There can be more sockets than addresses, because a name can have several.
    ///
    /// # Errors
    /// An address is in use, does not belong to this machine, or is not allowed, or a name has none.
    pub(super) fn bind_all(
        addresses: &[Listen],
        door: Door,
        transport: Transport,
        config: &Config,
    ) -> Result<Vec<Self>, BindError> {
        let mut listeners = Vec::new();
        for listen in addresses {
            let bound = Self::bind(listen, addresses, door, transport, config);
            listeners
                .extend(bound.map_err(|source| BindError::Listen { listen: listen.to_string(), source })?);
        }
        Ok(listeners)
    }

    fn bind(
        listen: &Listen,
        all: &[Listen],
        door: Door,
        transport: Transport,
        config: &Config,
    ) -> io::Result<Vec<Self>> {
        if let Listen::Unix(path) = listen {
            let (socket, file) = unix_socket::bind(path, config.socket.unix_mode)?;
            socket.listen(BACKLOG)?;
            let (socket, address, file) = (socket.into(), listen.clone(), Some(file));
            return Ok(vec![Self { file, socket, address, door, transport }]);
        }
        let listening = |socket: Socket| {
            set_options(&socket, config)?;
            socket.listen(BACKLOG)?;
            let socket = TcpListener::from(socket);
            let address = Listen::Ip(socket.local_addr()?);
            Ok(Self { file: None, socket, address, door, transport })
        };
        bind_ip(listen, all)?.into_iter().map(listening).collect()
    }

    /// Returns the IP address and port; `None` for a Unix socket.
    pub(super) fn ip(&self) -> Option<SocketAddr> {
        self.address.ip()
    }
}

/// Binds an address of `all`, and frees it again. Nothing listens meanwhile, so that no client is disturbed.
///
/// # Errors
/// The address cannot be bound.
pub(crate) fn try_bind(listen: &Listen, all: &[Listen]) -> io::Result<()> {
    match listen {
        Listen::Unix(path) => unix_socket::check(path),
        _ => bind_ip(listen, all).map(drop),
    }
}

/// Binds what an address stands for, one of `all`, apart from Unix sockets.
fn bind_ip(listen: &Listen, all: &[Listen]) -> io::Result<Vec<Socket>> {
    match listen {
        Listen::Ip(address) => {
            // [::] takes the port of IPv4, too, unless that has an address of its own.
            let mut others = all.iter().filter_map(Listen::ip);
            let has_own = others.any(|other| other.is_ipv4() && other.port() == address.port());
            let only_v6 = address.is_ipv6() && has_own;
            Ok(vec![bind_one(*address, only_v6.then_some(true))?])
        }
        Listen::Everywhere(port) => {
            let address = |ip: IpAddr| SocketAddr::new(ip, *port);
            let socket = match bind_one(address(Ipv6Addr::UNSPECIFIED.into()), Some(false)) {
                // A machine without IPv6.
                Err(error) if is_missing(&error) => bind_one(address(Ipv4Addr::UNSPECIFIED.into()), None),
                bound => bound,
            };
            Ok(vec![socket?])
        }
        Listen::Name(host, port) => bind_name(host, *port),
        Listen::Unix(_) => Ok(Vec::new()),
    }
}

/// Binds all addresses of a name that this machine has. `localhost` often has one of IPv6 where there is no IPv6.
fn bind_name(host: &str, port: u16) -> io::Result<Vec<Socket>> {
    let mut addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.len() > MAX_ADDRESSES_OF_NAME {
        let problem = format!("the name has {} addresses, at most {MAX_ADDRESSES_OF_NAME}", addresses.len());
        return Err(io::Error::other(problem));
    }
    let (mut sockets, mut missing) = (Vec::new(), None);
    for address in addresses {
        match bind_one(address, None) {
            Ok(socket) => sockets.push(socket),
            Err(error) if is_missing(&error) => missing = Some(error),
            Err(error) => return Err(error),
        }
    }
    match missing {
        Some(error) if sockets.is_empty() => Err(error),
        None if sockets.is_empty() => Err(io::Error::other("the name has no address")),
        _ => Ok(sockets),
    }
}

fn bind_one(address: SocketAddr, only_v6: Option<bool>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if let Some(only_v6) = only_v6 {
        socket.set_only_v6(only_v6)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Returns true where this machine has no such address, or none of its family.
fn is_missing(error: &io::Error) -> bool {
    let family = Errno::AFNOSUPPORT.raw_os_error();
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(family)
}

fn set_options(socket: &Socket, config: &Config) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(config.socket.send_buffer)?;
    let lowat = u32::try_from(config.socket.notsent_lowat).unwrap_or(u32::MAX);
    socket.set_tcp_notsent_lowat(lowat)?;
    // The kernel gives up a peer that acknowledges no bytes after as long as the heartbeat would.
    socket.set_tcp_user_timeout(Some(user_timeout(config)))
}

fn user_timeout(config: &Config) -> Duration {
    config.heartbeat.interval + config.heartbeat.timeout
}
