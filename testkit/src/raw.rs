//! Bytes on a socket, for requests that no client would send.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};

use crate::http::Response;

/// One connection on which the test controls what is sent and when.
#[derive(Debug)]
pub struct RawConnection {
    stream: BufReader<TcpStream>,
}

impl RawConnection {
    /// Connects; panics without a listener.
    pub async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await;
        let stream = stream.unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        stream.set_nodelay(true).expect("the socket takes its options");
        Self { stream: BufReader::new(stream) }
    }

    /// Connects from an address of this machine; panics without a listener.
    pub async fn open_from(local: IpAddr, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("the system has sockets");
        socket.bind(SocketAddr::new(local, 0)).expect("the address is this machine's");
        let stream = socket.connect(address).await;
        let stream = stream.unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        Self { stream: BufReader::new(stream) }
    }

    /// Sends `bytes` unchanged. An error means that the peer has closed.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Closes the sending side.
    pub async fn finish(&mut self) -> std::io::Result<()> {
        self.stream.shutdown().await
    }

    /// Reads one response, with a body by `Content-Length`, chunked, or up to the end of the connection; an
    /// error if the connection ends before that.
    pub async fn response(&mut self) -> std::io::Result<Response> {
        let status = self.line().await?;
        let code = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = code.ok_or_else(|| malformed(&status))?;
        let headers = self.headers().await?;
        let length = headers.get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
        let chunked = headers.get("transfer-encoding").is_some_and(|value| value == "chunked");
        let body = match length {
            _ if chunked => self.chunks().await?,
            _ if status < 200 || status == 204 || status == 304 => Vec::new(),
            Some(length) => self.exactly(length).await?,
            None => self.rest().await?,
        };
        Ok(Response { status, headers, body: Bytes::from(body) })
    }

    /// Everything up to the end of the connection.
    pub async fn rest(&mut self) -> std::io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).await?;
        Ok(rest)
    }

    /// Closes with a RST, like a client that was killed.
    pub fn reset(self) {
        self.stream.into_inner().set_zero_linger().expect("the socket takes its options");
    }

    async fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        let text = line.strip_suffix("\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
        Ok(text.to_owned())
    }

    async fn headers(&mut self) -> std::io::Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(headers);
            }
            let (name, value) = line.split_once(':').ok_or_else(|| malformed(&line))?;
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| malformed(&line))?;
            headers.append(name, HeaderValue::from_str(value.trim()).map_err(|_| malformed(&line))?);
        }
    }

    async fn chunks(&mut self) -> std::io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await?;
            let length = line.split(';').next().unwrap_or_default();
            let length = usize::from_str_radix(length, 16).map_err(|_| malformed(&line))?;
            if length == 0 {
                self.headers().await?;
                return Ok(body);
            }
            body.extend(self.exactly(length).await?);
            self.line().await?;
        }
    }

    async fn exactly(&mut self, length: usize) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).await?;
        Ok(bytes)
    }
}

fn malformed(line: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, format!("not HTTP: {line:?}"))
}
