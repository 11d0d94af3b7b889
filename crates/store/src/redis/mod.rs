//! Appends entries to a stream of Redis or Valkey.
//!
//! The connection opens at its first use and stays open until something fails. It speaks RESP 2 and uses
//! three commands: AUTH, SELECT and XADD.

mod address;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use self::address::Address;
use self::wire::{Wire, command};
use crate::Error;

/// A stream on a Redis server.
pub struct RedisStream {
    address: Address,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    key: String,
    keep: Option<u64>,
    limit: Duration,
    idle: Mutex<Option<Wire>>,
}

/// One entry: pairs of field name and value.
pub type Entry<'a> = Vec<(&'a str, &'a [u8])>;

impl RedisStream {
    /// Describes the stream `key` on the server of a `redis://` or `rediss://` URL. The stream keeps about
    /// `keep` entries; each use may take as long as `limit`.
    ///
    /// # Errors
    /// [`Error::Refused`] where the URL is invalid, or is `rediss` and `tls` is `None`.
    pub fn new(
        url: &str,
        tls: Option<Arc<ClientConfig>>,
        key: &str,
        keep: Option<u64>,
        limit: Duration,
    ) -> Result<Self, Error> {
        let address = Address::parse(url).map_err(Error::Refused)?;
        let tls = match (address.is_secret, tls) {
            (false, _) => None,
            (true, None) => return Err(Error::Refused("a rediss:// URL needs TLS".to_owned())),
            (true, Some(config)) => {
                let name = ServerName::try_from(address.host.clone());
                let name =
                    name.map_err(|_| Error::Refused("the host is no name for a certificate".to_owned()))?;
                Some((TlsConnector::from(config), name))
            }
        };
        Ok(Self { address, tls, key: key.to_owned(), keep, limit, idle: Mutex::default() })
    }

    /// Appends entries in order. After an error some of them may be stored.
    ///
    /// # Errors
    /// [`Error::Unavailable`], also when the server refuses a command.
    pub async fn add(&self, entries: &[Entry<'_>]) -> Result<(), Error> {
        let mut idle = self.idle.lock().await;
        // A connection is reused only after success.
        let kept = idle.take();
        let added = timeout(self.limit, async {
            let mut wire = match kept {
                Some(wire) => wire,
                None => self.connect().await?,
            };
            let commands: Vec<u8> = entries.iter().flat_map(|entry| self.command(entry)).collect();
            wire.ask(&commands, entries.len()).await?;
            Ok(wire)
        });
        let wire = added.await.unwrap_or_else(|_| Err(format!("no answer within {:?}", self.limit)));
        *idle = Some(wire.map_err(|why| Error::Unavailable(format!("Redis: {why}")))?);
        Ok(())
    }

    fn command(&self, entry: &Entry<'_>) -> Vec<u8> {
        let keep = self.keep.map(|keep| keep.to_string());
        let mut words: Vec<&[u8]> = vec![b"XADD", self.key.as_bytes()];
        if let Some(keep) = &keep {
            words.extend([b"MAXLEN".as_slice(), b"~", keep.as_bytes()]);
        }
        words.push(b"*");
        words.extend(entry.iter().flat_map(|(name, value)| [name.as_bytes(), value]));
        command(&words)
    }

    async fn connect(&self) -> Result<Wire, String> {
        let Address { host, port, user, password, database, .. } = &self.address;
        let socket = TcpStream::connect((host.as_str(), *port)).await.map_err(|why| why.to_string())?;
        // Batches are small, and the caller waits for the answer.
        let _ = socket.set_nodelay(true);
        let mut wire = match &self.tls {
            None => Wire::new(socket),
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), socket).await.map_err(|why| why.to_string())?;
                Wire::new(stream)
            }
        };
        if let Some(password) = password {
            let user = user.as_ref().map(String::as_bytes);
            let words: Vec<&[u8]> =
                [b"AUTH".as_slice()].into_iter().chain(user).chain([password.expose().as_bytes()]).collect();
            wire.ask(&command(&words), 1).await?;
        }
        if let Some(database) = database {
            wire.ask(&command(&[b"SELECT", database.to_string().as_bytes()]), 1).await?;
        }
        Ok(wire)
    }
}

impl fmt::Debug for RedisStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStream")
            .field("host", &self.address.host)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
