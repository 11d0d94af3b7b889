//! The only HTTP client for other programs: webhooks, collectors, later mail and login providers.
//!
//! A request is sent once, over a new connection, within a time limit; no redirect is followed. It takes
//! [`Parked`], so that the caller holds no database connection meanwhile.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use runtime::Parked;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

/// Longest body of an answer, in bytes; a longer one is replaced by an empty one.
const ANSWER: usize = 64 * 1024;
/// Longest `Retry-After` that is honoured.
const WAIT: Duration = Duration::from_mins(10);

/// The URL of a receiver, with its connection settings.
pub struct Endpoint {
    host: String,
    port: u16,
    uri: Uri,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    headers: HeaderMap,
    limit: Duration,
}

/// The receiver's answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// `Retry-After`, at most ten minutes; `None` where it is absent or not a number of seconds (RFC 9110
    /// §10.2.3).
    pub retry_after: Option<Duration>,
    /// The body; empty where it was longer than 64 KiB.
    pub body: Bytes,
}

impl Endpoint {
    /// Creates the endpoint of an `http` or `https` URL; https requires `tls`. A request may take as long as
    /// `limit`.
    ///
    /// # Errors
    /// Why the URL is invalid.
    pub fn new(url: &str, tls: Option<Arc<ClientConfig>>, limit: Duration) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|_| "it is no URL".to_owned())?;
        let host = uri.host().ok_or("its host is missing")?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_secret = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_secret { 443 } else { 80 });
        let tls = match (is_secret, tls) {
            (false, _) => None,
            (true, None) => return Err("https needs TLS".to_owned()),
            (true, Some(config)) => {
                let name = ServerName::try_from(host.clone());
                let name = name.map_err(|_| "its host is no name for a certificate".to_owned())?;
                Some((TlsConnector::from(config), name))
            }
        };
        Ok(Self { host, port, uri, tls, headers: HeaderMap::new(), limit })
    }

    /// Adds these headers to every request, for example an API key of the receiver.
    #[must_use]
    pub fn with_headers(self, headers: HeaderMap) -> Self {
        Self { headers, ..self }
    }

    /// Posts a body with this content type.
    ///
    /// # Errors
    /// Why there is no answer, as a sentence for the log.
    pub async fn post(
        &self,
        _: &Parked<'_>,
        content_type: &str,
        headers: &[(&str, String)],
        body: Vec<u8>,
    ) -> Result<Answer, String> {
        let request = self.request(content_type, headers, body).map_err(|why| why.to_string())?;
        let answered = timeout(self.limit, async {
            let socket = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(told)?;
            match &self.tls {
                None => exchange(TokioIo::new(socket), request).await,
                Some((connector, name)) => {
                    let stream = connector.connect(name.clone(), socket).await.map_err(told)?;
                    exchange(TokioIo::new(stream), request).await
                }
            }
        });
        answered.await.unwrap_or_else(|_| Err(format!("no answer within {:?}", self.limit)))
    }

    fn request(
        &self,
        content_type: &str,
        headers: &[(&str, String)],
        body: Vec<u8>,
    ) -> http::Result<Request<Full<Bytes>>> {
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, authority)
            .header(USER_AGENT, concat!("gatewright/", env!("CARGO_PKG_VERSION")))
            .header(http::header::CONNECTION, "close")
            .header(CONTENT_TYPE, content_type);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Full::new(Bytes::from(body)))
    }
}

fn told(why: impl fmt::Display) -> String {
    why.to_string()
}

/// Sends a request and reads its answer; the connection is driven meanwhile and closed at the end.
async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Answer, String>
where
    S: Read + Write + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(stream).await.map_err(told)?;
    let exchange = async move {
        let answer = sender.send_request(request).await.map_err(told)?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER).collect().await.map(Collected::to_bytes);
        let retry_after = retry_after(&head.headers);
        Ok(Answer { status: head.status.as_u16(), retry_after, body: body.unwrap_or_default() })
    };
    drive(pin!(exchange), pin!(connection)).await
}

/// Returns the outcome of `wanted`; `other` may end before it.
async fn drive<T>(mut wanted: impl Future<Output = T> + Unpin, mut other: impl Future + Unpin) -> T {
    tokio::select! {
        biased;
        outcome = &mut wanted => outcome,
        _ = &mut other => wanted.await,
    }
}

/// Reads `Retry-After` in seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(WAIT))
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}
