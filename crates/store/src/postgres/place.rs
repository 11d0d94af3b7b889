//! The hosts of a PostgreSQL URL.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use super::address::refused;
use super::options::{Options, get};
use crate::Error;

/// The port where the URL gives none.
const PORT: u16 = 5432;
/// Where the sockets of a server on this machine are: on Debian and its kin, and elsewhere. The first folder
/// that is there counts where the URL has no host, as in libpq.
const SOCKETS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// One host of a URL.
pub(super) struct Place {
    host: Host,
    /// Where the host is; its name is what the certificate must have.
    address: Option<IpAddr>,
    pub(super) port: u16,
    /// Whether the URL has no host, so that the socket is where the system keeps it.
    is_default: bool,
}

impl Place {
    pub(super) fn is_socket(&self) -> bool {
        self.address.is_none() && matches!(self.host, Host::Unix(_))
    }

    /// Whether the way to it leaves this machine.
    pub(super) fn is_local(&self) -> bool {
        match (self.address, &self.host) {
            (Some(address), _) => is_loopback(address),
            (None, Host::Unix(_)) => true,
            (None, Host::Tcp(name)) => is_local(name),
        }
    }

    pub(super) fn name(&self) -> String {
        match &self.host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        }
    }

    /// Its name in a password file.
    pub(super) fn name_in_file(&self) -> String {
        if self.is_default { "localhost".to_owned() } else { self.name() }
    }

    /// Its name in messages.
    pub(super) fn shown(&self) -> String {
        let address = self.address.map(|address| address.to_string());
        match (&self.host, address) {
            (Host::Unix(path), _) => path.join(format!(".s.PGSQL.{}", self.port)).display().to_string(),
            (Host::Tcp(name), Some(address)) if *name != address => {
                format!("{name}:{} ({address})", self.port)
            }
            (Host::Tcp(name), _) if name.contains(':') => format!("[{name}]:{}", self.port),
            (Host::Tcp(name), _) => format!("{name}:{}", self.port),
        }
    }

    pub(super) fn write(&self, config: &mut Config) {
        match &self.host {
            Host::Tcp(name) => config.host(name),
            Host::Unix(path) => config.host_path(path),
        };
        if let Some(address) = self.address {
            config.hostaddr(address);
        }
        config.port(self.port);
    }
}

/// Whether a host name or address is this machine: a loopback address, `localhost` or a name below it
/// (RFC 6761 §6.3).
pub fn is_local(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    match name.parse::<IpAddr>() {
        Ok(address) => is_loopback(address),
        Err(_) => name == "localhost" || name.ends_with(".localhost"),
    }
}

fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => {
            address.is_loopback() || address.to_ipv4_mapped().is_some_and(|mapped| mapped.is_loopback())
        }
    }
}

/// The hosts of a URL with their addresses and ports, as libpq pairs them.
pub(super) fn places(options: &Options) -> Result<Vec<Place>, Error> {
    let list = |name: &str| -> Vec<&str> {
        get(options, name).map(|list| list.split(',').map(str::trim).collect()).unwrap_or_default()
    };
    let (hosts, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    let count = hosts.len().max(addresses.len()).max(1);
    if !hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len() {
        return Err(refused("host and hostaddr have different lengths"));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(refused("the number of ports is not that of hosts"));
    }

    let place = |at: usize| {
        let address = addresses.get(at).filter(|text| !text.is_empty()).map(|text| {
            let address = text.parse::<IpAddr>();
            address.map_err(|_| refused(&format!("hostaddr={}: it is not an address", text.escape_debug())))
        });
        let address = address.transpose()?;
        let port = match ports.get(at).or(ports.first()).filter(|text| !text.is_empty()) {
            None => PORT,
            Some(text) => text.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
                refused(&format!("the port `{}` is not from 1 to 65535", text.escape_debug()))
            })?,
        };
        let named = hosts.get(at).copied().filter(|host| !host.is_empty());
        let host = match (named, address) {
            (Some(path), _) if path.starts_with('/') => Host::Unix(PathBuf::from(path)),
            (Some(path), _) if path.starts_with('@') => {
                return Err(refused("sockets in the abstract namespace (host=@…) are not offered"));
            }
            (Some(name), _) => Host::Tcp(name.to_owned()),
            (None, Some(address)) => Host::Tcp(address.to_string()),
            (None, None) => Host::Unix(default_sockets()),
        };
        Ok(Place { host, address, port, is_default: named.is_none() && address.is_none() })
    };
    (0..count).map(place).collect()
}

/// The folder of the sockets of a server on this machine.
fn default_sockets() -> PathBuf {
    let [first, _] = SOCKETS;
    SOCKETS.into_iter().map(Path::new).find(|folder| folder.is_dir()).unwrap_or(Path::new(first)).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_addresses_and_localhost_are_local() {
        for host in
            ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "localhost", "LocalHost.", "a.localhost"]
        {
            assert!(is_local(host), "{host}");
        }
        for host in ["10.0.0.1", "db", "localhost.example.org", "::2", "0.0.0.0", "localhosts"] {
            assert!(!is_local(host), "{host}");
        }
    }
}
