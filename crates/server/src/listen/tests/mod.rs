mod h1;
mod h2;
mod socket;
mod tls;

use std::io;
use std::task::{Context, Poll, ready};

use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;

use super::*;
use crate::app::lifecycle::{Deadlines, Lifecycle, Stage, Tasks};

type Reply = Response<Full<Bytes>>;

fn reply(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

/// `/echo` answers with the body, `/big` with 4 MiB, `/hang` never, everything else with the peer's address.
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

fn admit(request: &mut Request<RequestBody>, peer: SocketAddr) {
    request.extensions_mut().insert(peer);
}

fn refuse(status: StatusCode) -> Reply {
    let mut response = reply(status, "refused");
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
    response
}

/// A listener that is fed by the test.
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

/// A listener that runs, and the way to connect to it.
struct Running {
    lifecycle: Lifecycle,
    tasks: Tasks,
    feed: mpsc::Sender<io::Result<DuplexStream>>,
    ended: tokio::sync::oneshot::Receiver<io::Result<()>>,
}

fn limits(connections: u32) -> Limits {
    Limits::for_connections(connections)
}

fn running(limits: Limits) -> Running {
    let lifecycle = Lifecycle::new(Deadlines::after(Duration::ZERO));
    let tasks = lifecycle.tasks();
    let (feed, fed) = mpsc::channel(8);
    let (end, ended) = tokio::sync::oneshot::channel();
    let spawner = tasks.spawner(Stage::Serving);
    let stop = tasks.stop().clone();
    let service = tower::service_fn(app);
    let door = ListenerConfig { service, admit, refuse, limits, tls: None, spawner: spawner.clone(), stop };
    spawner.spawn("listener", async move {
        let _ = end.send(serve(Feed(fed), door).await);
    });
    Running { lifecycle, tasks, feed, ended }
}

impl Running {
    async fn connect(&self) -> DuplexStream {
        let (client, server) = tokio::io::duplex(64 * 1024);
        self.feed.send(Ok(server)).await.unwrap();
        client
    }

    fn count(&self, name: &str) -> usize {
        self.tasks.running().iter().filter(|(task, _)| *task == name).map(|(_, count)| count).sum()
    }
}

/// Sends `text`, then everything that comes back until the connection ends.
async fn exchange(mut client: DuplexStream, text: &str) -> String {
    client.write_all(text.as_bytes()).await.unwrap();
    rest(&mut client).await
}

/// Lets time pass, second by second, and everybody do what the time is for.
async fn pass(seconds: u64) {
    for _ in 0..seconds {
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

async fn rest(client: &mut DuplexStream) -> String {
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.unwrap();
    String::from_utf8(all).unwrap()
}

/// Reads one answer whose body is `length` bytes.
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
