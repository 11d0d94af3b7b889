//! A TCP proxy on loopback that breaks connections on demand.
//!
//! It runs on its own thread and runtime: it continues while a test blocks or has its time paused.

mod link;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The direction of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// A cut applies to bytes after its request; `number` distinguishes successive cuts.
#[derive(Clone, Copy, Debug)]
struct Cut {
    number: u64,
    direction: Direction,
    bytes: u64,
}

/// The rules for all connections at this moment.
#[derive(Clone, Debug, Default)]
struct Rules {
    latency_up: Duration,
    latency_down: Duration,
    bytes_per_second: Option<u64>,
    paused: bool,
    black_hole: bool,
    refuse: bool,
    cut: Option<Cut>,
    cuts: u64,
    closings: u64,
}

impl Rules {
    fn latency(&self, direction: Direction) -> Duration {
        match direction {
            Direction::Up => self.latency_up,
            Direction::Down => self.latency_down,
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    up: AtomicU64,
    down: AtomicU64,
    accepted: AtomicU64,
}

impl Counts {
    fn bytes(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }
}

/// A proxy between a client and `upstream`. By default it forwards as fast as it can.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    // The thread ends when this end is dropped.
    rules: Option<watch::Sender<Rules>>,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and forwards to `upstream` (`host:port`), which need not be up
    /// yet.
    pub fn start(upstream: impl Into<String>) -> Self {
        let upstream = upstream.into();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        listener.set_nonblocking(true).expect("the socket takes its options");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (rules, watched) = watch::channel(Rules::default());
        let counts = Arc::<Counts>::default();
        let shared = Arc::clone(&counts);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime starts").block_on(accept(listener, upstream, watched, shared));
        });
        Self { address, rules: Some(rules), counts, thread: Some(thread) }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// `url` with the proxy's address in place of its host and port.
    pub fn url_for(&self, url: &str) -> String {
        let (scheme, rest) = url.split_once("://").expect("a URL has a scheme");
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let user = authority.rsplit_once('@').map(|(user, _)| format!("{user}@")).unwrap_or_default();
        format!("{scheme}://{user}{}{tail}", self.address)
    }

    /// Delays every byte by `latency`, without limiting the bytes in flight.
    pub fn latency(&self, direction: Direction, latency: Duration) {
        self.change(|rules| match direction {
            Direction::Up => rules.latency_up = latency,
            Direction::Down => rules.latency_down = latency,
        });
    }

    /// Limits each connection, each way; `None` lifts the limit.
    pub fn bandwidth(&self, bytes_per_second: Option<u64>) {
        self.change(|rules| rules.bytes_per_second = bytes_per_second.map(|rate| rate.max(1)));
    }

    /// Holds bytes back until the pause ends.
    pub fn pause(&self, paused: bool) {
        self.change(|rules| rules.paused = paused);
    }

    /// Accepts everything and forwards nothing. A connection that lost bytes meanwhile never recovers.
    pub fn black_hole(&self, black_hole: bool) {
        self.change(|rules| rules.black_hole = black_hole);
    }

    /// Answers new connections with a RST.
    pub fn refuse(&self, refuse: bool) {
        self.change(|rules| rules.refuse = refuse);
    }

    /// Lets each connection, old or new, have `bytes` more in `direction`, and then ends both sides of it
    /// with a RST.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        self.change(|rules| {
            rules.cuts += 1;
            rules.cut = Some(Cut { number: rules.cuts, direction, bytes });
        });
    }

    /// Cancels `cut_after` for the remaining connections.
    pub fn no_cut(&self) {
        self.change(|rules| rules.cut = None);
    }

    /// Ends every connection with a RST. New ones are accepted.
    pub fn close_all(&self) {
        self.change(|rules| rules.closings += 1);
    }

    /// Bytes forwarded so far.
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.counts.bytes(direction).load(Ordering::SeqCst)
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.counts.accepted.load(Ordering::SeqCst)
    }

    fn change(&self, change: impl FnOnce(&mut Rules)) {
        self.rules.as_ref().expect("the proxy runs").send_modify(change);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.rules.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

async fn accept(
    listener: std::net::TcpListener,
    upstream: String,
    mut rules: watch::Receiver<Rules>,
    counts: Arc<Counts>,
) {
    let listener = TcpListener::from_std(listener).expect("the socket can be polled");
    let upstream: Arc<str> = upstream.into();
    // Dropped at the end, and every connection with it.
    let mut links = JoinSet::new();

    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                counts.accepted.fetch_add(1, Ordering::SeqCst);
                links.spawn(link::serve(client, Arc::clone(&upstream), rules.clone(), Arc::clone(&counts)));
            }
            changed = rules.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            Some(_) = links.join_next() => {}
        }
    }
}
