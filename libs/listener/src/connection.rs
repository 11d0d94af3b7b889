//! Serves one connection, from its TLS handshake to its end.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::time::{Instant, Sleep};
use tower::ServiceExt as _;

use super::body::WatchedBody;
use super::io::Io;
use super::proxy_protocol;
use super::room::Place;
use super::watch::{Overdue, Watch};
use super::{HttpService, Limits, ListenerConfig, Peer, RequestBody, ResponseBody, Spawner, Stream};

/// How often the listener sends a PING to an HTTP/2 peer, and how long it waits for the reply.
const PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// Serves one accepted connection until it ends.
pub(super) async fn accepted<T, S, P, E, B>(
    mut io: T,
    mut peer: Peer,
    mut place: Place,
    config: Arc<ListenerConfig<S, P, E>>,
) where
    T: Stream,
    S: HttpService<B>,
    P: Fn(&mut Request<RequestBody>, Peer) + Send + Sync + 'static,
    E: Fn(StatusCode) -> Response<B> + Send + Sync + 'static,
    B: ResponseBody,
{
    if config.proxy_protocol && place.is_of_a_proxy() {
        let header = tokio::time::timeout(config.limits.header_timeout, proxy_protocol::read(&mut io));
        match header.await {
            Ok(Ok(source)) => peer = source.peer(peer),
            Ok(Err(why)) => return place.refuse(peer, &why),
            Err(_) => return tracing::debug!(%peer, "the header of the PROXY protocol took too long"),
        }
        if !place.name(peer) {
            return tracing::debug!(%peer, "connection closed: its peer has its share");
        }
    }

    let Some(tls) = &config.tls else { return plain(io, peer, &place, config).await };
    let handshake = tokio::time::timeout(config.limits.header_timeout, tls.acceptor().accept(io));
    let shaken = tokio::select! {
        biased;
        shaken = handshake => shaken,
        () = place.taken() => return tracing::debug!(%peer, "closed to make room during its TLS handshake"),
    };
    match shaken {
        Ok(Ok(io)) => plain(io, peer, &place, config).await,
        Ok(Err(why)) => tracing::debug!(%peer, error = %why, "TLS handshake failed"),
        Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
    }
}

/// Configures hyper with the limits of size and number.
fn builder(limits: &Limits, spawner: Spawner) -> auto::Builder<Spawner> {
    let mut builder = auto::Builder::new(spawner);
    // hyper answers what exceeds its limits without a body, so they are wider than those that are kept here.
    let wide = limits.header_bytes.max(8192).saturating_mul(4);
    let block = u32::try_from(wide).unwrap_or(u32::MAX);
    // The watch keeps the time limits: hyper's limit for headers would close idle connections as well.
    builder.http1().header_read_timeout(None).max_buf_size(wide);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(block)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(100)
        .max_send_buf_size(64 * 1024)
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1);
    builder
}

/// Serves a connection whose TLS handshake, if any, is over.
async fn plain<T, S, P, E, B>(io: T, peer: Peer, place: &Place, config: Arc<ListenerConfig<S, P, E>>)
where
    T: Stream,
    S: HttpService<B>,
    P: Fn(&mut Request<RequestBody>, Peer) + Send + Sync + 'static,
    E: Fn(StatusCode) -> Response<B> + Send + Sync + 'static,
    B: ResponseBody,
{
    let watch = place.watch().clone();
    watch.begin();
    let io = TokioIo::new(Io::new(io, watch.clone()));
    let builder = builder(&config.limits, config.spawner.clone());
    let stopping = config.stopping.clone();
    let requests = Requests { config, peer, watch: watch.clone() };
    let mut connection =
        pin!(builder.serve_connection(io, hyper::service::service_fn(move |request| requests.call(request))));
    let mut sleep = pin!(tokio::time::sleep(Duration::ZERO));
    let mut closing = false;

    loop {
        let end = tokio::select! {
            biased;
            // First: a request that has arrived since is not begun, so that the client can repeat it.
            () = place.taken() => End::Taken,
            ended = connection.as_mut() => {
                if let Err(why) = ended {
                    tracing::debug!(%peer, error = %why, "connection ended early");
                }
                return;
            }
            overdue = overdue(&watch, sleep.as_mut()) => End::Overdue(overdue),
            () = stopping.cancelled(), if !closing => End::Stopping,
        };

        match end {
            // No time for good order: another connection waits for the place. Bytes that have arrived since
            // do not keep it, or a client that sends parts of requests would hold places that count for none.
            End::Taken => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.as_mut().now_or_never();
                tracing::debug!(%peer, "idle connection closed to make room");
                return;
            }
            // The connection ends in good order: HTTP/2 sends GOAWAY.
            End::Stopping | End::Overdue(Overdue::Idle) if !closing => {
                closing = true;
                watch.close();
                connection.as_mut().graceful_shutdown();
            }
            End::Stopping => {}
            End::Overdue(overdue) => {
                tracing::debug!(%peer, limit = ?overdue, "connection cut off");
                return;
            }
        }
    }
}

/// Why a connection is to end.
enum End {
    /// It has exceeded a limit.
    Overdue(Overdue),
    /// Its place was given to another connection.
    Taken,
    /// The listener stops.
    Stopping,
}

/// Waits until the connection has exceeded a limit. The same task polls it after the connection itself, so
/// that the deadline accounts for what the connection has just done.
async fn overdue(watch: &Watch, mut sleep: Pin<&mut Sleep>) -> Overdue {
    poll_fn(move |cx| {
        loop {
            // Without a deadline it is computed again later: a request may end in another task.
            let deadline = watch.deadline();
            let at = deadline.map_or_else(|| Instant::now() + watch.limits().write_timeout, |(at, _)| at);
            if deadline.is_some() || sleep.is_elapsed() {
                sleep.as_mut().reset(at);
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if let Some((at, overdue)) = watch.deadline()
                && at <= Instant::now()
            {
                return Poll::Ready(overdue);
            }
        }
    })
    .await
}

/// Serves the requests of one connection.
struct Requests<S, P, E> {
    config: Arc<ListenerConfig<S, P, E>>,
    peer: Peer,
    watch: Watch,
}

impl<S, P, E> Requests<S, P, E> {
    fn call<B>(
        &self,
        request: Request<Incoming>,
    ) -> BoxFuture<'static, Result<Response<WatchedBody<B>>, Infallible>>
    where
        S: HttpService<B>,
        P: Fn(&mut Request<RequestBody>, Peer) + Send + Sync + 'static,
        E: Fn(StatusCode) -> Response<B> + Send + Sync + 'static,
        B: ResponseBody,
    {
        let config = Arc::clone(&self.config);
        let peer = self.peer;
        let watch = self.watch.clone();
        let served = watch.request();

        Box::pin(async move {
            let version = request.version();
            let deadline = Instant::now() + config.limits.body_timeout;
            let too_large = header_bytes(&request) > config.limits.header_bytes;
            let (parts, body) = request.into_parts();
            let (body, done) = RequestBody::new(body, deadline);
            let mut request = Request::from_parts(parts, body);

            let mut response = if too_large {
                drop(request);
                (config.error_response)(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
            } else {
                (config.prepare)(&mut request, peer);
                let slow = async {
                    if done.is_set() {
                        std::future::pending::<()>().await;
                    }
                    tokio::time::sleep_until(deadline).await;
                    if done.is_set() {
                        std::future::pending::<()>().await;
                    }
                };
                tokio::select! {
                    biased;
                    () = slow => {
                        let mut response = (config.error_response)(StatusCode::REQUEST_TIMEOUT);
                        close(&mut response, version);
                        response
                    }
                    Ok(response) = config.service.clone().oneshot(request) => response,
                }
            };

            if !done.is_whole() {
                watch.left_unread();
            }
            if too_large || config.draining.is_cancelled() {
                close(&mut response, version);
            }
            Ok(response.map(|body| WatchedBody::new(body, served)))
        })
    }
}

/// Marks the response as the last one of its connection. In HTTP/2, GOAWAY does this.
fn close<B>(response: &mut Response<B>, version: Version) {
    if version <= Version::HTTP_11 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Returns the approximate size of a request's line and header fields on the wire of HTTP/1.1, in bytes.
fn header_bytes<B>(request: &Request<B>) -> usize {
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    let target = request.uri().path_and_query().map_or(1, |target| target.as_str().len());
    fields.sum::<usize>() + request.method().as_str().len() + target
}
