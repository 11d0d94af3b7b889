//! Security headers on every response: one layer, where tower-http takes one for each header.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// State of the layer.
#[derive(Clone)]
pub(crate) struct SecurityHeaders {
    /// Whether the public URL is https.
    pub(crate) https: bool,
}

/// Prohibits scripts, frames and content sniffing; responses are not cached unless the handler sets it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'";

/// Denies features that no page of an authentication server uses.
const PERMISSIONS_POLICY: &str =
    "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()";

impl SecurityHeaders {
    /// Adds the headers that are not set.
    pub(crate) fn add(&self, headers: &mut HeaderMap) {
        let mut set = |name: HeaderName, value: &'static str| {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        };
        set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        set(header::REFERRER_POLICY, "no-referrer");
        set(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
        set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
        set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
        set(HeaderName::from_static("permissions-policy"), PERMISSIONS_POLICY);
        set(header::CACHE_CONTROL, "no-store");
        if self.https {
            set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains");
        }
    }
}

/// Adds the headers that the handler has not set.
pub(crate) async fn security_headers(
    State(with): State<SecurityHeaders>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    with.add(response.headers_mut());
    response
}
