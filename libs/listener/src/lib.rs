#![doc = include_str!("../README.md")]

mod accept;
mod body;
mod connection;
mod flood;
mod io;
mod peer;
mod proxy_protocol;
mod room;
mod sockets;
mod spawner;
#[cfg(test)]
mod tests;
mod tls;
mod watch;

use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tower::Service;

use self::room::Room;
use self::watch::Watch;

pub use accept::Accept;
pub use body::RequestBody;
pub use peer::{Peer, Proxies};
pub use room::Closed;
pub use sockets::{Socket, Sockets, UnixFile};
pub use spawner::{Spawner, Task};
pub use tls::{ReadKey, Tls, TlsError};

/// The bounds of one listener and of each of its connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most connections that are open at once. While there are as many, an idle one is closed for each
    /// new one. A client (an IPv4 address, or an IPv6 network of 64 bits) may have an eighth of them, an IPv6
    /// network of 48 bits a quarter.
    pub connections: u32,
    /// The longest time from the first byte of a request to the end of its headers. For the first request of
    /// a connection it starts with the connection. A TLS handshake may take as long.
    pub header_timeout: Duration,
    /// The largest size of a request line and its header fields, in bytes.
    pub header_bytes: usize,
    /// The longest time from the end of a request's headers to the end of its body.
    pub body_timeout: Duration,
    /// The longest time that a write, or a response, may make no progress.
    pub write_timeout: Duration,
    /// The longest time that a connection may have no request.
    pub idle_timeout: Duration,
    /// The most HTTP/2 streams that are open at once on one connection.
    pub streams: u32,
}

impl Default for Limits {
    /// 10,000 connections; 10 s and 16 KiB for headers, 15 s for a body, 15 s for a write, 75 s without a
    /// request, 100 streams.
    fn default() -> Self {
        Self {
            connections: 10_000,
            header_timeout: Duration::from_secs(10),
            header_bytes: 16 * 1024,
            body_timeout: Duration::from_secs(15),
            write_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(75),
            streams: 100,
        }
    }
}

/// What [`serve`] serves, and how.
#[derive(Clone, Debug)]
pub struct ListenerConfig<S, P, E> {
    /// The service that answers requests.
    pub service: S,
    /// Called with each request and its peer before the service is called.
    pub prepare: P,
    /// Makes the response to a request that the listener refuses: 408 or 431.
    pub error_response: E,
    /// The bounds.
    pub limits: Limits,
    /// The peers that are proxies, and so have no share of the connections.
    pub proxies: Proxies,
    /// Whether each connection of a proxy, or of a Unix socket, begins with a header of the PROXY protocol,
    /// version 2, which names the client. A connection of a proxy without a valid one is closed. Other peers
    /// cannot name an address.
    pub proxy_protocol: bool,
    /// Counts the connections that are closed so that others find room.
    pub closed: Closed,
    /// The certificate, when the listener speaks TLS.
    pub tls: Option<Tls>,
    /// Starts the tasks of connections and HTTP/2 streams.
    pub spawner: Spawner,
    /// Once cancelled, every HTTP/1.1 response closes its connection. New connections are still accepted.
    pub draining: CancellationToken,
    /// Once cancelled, no connection is accepted, idle ones are closed, and the others end after their
    /// requests.
    pub stopping: CancellationToken,
}

/// A service that answers HTTP requests, such as `axum::Router`. Implemented for every type that fits.
pub trait HttpService<B>:
    Service<Request<RequestBody>, Response = Response<B>, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<B, S> HttpService<B> for S where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// The body of a service's response. Implemented for every type that fits.
pub trait ResponseBody:
    http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static
{
}

impl<B> ResponseBody for B where
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static
{
}

/// Serves connections of `listener` until `config.stopping` is cancelled and every connection has ended.
///
/// # Errors
/// The error of `listener` when it cannot accept again ([`std::io::ErrorKind::InvalidInput`]). After other
/// errors, such as a lack of file descriptors, accepting is tried again after 10 ms to 1 s.
pub async fn serve<L, S, P, E, B>(mut listener: L, config: ListenerConfig<S, P, E>) -> std::io::Result<()>
where
    L: Accept,
    S: HttpService<B>,
    P: Fn(&mut Request<RequestBody>, Peer) + Send + Sync + 'static,
    E: Fn(StatusCode) -> Response<B> + Send + Sync + 'static,
    B: ResponseBody,
{
    let config = Arc::new(config);
    let room = Room::new(&config.limits, config.proxies.clone(), config.closed.clone());
    tokio::select! {
        ended = accept_all(&mut listener, &room, &config) => ended?,
        () = room.watch() => {}
    }
    drop(listener);
    room.empty().await;
    Ok(())
}

/// Accepts connections, and starts a task for each, until `config.stopping` is cancelled.
async fn accept_all<L, S, P, E, B>(
    listener: &mut L,
    room: &Arc<Room>,
    config: &Arc<ListenerConfig<S, P, E>>,
) -> std::io::Result<()>
where
    L: Accept,
    S: HttpService<B>,
    P: Fn(&mut Request<RequestBody>, Peer) + Send + Sync + 'static,
    E: Fn(StatusCode) -> Response<B> + Send + Sync + 'static,
    B: ResponseBody,
{
    let mut pause = accept::Pause::default();
    loop {
        let next = poll_fn(|cx| listener.poll_accept(cx));
        let Some(accepted) = config.stopping.run_until_cancelled(next).await else { return Ok(()) };

        match accepted {
            Ok((io, peer)) => {
                pause = accept::Pause::default();
                let place = room.enter(peer, Watch::new(config.limits));
                let Some(place) = config.stopping.run_until_cancelled(place).await else { return Ok(()) };
                let Some(place) = place else {
                    tracing::debug!(%peer, "connection closed: its peer has its share");
                    continue;
                };
                let shared = Arc::clone(config);
                config.spawner.spawn("connection", connection::accepted(io, peer, place, shared));
            }
            Err(why) => {
                if let Some(wait) = pause.after(why)?
                    && config.stopping.run_until_cancelled(tokio::time::sleep(wait)).await.is_none()
                {
                    return Ok(());
                }
            }
        }
    }
}

/// A stream of bytes that carries a connection. Implemented for every type that fits.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}
