mod h1;
mod h2;
mod socket;
mod tls;

use std::io;
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
    let peer = request.extensions().get::<SocketAddr>().map(ToString::to_string).unwrap_or_default();
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

fn prepare(request: &mut Request<RequestBody>, peer: SocketAddr) {
    request.extensions_mut().insert(peer);
}

fn error_response(status: StatusCode) -> Reply {
    let mut response = reply(status, "refused");
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
    response
}

/// A source of connections that the test makes.
struct Feed(mpsc::Receiver<io::Result<DuplexStream>>);

impl Accept for Feed {
    type Io = DuplexStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(DuplexStream, SocketAddr)>> {
        match ready!(self.0.poll_recv(cx)) {
            Some(next) => Poll::Ready(next.map(|io| (io, peer()))),
            None => Poll::Pending,
        }
    }
}

fn peer() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 7], 4711))
}

/// A running listener, with what a test needs to connect to it and to stop it.
struct Running {
    tasks: Tasks,
    draining: CancellationToken,
    stopping: CancellationToken,
    feed: mpsc::Sender<io::Result<DuplexStream>>,
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
    let tasks = Tasks::default();
    let (feed, fed) = mpsc::channel(8);
    let (end, ended) = tokio::sync::oneshot::channel();
    let (draining, stopping) = (CancellationToken::new(), CancellationToken::new());
    let config = ListenerConfig {
        service: tower::service_fn(app),
        prepare,
        error_response,
        limits,
        tls: None,
        spawner: tasks.spawner(),
        draining: draining.clone(),
        stopping: stopping.clone(),
    };
    tasks.spawner().spawn("listener", async move {
        let _ = end.send(serve(Feed(fed), config).await);
    });
    Running { tasks, draining, stopping, feed, ended }
}

impl Running {
    async fn connect(&self) -> DuplexStream {
        let (client, server) = tokio::io::duplex(64 * 1024);
        self.feed.send(Ok(server)).await.unwrap();
        client
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

/// Advances the paused time second by second, and lets the tasks run after each.
async fn pass(seconds: u64) {
    for _ in 0..seconds {
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
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
