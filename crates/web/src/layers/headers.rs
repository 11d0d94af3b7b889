//! Security headers on every response: one layer, where tower-http takes one for each header.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::Settings;

/// State of the layer.
#[derive(Clone)]
pub(crate) struct SecurityHeaders {
    /// `Strict-Transport-Security`, if the public URL is https.
    pub(crate) transport_security: Option<&'static str>,
}

/// Prohibits scripts, frames and content sniffing; responses are not cached unless the handler sets it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'";

/// Denies features that no page of an authentication server uses.
const PERMISSIONS_POLICY: &str =
    "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()";

impl SecurityHeaders {
    /// The headers of a server with these settings.
    pub(crate) fn new(settings: &Settings) -> Self {
        let value = if settings.hsts_include_subdomains {
            "max-age=31536000; includeSubDomains"
        } else {
            "max-age=31536000"
        };
        Self { transport_security: settings.public_url.starts_with("https://").then_some(value) }
    }

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
        if let Some(value) = self.transport_security {
            set(header::STRICT_TRANSPORT_SECURITY, value);
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
