//! Refuses requests that do not name one host (RFC 9112 §3.2).

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::uri::Authority;
use http::{HeaderValue, Version, header};

use crate::problem::Problem;

/// Refuses a request of HTTP/1.1 without `Host`, and any with two of them or with one that is no host.
pub(crate) async fn host(request: Request, next: Next) -> Response {
    if names_one_host(&request) { next.run(request).await } else { Problem::HostInvalid.into_response() }
}

fn names_one_host(request: &Request) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => request.version() != Version::HTTP_11,
        (Some(host), None) => is_host(host),
        (Some(_), Some(_)) => false,
    }
}

/// Whether it is `host[:port]`, or empty as of a URL without authority.
fn is_host(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    let is_authority = || Authority::try_from(bytes).is_ok_and(|authority| !authority.as_str().contains('@'));
    bytes.is_empty() || is_authority()
}
