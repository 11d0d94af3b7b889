//! Listeners: sockets in, requests out, and nobody holds a connection for nothing.
//!
//! HTTP/1.1 and HTTP/2 (by ALPN, or by prior knowledge) on one socket, with or without TLS. Limits of
//! [`Limits`] are kept here, below the application: slow headers, bodies and readers, idle connections,
//! floods of frames, too many connections.

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
pub use spawner::Spawner;
pub use tls::{Tls, TlsError};

/// Bounds of one listener and of each of its connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections; when there are as many, no more are accepted.
    pub connections: u32,
    /// From the first byte of a request (from the connection's begin for the first) to the end of its
    /// headers; also what a TLS handshake may take.
    pub header_timeout: Duration,
    /// Size of a request line and its header fields.
    pub header_bytes: usize,
    /// From the end of a request's headers to the end of its body.
    pub body_timeout: Duration,
    /// How long a write, or a response, may be without progress.
    pub write_timeout: Duration,
    /// How long a connection may be without a request.
    pub idle_timeout: Duration,
    /// HTTP/2 streams open at once on one connection.
    pub streams: u32,
}

impl Limits {
    /// The limits that are promised to clients and operators, for so many connections.
    pub fn for_connections(connections: u32) -> Self {
        Self {
            connections,
            header_timeout: Duration::from_secs(10),
            header_bytes: 16 * 1024,
            body_timeout: Duration::from_secs(15),
            write_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(75),
            streams: 100,
        }
    }
}

/// What a listener serves, and how.
#[derive(Clone, Debug)]
pub struct ListenerConfig<S, A, R> {
    /// The application.
    pub service: S,
    /// Told the peer's address of every request before the application sees the request.
    pub prepare: A,
    /// Makes the answer to what is refused here: 408 and 431.
    pub error_response: R,
    /// The bounds.
    pub limits: Limits,
    /// The certificate, when the listener speaks TLS.
    pub tls: Option<Tls>,
    /// Starts connections and HTTP/2 streams.
    pub spawner: Spawner,
    /// From now on every answer asks the client to close its connection.
    pub draining: CancellationToken,
    /// Accept no more, finish what has begun.
    pub stopping: CancellationToken,
}

/// An application: what `axum::Router` is.
pub trait App<B>:
    Service<Request<RequestBody>, Response = Response<B>, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<B, S> App<B> for S where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// The body of an application's answer.
pub trait Answer:
    http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static
{
}

impl<B> Answer for B where
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static
{
}

/// Serves `listener` until it is told to stop and every connection has ended. Fails only when the listener
/// itself is beyond use; running out of file descriptors is waited out.
pub async fn serve<L, S, A, R, B>(mut listener: L, door: ListenerConfig<S, A, R>) -> std::io::Result<()>
where
    L: Accept,
    S: App<B>,
    A: Fn(&mut Request<RequestBody>, SocketAddr) + Send + Sync + 'static,
    R: Fn(StatusCode) -> Response<B> + Send + Sync + 'static,
    B: Answer,
{
    let stopping = door.stopping.clone();
    let spawner = door.spawner.clone();
    let limits = door.limits;
    let places = Arc::new(Semaphore::new(limits.connections as usize));
    let door = Arc::new(door);
    let mut pause = accept::Pause::default();
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, poll_fn(|cx| listener.poll_accept(cx)).await)
        };
        let Some((place, accepted)) = stopping.run_until_cancelled(next).await else { break };
        match accepted {
            Ok((io, peer)) => {
                pause = accept::Pause::default();
                let door = Arc::clone(&door);
                spawner.spawn("connection", async move {
                    connection::accepted(io, peer, door).await;
                    drop(place);
                });
            }
            Err(why) => {
                if let Some(wait) = pause.after(why)?
                    && stopping.run_until_cancelled(tokio::time::sleep(wait)).await.is_none()
                {
                    break;
                }
            }
        }
    }
    drop(listener);
    // all places free: every connection has ended; the semaphore is never closed
    let _ = places.acquire_many(limits.connections).await;
    Ok(())
}

/// A stream of bytes that a connection runs over.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}
