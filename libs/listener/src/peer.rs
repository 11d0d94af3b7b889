//! Who is at the other end of a connection, and which peers are proxies.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The socket has this address, or the PROXY protocol names it.
    Address(SocketAddr),
    /// A program on this machine, which has opened a Unix socket.
    UnixSocket,
    /// A proxy, at this address unless it uses a Unix socket, has a client that its header does not name.
    Unnamed(Option<SocketAddr>),
}

impl Peer {
    /// The address, if there is one.
    pub(super) fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(address.ip().to_canonical()),
            Self::UnixSocket | Self::Unnamed(_) => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::UnixSocket => f.write_str("a Unix socket"),
            Self::Unnamed(Some(proxy)) => write!(f, "a client of {proxy}"),
            Self::Unnamed(None) => f.write_str("a client of a Unix socket"),
        }
    }
}

/// Which peers are proxies. A proxy has many clients, so it has no share of the connections, and none of its
/// idle connections is closed to make room. Neither has the peer of a Unix socket. Clones share the function.
#[derive(Clone)]
pub struct Proxies {
    contains: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
    /// What an operator does to make a peer a proxy, for a warning.
    pub(super) advice: &'static str,
}

impl Proxies {
    /// The proxies at the addresses for which `contains` returns true. IPv4 addresses are passed as such,
    /// also when the socket has them mapped into IPv6. `advice` completes a warning about a peer with many
    /// connections: "if it is a proxy, …".
    pub fn new(contains: impl Fn(IpAddr) -> bool + Send + Sync + 'static, advice: &'static str) -> Self {
        Self { contains: Arc::new(contains), advice }
    }

    /// The address by which the connections of a peer are counted; none for a proxy or a Unix socket.
    pub(super) fn counted(&self, peer: Peer) -> Option<IpAddr> {
        peer.ip().filter(|address| !(self.contains)(*address))
    }
}

impl Default for Proxies {
    /// No proxies.
    fn default() -> Self {
        Self::new(|_| false, "name it as one")
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proxies")
    }
}
