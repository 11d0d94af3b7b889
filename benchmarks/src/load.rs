//! HTTP/1.1 load over keep-alive connections, cheap enough to measure a fast server from the same machine.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tokio::time::Instant;

use crate::Outcome;

/// One keep-alive connection.
pub(super) struct Connection(BufReader<TcpStream>);

/// The answer to a request.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
    /// `Retry-After` in seconds.
    pub(super) retry_after: Option<u64>,
}

impl Connection {
    pub(super) fn open(address: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a whole request and reads the whole answer.
    pub(super) fn send(&mut self, request: &str) -> Outcome<Answer> {
        self.0.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or("no status line")?;
        let mut length = 0;
        let mut retry_after = None;
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            if line.trim_end().is_empty() {
                break;
            }
            let lower = line.to_ascii_lowercase();
            match lower.split_once(':') {
                Some(("content-length", value)) => length = value.trim().parse()?,
                Some(("retry-after", value)) => retry_after = Some(value.trim().parse()?),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok(Answer { status, body: String::from_utf8(body)?, retry_after })
    }
}

/// A `GET` with a bearer token.
pub(super) fn get(path: &str, token: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n")
}

/// A `POST` of a body.
pub(super) fn post(path: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// The result of a load.
pub(super) struct Load {
    /// Requests per second.
    pub(super) rate: f64,
    /// The duration of each request.
    pub(super) took: Vec<Duration>,
}

/// Sends requests for `span` over one connection for each of `states`, concurrently; `step` sends a
/// connection's next request and checks its answer.
pub(super) fn load<S: Send>(
    address: SocketAddr,
    states: &mut [S],
    span: Duration,
    step: impl Fn(usize, &mut S, &mut Connection) -> Outcome<()> + Sync,
) -> Outcome<Load> {
    let begin = Instant::now();

    let took = std::thread::scope(|scope| {
        let workers: Vec<_> = states
            .iter_mut()
            .enumerate()
            .map(|(index, state)| {
                let step = &step;
                scope.spawn(move || -> Outcome<Vec<Duration>> {
                    let mut connection = Connection::open(address)?;
                    let mut took = Vec::new();
                    while begin.elapsed() < span {
                        let sent = Instant::now();
                        step(index, state, &mut connection)?;
                        took.push(sent.elapsed());
                    }
                    Ok(took)
                })
            })
            .collect();

        let mut all = Vec::new();
        for worker in workers {
            all.extend(worker.join().map_err(|_| "a worker panicked")??);
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(all)
    })?;

    let done = f64::from(u32::try_from(took.len()).unwrap_or(u32::MAX));
    Ok(Load { rate: done / begin.elapsed().as_secs_f64(), took })
}
