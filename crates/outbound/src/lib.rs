//! The only HTTP client for other programs: webhooks, collectors, later mail and login providers.
//!
//! A request is sent once, over a new connection, within a time limit; no redirect is followed, and no proxy
//! of the environment is used. [`Endpoint::post`] takes [`Parked`], so that the caller holds no database
//! connection meanwhile; an [`HttpClient`] is for commands that open no database.

use std::error::Error as _;
use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use model::{Clock, Now};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response, Url};
use runtime::Parked;

/// Longest body of an answer, in bytes; a longer one is replaced by an empty one.
const ANSWER: usize = 64 * 1024;
/// Longest `Retry-After` that is honoured.
const WAIT: Duration = Duration::from_mins(10);

/// The URL of a receiver, with its connection settings.
pub struct Endpoint {
    client: HttpClient,
    url: Url,
    headers: HeaderMap,
}

/// Why an endpoint cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointError {
    /// The URL is not one of http or https.
    Url,
    /// The authorities are unusable, for this reason.
    Authorities(String),
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url => f.write_str("it is not a URL of http or https"),
            Self::Authorities(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for EndpointError {}

/// The receiver's answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// `Retry-After`, at most ten minutes; `None` where it is absent, or neither a number of seconds nor a
    /// date (RFC 9110 §10.2.3).
    pub retry_after: Option<Duration>,
    /// The body; empty where it was longer than 64 KiB.
    pub body: Bytes,
}

impl Endpoint {
    /// Creates the endpoint of an `http` or `https` URL. The certificate of an https receiver must come from
    /// one of `authorities`, certificates in PEM; from one of the system's if there are none. A request may
    /// take as long as `limit`. The clock turns a date in `Retry-After` into a duration.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn new(
        url: &str,
        authorities: Option<&[u8]>,
        limit: Duration,
        clock: Clock,
    ) -> Result<Self, EndpointError> {
        let url = Url::parse(url).map_err(|_| EndpointError::Url)?;
        let client = HttpClient::new(url.as_str(), authorities, limit, clock)?;
        Ok(Self { client, url, headers: HeaderMap::new() })
    }

    /// Adds these headers to every request, for example an API key of the receiver.
    #[must_use]
    pub fn with_headers(self, headers: HeaderMap) -> Self {
        Self { headers, ..self }
    }

    /// Posts a body with this content type.
    ///
    /// # Errors
    /// Why there is no answer, as a sentence for the log. It does not contain the URL, whose path may be a
    /// secret.
    pub async fn post(
        &self,
        _: &Parked<'_>,
        content_type: &str,
        headers: &[(&str, String)],
        body: Vec<u8>,
    ) -> Result<Answer, String> {
        let request = self.client.client.post(self.url.clone()).headers(self.headers.clone());
        let request = request.header(CONNECTION, "close").header(CONTENT_TYPE, content_type);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        self.client.answer(request.body(body).send().await).await
    }
}

/// A client for a command that opens no database, such as `gatewright probe`: what runs beside requests uses
/// an [`Endpoint`].
#[derive(Debug)]
pub struct HttpClient {
    client: Client,
    limit: Duration,
    clock: Clock,
}

impl HttpClient {
    /// Creates the client for URLs with the scheme of `url`, `http` or `https`; the rest as for
    /// [`Endpoint::new`].
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn new(
        url: &str,
        authorities: Option<&[u8]>,
        limit: Duration,
        clock: Clock,
    ) -> Result<Self, EndpointError> {
        let url = Url::parse(url).map_err(|_| EndpointError::Url)?;
        let authorities = match (url.scheme(), authorities) {
            // A receiver without TLS needs no authorities, and the system may have none.
            ("http", _) => Some(Vec::new()),
            ("https", Some(pem)) => Some(certificates(pem)?),
            ("https", None) => None,
            _ => return Err(EndpointError::Url),
        };

        let client = Client::builder()
            .user_agent(concat!("gatewright/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .pool_max_idle_per_host(0)
            .timeout(limit);
        let client = match authorities {
            Some(only) => client.tls_certs_only(only),
            None => client,
        };
        let client = client.build().map_err(|why| EndpointError::Authorities(cause(why)))?;
        Ok(Self { client, limit, clock })
    }

    /// Sends a request.
    ///
    /// # Errors
    /// Why there is no answer, as a sentence. It does not contain the URL.
    pub async fn send(&self, request: http::Request<Vec<u8>>) -> Result<Answer, String> {
        let request = reqwest::Request::try_from(request).map_err(cause)?;
        self.answer(self.client.execute(request).await).await
    }

    async fn answer(&self, answer: reqwest::Result<Response>) -> Result<Answer, String> {
        let answer = answer.map_err(|why| self.told(why))?;
        let (status, headers) = (answer.status().as_u16(), answer.headers());
        let retry_after = retry_after(headers, self.clock.now());
        let body = match read(answer).await {
            Err(why) if why.is_timeout() => return Err(self.told(why)),
            body => body.ok().flatten().unwrap_or_default(),
        };
        Ok(Answer { status, retry_after, body })
    }

    fn told(&self, why: reqwest::Error) -> String {
        if why.is_timeout() { format!("no answer within {:?}", self.limit) } else { cause(why) }
    }
}

/// Parses certificates; there must be at least one.
fn certificates(pem: &[u8]) -> Result<Vec<Certificate>, EndpointError> {
    let found = Certificate::from_pem_bundle(pem);
    let found = found.map_err(|why| EndpointError::Authorities(cause(why)))?;
    if found.is_empty() {
        return Err(EndpointError::Authorities("there is no certificate in it".to_owned()));
    }
    Ok(found)
}

/// The first cause of an error: its own text names the URL.
fn cause(why: reqwest::Error) -> String {
    let why = why.without_url();
    let mut first = why.source();
    while let Some(next) = first.and_then(std::error::Error::source) {
        first = Some(next);
    }
    first.map_or_else(|| why.to_string(), ToString::to_string)
}

/// Reads the body; `None` where it is too long.
async fn read(mut answer: Response) -> reqwest::Result<Option<Bytes>> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        if body.len() + piece.len() > ANSWER {
            return Ok(None);
        }
        body.extend_from_slice(&piece);
    }
    Ok(Some(body.into()))
}

/// Reads `Retry-After` in seconds or as a date, which is compared with `now`.
fn retry_after(headers: &HeaderMap, now: Now) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if let Ok(seconds) = text.parse() {
        Duration::from_secs(seconds)
    } else {
        let date = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
        Now::from_seconds(0).plus(date).since(now)
    };
    Some(wait.min(WAIT))
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date_and_at_most_ten_minutes() {
        // RFC 9110 §5.6.7 has this date in its three forms.
        let now = Now::from_seconds(784_111_777 - 90);
        let read = |text: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::try_from(text).unwrap())]);
            retry_after(&headers, now).map(|wait| wait.as_secs())
        };
        assert_eq!(read("120"), Some(120));
        assert_eq!(read("86400"), Some(600));
        for date in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(read(date), Some(90), "{date}");
        }
        assert_eq!(read("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0), "it has passed");
        assert_eq!(read("Mon, 07 Nov 1994 08:49:37 GMT"), Some(600));
        for bad in ["", "-1", "1.5", "soon", "Sun, 06 Nov 1994"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn an_endpoint_is_a_url_of_http_or_https_with_usable_authorities() {
        let made = |url: &str, authorities: Option<&[u8]>| {
            let endpoint = Endpoint::new(url, authorities, WAIT, Clock::system());
            endpoint.map(|endpoint| format!("{endpoint:?}"))
        };
        for bad in ["", "/x", "localhost:1", "ftp://h/", "http://"] {
            assert_eq!(made(bad, None), Err(EndpointError::Url), "{bad}");
        }
        let shown = made("http://h/secret", Some(b"unused")).unwrap();
        assert!(shown.contains("\"h\"") && !shown.contains("secret"), "{shown}");
        let none = "there is no certificate in it".to_owned();
        assert_eq!(made("https://h/", Some(b"nothing")), Err(EndpointError::Authorities(none)));
        let bad = b"-----BEGIN CERTIFICATE-----\naaaa\n-----END CERTIFICATE-----\n";
        assert!(matches!(made("https://h/", Some(bad)), Err(EndpointError::Authorities(_))));
    }
}
