//! HTTP receivers that live for one test.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use fixtures::spawner;

/// A request with its body.
#[derive(Clone, Debug)]
pub(super) struct ReceivedRequest {
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl ReceivedRequest {
    pub(super) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or_else(|| panic!("no {name} in {:?}", self.headers), |(_, value)| value)
    }

    /// The sequences of the lines in the body.
    pub(super) fn sequences(&self) -> Vec<i64> {
        let line = |line: &str| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["sequence"].as_i64().unwrap()
        };
        self.body.lines().map(line).collect()
    }
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// A status, more headers, and a body.
    Status(u16, &'static str, &'static str),
    /// Refuses a body that contains this text with this status, and accepts any other.
    Unless(&'static str, u16),
    /// No answer at all.
    Hang,
    /// The connection is closed without an answer.
    HangUp,
}

/// An HTTP server.
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    asked: Arc<Mutex<Vec<ReceivedRequest>>>,
    replies: Arc<Mutex<(VecDeque<Reply>, Reply)>>,
}

impl Receiver {
    pub(super) async fn start(tls: Option<TlsAcceptor>) -> Self {
        Self::start_at(TcpListener::bind("127.0.0.1:0").await.unwrap(), tls)
    }

    fn start_at(listener: TcpListener, tls: Option<TlsAcceptor>) -> Self {
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<_>>>::default();
        let replies = Arc::new(Mutex::new((VecDeque::new(), Reply::Status(204, "", ""))));
        let receiver = Self { address, asked: Arc::clone(&asked), replies: Arc::clone(&replies) };
        spawner().spawn("receiver", async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (asked, replies, tls) = (Arc::clone(&asked), Arc::clone(&replies), tls.clone());
                spawner().spawn("connection", async move {
                    match tls {
                        None => serve(socket, &asked, &replies).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(socket).await {
                                serve(stream, &asked, &replies).await;
                            }
                        }
                    }
                });
            }
        });
        receiver
    }

    /// Queues replies, which precede the permanent one.
    pub(super) fn next(&self, replies: impl IntoIterator<Item = Reply>) {
        self.replies.lock().unwrap().0.extend(replies);
    }

    /// Sets the permanent reply.
    pub(super) fn always(&self, reply: Reply) {
        self.replies.lock().unwrap().1 = reply;
    }

    /// Takes the requests since the last call.
    pub(super) fn asked(&self) -> Vec<ReceivedRequest> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    asked: &Mutex<Vec<ReceivedRequest>>,
    replies: &Mutex<(VecDeque<Reply>, Reply)>,
) {
    let mut stream = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        if line.trim_end().is_empty() {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }

    let header = |line: &String| {
        line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
    };
    let headers: Vec<_> = lines.iter().skip(1).filter_map(header).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").unwrap().1.parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    let path = lines[0].split(' ').nth(1).unwrap().to_owned();
    let request = ReceivedRequest { path, headers, body: String::from_utf8(body).unwrap() };

    let reply = {
        let mut replies = replies.lock().unwrap();
        let always = replies.1.clone();
        replies.0.pop_front().unwrap_or(always)
    };
    let (status, more, body) = match reply {
        Reply::Status(status, more, body) => (status, more, body),
        Reply::Unless(text, status) if request.body.contains(text) => (status, "", ""),
        Reply::Unless(..) => (200, "", ""),
        Reply::Hang => std::future::pending().await,
        Reply::HangUp => return,
    };

    asked.lock().unwrap().push(request);
    let length = body.len();
    let answer =
        format!("HTTP/1.1 {status} X\r\n{more}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}
