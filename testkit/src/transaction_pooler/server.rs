//! A connection to the server, and the statements that are prepared on it.

use std::io;
use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use super::message::{Peer, texts};
use super::{Key, Pool, lock};

const VERSION: u32 = 0x0003_0000;
const CANCEL: u32 = 80_877_102;

pub(super) struct Server {
    pub(super) peer: Peer,
    pub(super) key: Key,
    /// The names of its prepared statements, the one used longest ago first.
    pub(super) statements: Vec<Bytes>,
}

impl Server {
    /// Connects; also returns the parameters that the server reports.
    async fn connect(pool: &Pool) -> io::Result<(Self, Bytes)> {
        let mut peer = Peer::new(TcpStream::connect(pool.upstream).await?)?;
        let database = pool.database.as_bytes();
        let options = texts(&[b"user", b"postgres", b"database", database, b"client_encoding", b"UTF8", b""]);
        peer.stream.write_all(&untagged(VERSION, &options)).await?;

        let (mut parameters, mut key) = (BytesMut::new(), Key::new());
        loop {
            let message = peer.next().await?;
            match message.tag {
                b'Z' => return Ok((Self { peer, key, statements: Vec::new() }, parameters.freeze())),
                b'S' => parameters.extend_from_slice(&message.bytes()),
                b'K' => key = message.body,
                b'E' => return Err(io::Error::other("the server refuses the connection")),
                _ => {}
            }
        }
    }

    /// Whether the statement is prepared here. It is the one used last then.
    pub(super) fn uses(&mut self, name: &Bytes) -> bool {
        let known = self.forget(name);
        if known {
            self.statements.push(name.clone());
        }
        known
    }

    /// Removes a name; false if it was not there.
    pub(super) fn forget(&mut self, name: &Bytes) -> bool {
        let before = self.statements.len();
        self.statements.retain(|known| known != name);
        self.statements.len() < before
    }

    /// Whether the server has closed it, or sent what no client asked for.
    fn has_ended(&self) -> bool {
        let read = self.peer.stream.try_read(&mut [0]);
        !matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

fn untagged(code: u32, rest: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u32(u32::try_from(rest.len() + 8).expect("a message is short"));
    bytes.put_u32(code);
    bytes.extend_from_slice(rest);
    bytes.freeze()
}

/// What a client is told when it connects.
pub(super) async fn welcome(pool: &Pool) -> io::Result<Bytes> {
    let asked = pool.welcome.get_or_try_init(async || Ok(Server::connect(pool).await?.1));
    asked.await.cloned()
}

/// Passes a cancel request on to the server connection that the client has.
pub(super) async fn cancel(pool: &Pool, client: &Key) -> io::Result<()> {
    let key = lock(&pool.linked).get(client).cloned();
    let Some(key) = key else { return Ok(()) };
    TcpStream::connect(pool.upstream).await?.write_all(&untagged(CANCEL, &key)).await
}

/// A server connection that a client has. When dropped, it is closed, unless it was given back.
pub(super) struct Link {
    pub(super) server: Option<Server>,
    client: Key,
    pool: Arc<Pool>,
    is_kept: bool,
    _permit: OwnedSemaphorePermit,
}

impl Link {
    /// Waits for a server connection, and opens it where there is none.
    pub(super) async fn take(pool: &Arc<Pool>, client: &Key) -> io::Result<Self> {
        let permit = Arc::clone(&pool.permits).acquire_owned().await.map_err(io::Error::other)?;
        let idle = lock(&pool.idle).pop_front().flatten().filter(|server| !server.has_ended());
        let (client, pool) = (client.clone(), Arc::clone(pool));
        let mut link = Self { server: idle, client, pool, is_kept: false, _permit: permit };
        if link.server.is_none() {
            link.server = Some(Server::connect(&link.pool).await?.0);
        }
        let key = link.server.as_ref().map(|server| server.key.clone()).unwrap_or_default();
        lock(&link.pool.linked).insert(link.client.clone(), key);
        Ok(link)
    }

    /// Gives the connection back to the pool.
    pub(super) fn give_back(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        lock(&self.pool.linked).remove(&self.client);
        let server = self.server.take().filter(|_| self.is_kept);
        let mut idle = lock(&self.pool.idle);
        if self.pool.settings.round_robin { idle.push_back(server) } else { idle.push_front(server) }
    }
}
