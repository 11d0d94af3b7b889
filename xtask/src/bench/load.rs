//! A load of HTTP/1.1 requests over kept connections, cheap enough to measure a quick server from the same machine.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tokio::time::Instant;

use super::Outcome;

/// One kept connection.
pub(super) struct Connection(BufReader<TcpStream>);

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
    /// Seconds of `Retry-After`.
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
        let (mut length, mut retry_after) = (0, None);
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

/// Requests a second from `connections` at once for `span`; `next` makes a connection's request from its last
/// answer, and checks that.
pub(super) fn throughput<S: Send>(
    address: SocketAddr,
    states: &mut [S],
    span: Duration,
    step: impl Fn(usize, &mut S, &mut Connection) -> Outcome<()> + Sync,
) -> Outcome<f64> {
    let begin = Instant::now();
    let done = std::thread::scope(|scope| {
        let workers: Vec<_> = states
            .iter_mut()
            .enumerate()
            .map(|(index, state)| {
                let step = &step;
                scope.spawn(move || -> Outcome<u32> {
                    let mut connection = Connection::open(address)?;
                    let mut done = 0;
                    while begin.elapsed() < span {
                        step(index, state, &mut connection)?;
                        done += 1;
                    }
                    Ok(done)
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().map_err(|_| "a worker panicked")?)
            .sum::<Outcome<u32>>()
    })?;
    Ok(f64::from(done) / begin.elapsed().as_secs_f64())
}
