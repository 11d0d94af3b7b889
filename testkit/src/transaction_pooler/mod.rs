//! A pooler of transactions in front of PostgreSQL that keeps prepared statements, as PgBouncer does since
//! 1.21 with `max_prepared_statements`; the PgBouncer of Debian is older.
//!
//! A client gets a server connection for a transaction. Its statements are known by their text: each has one
//! name of the pooler on every server connection, and is prepared where it is not known yet.

mod message;
mod server;
mod session;

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::{OnceCell, Semaphore, oneshot};
use tokio::task::JoinSet;

use self::server::Server;
use crate::Postgres;

/// What may differ between poolers.
#[derive(Clone, Copy, Debug)]
pub struct PoolerSettings {
    /// Connections to the server.
    pub connections: usize,
    /// Prepared statements on each of them (`max_prepared_statements`); the one used longest ago is closed.
    pub statements: usize,
    /// Whether a transaction gets the connection used longest ago (`server_round_robin`), not the last one.
    pub round_robin: bool,
}

impl Default for PoolerSettings {
    fn default() -> Self {
        Self { connections: 2, statements: 200, round_robin: true }
    }
}

/// A pooler of one database, as PostgreSQL's superuser without a password. Ended when dropped.
#[derive(Debug)]
pub struct TransactionPooler {
    url: String,
    // The thread ends when this end is dropped.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TransactionPooler {
    /// Listens on a free port of 127.0.0.1, in front of a database of the server.
    pub fn start(server: &Postgres, database: &str, settings: PoolerSettings) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        listener.set_nonblocking(true).expect("the socket takes its options");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let pool = Pool::new(settings, SocketAddr::from((Ipv4Addr::LOCALHOST, server.port())), database);
        let (stop, stopped) = oneshot::channel();

        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime starts").block_on(async {
                tokio::select! {
                    () = accept(listener, Arc::new(pool)) => {}
                    _ = stopped => {}
                }
            });
        });
        let url = format!("postgres://postgres@127.0.0.1:{port}/{database}");
        Self { url, stop: Some(stop), thread: Some(thread) }
    }

    /// The URL of the database behind it.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for TransactionPooler {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

async fn accept(listener: std::net::TcpListener, pool: Arc<Pool>) {
    let listener = TcpListener::from_std(listener).expect("the socket can be polled");
    // Dropped at the end, and every connection with it.
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                sessions.spawn(session::serve(client, Arc::clone(&pool)));
            }
            Some(_) = sessions.join_next() => {}
        }
    }
}

/// A process id and a secret, by which a cancel request names a connection.
type Key = Bytes;

/// What all clients share.
struct Pool {
    settings: PoolerSettings,
    upstream: SocketAddr,
    database: String,
    permits: Arc<Semaphore>,
    /// The server connections that no client has, the next one first; None where one has to be opened.
    idle: Mutex<VecDeque<Option<Server>>>,
    /// What a client is told when it connects: the parameters of the server.
    welcome: OnceCell<Bytes>,
    /// The name of each statement on the server connections, by its text and the types of its parameters.
    names: Mutex<HashMap<Bytes, Bytes>>,
    /// The key of the server connection that a client has, by the client's own key.
    linked: Mutex<HashMap<Key, Key>>,
    clients: AtomicU32,
}

impl Pool {
    fn new(settings: PoolerSettings, upstream: SocketAddr, database: &str) -> Self {
        Self {
            settings,
            upstream,
            database: database.to_owned(),
            permits: Arc::new(Semaphore::new(settings.connections)),
            idle: Mutex::new((0..settings.connections).map(|_| None).collect()),
            welcome: OnceCell::new(),
            names: Mutex::default(),
            linked: Mutex::default(),
            clients: AtomicU32::new(1),
        }
    }

    /// The name of a statement on every server connection.
    fn name(&self, text: &Bytes) -> Bytes {
        let mut names = lock(&self.names);
        let next = names.len();
        names.entry(text.clone()).or_insert_with(|| format!("POOLER_{next}").into()).clone()
    }

    /// A key for a client.
    fn new_key(&self) -> Key {
        let number = self.clients.fetch_add(1, Ordering::Relaxed);
        [number.to_be_bytes(), number.wrapping_mul(0x9E37_79B9).to_be_bytes()].concat().into()
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
