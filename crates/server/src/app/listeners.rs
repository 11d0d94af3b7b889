//! The listening sockets, bound before anything else is started.

use std::net::SocketAddr;

use listener::Tls;
use tokio::net::{TcpListener, TcpSocket};

use crate::app::start_error::StartError;
use crate::config::{Config, secret_file};

/// How many connections wait to be accepted, as far as the system allows (`net.core.somaxconn`). A burst
/// beyond it waits a second for the client's next SYN.
const BACKLOG: u32 = 4096;

/// The bound listeners.
#[derive(Debug)]
pub struct BoundListeners {
    /// The public listener.
    pub public: TcpListener,
    /// The operations listener.
    pub operations: Option<TcpListener>,
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
        let public = bind("server.listen", server.listen)?;
        let operations = match server.ops_listen {
            Some(address) => Some(bind("server.ops_listen", address)?),
            None => None,
        };
        Ok(Self { public, operations, tls })
    }

    /// The address of the public listener.
    ///
    /// # Errors
    /// [`StartError::Bind`] when the system does not return it.
    pub fn address(&self) -> Result<SocketAddr, StartError> {
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        self.public.local_addr().map_err(|why| StartError::Bind {
            key: "server.listen",
            address: unknown,
            why,
        })
    }
}

fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A new process can listen while connections of the last one are being closed.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|why| StartError::Bind { key, address, why })
}
