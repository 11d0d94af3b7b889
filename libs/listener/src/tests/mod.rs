mod h1;
mod h2;
mod proxies;
mod shares;
mod socket;
mod sockets;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::task::{Context, Poll, ready};

use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;

use super::*;

type Reply = Response<Full<Bytes>>;

fn reply(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

/// Responds to `/echo` with the request's body, to `/big` with 4 MiB, to `/hang` never, and to every other
/// path with the peer's address.
async fn app(request: Request<RequestBody>) -> Result<Reply, Infallible> {
    let peer = request.extensions().get::<Peer>().map(ToString::to_string).unwrap_or_default();
    Ok(match request.uri().path() {
        "/echo" => match request.into_body().collect().await {
            Ok(body) => reply(StatusCode::OK, body.to_bytes()),
            Err(why) => reply(StatusCode::BAD_REQUEST, why.to_string()),
        },
        "/big" => reply(StatusCode::OK, vec![b'x'; 4 << 20]),
        "/hang" => std::future::pending().await,
        _ => reply(StatusCode::OK, peer),
    })
}

fn prepare(request: &mut Request<RequestBody>, peer: Peer) {
    request.extensions_mut().insert(peer);
}

fn error_response(status: StatusCode) -> Reply {
    let mut response = reply(status, "refused");
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
    response
}

/// A source of connections that the test makes.
struct Feed(mpsc::Receiver<io::Result<(DuplexStream, Peer)>>);

impl Accept for Feed {
    type Io = DuplexStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(DuplexStream, Peer)>> {
        match ready!(self.0.poll_recv(cx)) {
            Some(next) => Poll::Ready(next),
            None => Poll::Pending,
        }
    }
}

fn peer(address: &str) -> Peer {
    Peer::Address(SocketAddr::new(address.parse().unwrap(), 4711))
}

/// A running listener, with what a test needs to connect to it and to stop it.
struct Running {
    tasks: Tasks,
    draining: CancellationToken,
    stopping: CancellationToken,
    feed: mpsc::Sender<io::Result<(DuplexStream, Peer)>>,
    closed: Closed,
    ended: tokio::sync::oneshot::Receiver<io::Result<()>>,
}

/// The names of the running tasks.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<Vec<&'static str>>>);

impl Tasks {
    #[expect(clippy::disallowed_methods, reason = "the tests own these tasks")]
    fn spawner(&self) -> Spawner {
        let running = Arc::clone(&self.0);
        Spawner::new(move |name, task| {
            running.lock().unwrap().push(name);
            let running = Arc::clone(&running);
            tokio::spawn(async move {
                task.await;
                let mut running = running.lock().unwrap();
                let at = running.iter().position(|task| *task == name).unwrap();
                running.swap_remove(at);
            });
        })
    }

    fn count(&self, name: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|task| **task == name).count()
    }
}

fn limits(connections: u32) -> Limits {
    Limits { connections, ..Limits::default() }
}

fn running(limits: Limits) -> Running {
    running_behind(Proxies::default(), false, limits)
}

fn running_behind(proxies: Proxies, proxy_protocol: bool, limits: Limits) -> Running {
    let closed = Closed::default();
    let tasks = Tasks::default();
    let (feed, fed) = mpsc::channel(8);
    let (end, ended) = tokio::sync::oneshot::channel();
    let (draining, stopping) = (CancellationToken::new(), CancellationToken::new());
    let config = ListenerConfig {
        service: tower::service_fn(app),
        prepare,
        error_response,
        limits,
        proxies,
        closed: closed.clone(),
        proxy_protocol,
        tls: None,
        spawner: tasks.spawner(),
        draining: draining.clone(),
        stopping: stopping.clone(),
    };
    tasks.spawner().spawn("listener", async move {
        let _ = end.send(serve(Feed(fed), config).await);
    });
    Running { tasks, draining, stopping, feed, closed, ended }
}

impl Running {
    async fn connect(&self) -> DuplexStream {
        self.connect_as(peer("192.0.2.7")).await
    }

    async fn connect_as(&self, peer: Peer) -> DuplexStream {
        let (client, server) = tokio::io::duplex(64 * 1024);
        self.feed.send(Ok((server, peer))).await.unwrap();
        client
    }

    /// Connects from each address; returns after the listener has seen all of them.
    async fn connect_from(&self, addresses: &[&str]) -> Vec<DuplexStream> {
        let mut all = Vec::new();
        for address in addresses {
            all.push(self.connect_as(peer(address)).await);
            turns().await;
        }
        all
    }

    fn count(&self, name: &str) -> usize {
        self.tasks.count(name)
    }
}

/// Sends `text` and returns all that comes back until the connection ends.
async fn exchange(mut client: DuplexStream, text: &str) -> String {
    client.write_all(text.as_bytes()).await.unwrap();
    rest(&mut client).await
}

/// Lets the tasks run.
async fn turns() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Whether the listener has closed the connection.
fn is_closed(client: &mut DuplexStream) -> bool {
    let mut space = [0; 1];
    let mut space = tokio::io::ReadBuf::new(&mut space);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(client).poll_read(&mut cx, &mut space) {
        Poll::Ready(read) => read.is_err() || space.filled().is_empty(),
        Poll::Pending => false,
    }
}

/// Advances the paused time second by second, and lets the tasks run after each.
async fn pass(seconds: u64) {
    for _ in 0..seconds {
        tokio::time::advance(Duration::from_secs(1)).await;
        turns().await;
    }
}

/// Reads until the connection ends.
async fn rest(client: &mut DuplexStream) -> String {
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.unwrap();
    String::from_utf8(all).unwrap()
}

/// Reads one response whose body has `length` bytes.
async fn answer(client: &mut DuplexStream, length: usize) -> String {
    let mut all = Vec::new();
    while !all.windows(4).any(|end| end == b"\r\n\r\n") {
        all.push(client.read_u8().await.unwrap());
    }
    let begin = all.len();
    all.resize(begin + length, 0);
    client.read_exact(&mut all[begin..]).await.unwrap();
    String::from_utf8(all).unwrap()
}
