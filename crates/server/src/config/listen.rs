//! Where a listener listens.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::value::Value;

/// An address of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// The IP address and the port; none of a Unix socket.
    pub const fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// The path of a Unix socket.
    pub fn unix(&self) -> Option<&Path> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(path) => Some(path),
        }
    }

    /// Whether two listeners cannot both have it: port 0 is a new port each time.
    pub(crate) fn is_taken_by(&self, other: &Self) -> bool {
        self == other && self.tcp().is_none_or(|address| address.port() != 0)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The longest path of a Unix socket, in bytes: `sun_path` of unix(7), without the byte at its end.
const LONGEST_PATH: usize = 107;

impl Value for ListenAddress {
    const EXPECTED: &'static str =
        "an IP address and a port, such as `0.0.0.0:8080` or `[::]:8080`, or a Unix socket: `unix:/path`";

    fn parse(text: &str) -> Result<Self, String> {
        let Some(path) = text.trim().strip_prefix("unix:") else {
            return SocketAddr::parse(text).map(Self::Tcp);
        };
        if !path.starts_with('/') {
            return Err("the path of a Unix socket begins with `/`".to_owned());
        }
        if path.len() > LONGEST_PATH || path.contains('\0') {
            return Err(format!("the path of a Unix socket has at most {LONGEST_PATH} bytes"));
        }
        Ok(Self::Unix(path.into()))
    }

    fn text(&self) -> String {
        self.to_string()
    }
}
