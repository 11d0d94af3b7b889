#![doc = include_str!("../README.md")]

mod accept;
mod body;
mod connection;
mod flood;
mod io;
mod spawner;
#[cfg(test)]
mod tests;
mod tls;
mod watch;

use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::Service;

pub use accept::Accept;
pub use body::{BodyError, RequestBody};
pub use spawner::{Spawner, Task};
pub use tls::{ReadKey, Tls, TlsError};

/// The bounds of one listener and of each of its connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most connections that are open at once. While there are as many, none is accepted.
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
    /// Called with each request and the address of its peer before the service is called.
    pub prepare: P,
    /// Makes the response to a request that the listener refuses: 408 or 431.
    pub error_response: E,
    /// The bounds.
    pub limits: Limits,
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
    P: Fn(&mut Request<RequestBody>, SocketAddr) + Send + Sync + 'static,
    E: Fn(StatusCode) -> Response<B> + Send + Sync + 'static,
    B: ResponseBody,
{
    let config = Arc::new(config);
    let limits = config.limits;
    let permits = Arc::new(Semaphore::new(limits.connections as usize));
    let mut pause = accept::Pause::default();

    loop {
        let next = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, poll_fn(|cx| listener.poll_accept(cx)).await)
        };
        let Some((permit, accepted)) = config.stopping.run_until_cancelled(next).await else { break };

        match accepted {
            Ok((io, peer)) => {
                pause = accept::Pause::default();
                let shared = Arc::clone(&config);
                config.spawner.spawn("connection", async move {
                    connection::accepted(io, peer, shared).await;
                    drop(permit);
                });
            }
            Err(why) => {
                if let Some(wait) = pause.after(why)?
                    && config.stopping.run_until_cancelled(tokio::time::sleep(wait)).await.is_none()
                {
                    break;
                }
            }
        }
    }

    drop(listener);
    // All permits are free once every connection has ended. The semaphore is never closed.
    let _ = permits.acquire_many(limits.connections).await;
    Ok(())
}

/// A stream of bytes that carries a connection. Implemented for every type that fits.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}
