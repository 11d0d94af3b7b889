//! The listening sockets, bound before anything else is started.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use listener::{Socket, Sockets, Tls, UnixFile};
use rustix::net::sockopt::set_ipv6_v6only;
use tokio::net::{TcpListener, TcpSocket};

use crate::app::start_error::StartError;
use crate::config::{Config, ListenAddress, secret_file};

/// How many connections wait to be accepted, as far as the system allows (`net.core.somaxconn`). A burst
/// beyond it waits a second for the client's next SYN.
const BACKLOG: u32 = 4096;
/// Owner and group of a Unix socket may connect.
const UNIX_MODE: u32 = 0o660;

/// The bound listeners.
#[derive(Debug)]
pub struct BoundListeners {
    /// The public listener.
    pub public: Sockets,
    /// The operations listener.
    pub operations: Option<Sockets>,
    /// The certificate of the public listener.
    pub tls: Option<Tls>,
}

impl BoundListeners {
    /// Binds the addresses of the configuration and loads the certificate.
    ///
    /// # Errors
    /// [`StartError::Bind`], [`StartError::Tls`].
    pub fn bind(config: &Config) -> Result<Self, StartError> {
        let server = &config.server;
        let tls = match (&server.tls_cert_file, &server.tls_key_file) {
            (Some(cert), Some(key)) => {
                Some(Tls::load(cert, key, secret_file::read_key).map_err(StartError::Tls)?)
            }
            _ => None,
        };
        let public = bind("server.listen", &server.listen)?;
        let operations =
            server.ops_listen.as_ref().map(|at| bind("server.ops_listen", std::slice::from_ref(at)));
        Ok(Self { public, operations: operations.transpose()?, tls })
    }

    /// The address of the public listener: the first one that is no Unix socket. Where there are only these,
    /// it is the default address, and the public URL is configured.
    ///
    /// # Errors
    /// [`StartError::Bind`] when the system does not return it.
    pub fn address(&self) -> Result<SocketAddr, StartError> {
        let tcp = self.public.all().iter().find_map(|socket| match socket {
            Socket::Tcp(listener) => Some(listener.local_addr()),
            Socket::Unix(_) => None,
        });
        tcp.unwrap_or(Ok(SocketAddr::from(([127, 0, 0, 1], 8080)))).map_err(|why| StartError::Bind {
            key: "server.listen",
            address: ListenAddress::Tcp(SocketAddr::from(([0, 0, 0, 0], 0))),
            why,
        })
    }
}

/// Where the sockets of a listener listen, as they were bound.
pub fn bound(sockets: &Sockets) -> Vec<ListenAddress> {
    let bound = sockets.all().iter().filter_map(|socket| match socket {
        Socket::Tcp(listener) => listener.local_addr().ok().map(ListenAddress::Tcp),
        Socket::Unix(file) => Some(ListenAddress::Unix(file.path().to_owned())),
    });
    bound.collect()
}

/// The addresses of a listener for a log line.
pub(crate) struct Bound<'a>(pub(crate) &'a [ListenAddress]);

impl fmt::Display for Bound<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, address) in self.0.iter().enumerate() {
            write!(f, "{}{address}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

fn bind(key: &'static str, addresses: &[ListenAddress]) -> Result<Sockets, StartError> {
    let bound = addresses.iter().map(|address| {
        let socket = match address {
            ListenAddress::Tcp(tcp) => bind_tcp(*tcp, addresses).map(Socket::Tcp),
            ListenAddress::Unix(path) => UnixFile::bind(path, UNIX_MODE, BACKLOG).map(Socket::Unix),
        };
        socket.map_err(|why| StartError::Bind { key, address: address.clone(), why })
    });
    bound.collect::<Result<Vec<_>, _>>().map(Sockets::new)
}

fn bind_tcp(address: SocketAddr, beside: &[ListenAddress]) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A new process can listen while connections of the last one are being closed.
    socket.set_reuseaddr(true)?;
    // `[::]` accepts IPv4 too, unless an IPv4 address of the same port is listed beside it.
    let is_same_port = |other: SocketAddr| other.is_ipv4() && other.port() == address.port();
    if address.is_ipv6() && beside.iter().filter_map(ListenAddress::tcp).any(is_same_port) {
        set_ipv6_v6only(&socket, true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
