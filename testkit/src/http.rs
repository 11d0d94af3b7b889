//! A plain HTTP client: reuses connections, follows no redirects, and returns every status.

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// A response with the whole body.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; panics with the whole response if it is not.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}) in an answer {}: {}", self.status, self.text()))
    }

    /// The first value of a header, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Keeps connections open between requests. Clones share them. It has no timeout: the test runner's timeout
/// ends a test that waits forever.
#[derive(Clone, Debug)]
pub struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// Speaks HTTP/1.1.
    pub fn new() -> Self {
        Self { pool: Pool::builder(TokioExecutor::new()).build_http() }
    }

    /// Speaks HTTP/2 by prior knowledge.
    pub fn http2() -> Self {
        Self { pool: Pool::builder(TokioExecutor::new()).http2_only(true).build_http() }
    }

    /// Sends one request; an error is one of the connection, with all its causes.
    pub async fn try_request(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Response, String> {
        let method = Method::from_bytes(method.as_bytes()).expect("the method is a token");
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("url and headers are well formed");
        let answer = self.pool.request(request).await.map_err(|error| with_causes(&error))?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(|error| with_causes(&error))?.to_bytes();
        Ok(Response { status: head.status.as_u16(), headers: head.headers, body })
    }

    /// Sends one request; panics if the connection fails.
    pub async fn request(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response {
        let answer = self.try_request(method, url, headers, body).await;
        answer.unwrap_or_else(|error| panic!("{method} {url}: {error}"))
    }

    /// A plain GET.
    pub async fn get(&self, url: &str) -> Response {
        self.request("GET", url, &[], "").await
    }

    /// GET with a bearer token.
    pub async fn get_with_token(&self, url: &str, token: &str) -> Response {
        self.request("GET", url, &[("authorization", &format!("Bearer {token}"))], "").await
    }

    /// POST of JSON.
    pub async fn post_json(&self, url: &str, body: &Value) -> Response {
        self.request("POST", url, &[("content-type", "application/json")], body.to_string()).await
    }

    /// POST of a form.
    pub async fn post_form(&self, url: &str, fields: &[(&str, &str)]) -> Response {
        self.request("POST", url, &[("content-type", "application/x-www-form-urlencoded")], form(fields))
            .await
    }
}

/// Fields as `application/x-www-form-urlencoded`.
pub fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_form_survives_every_character() {
        assert_eq!(
            super::form(&[("username", "a+b@c.d"), ("pass word", "é&=%")]),
            "username=a%2Bb%40c.d&pass+word=%C3%A9%26%3D%25"
        );
    }
}
