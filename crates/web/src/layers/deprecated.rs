//! Marks the responses of legacy routes.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue, header};

use crate::endpoint::Mount;

/// State of the layer.
#[derive(Clone)]
pub(crate) struct Deprecated {
    /// The path of the public URL, which precedes that of the successor.
    pub(crate) public_path: Arc<str>,
    /// When they will not be served any more.
    pub(crate) sunset: Option<model::Now>,
}

/// When the legacy routes were deprecated: 1 January 2026 (RFC 9745 §2.1).
const DEPRECATED_SINCE: &str = "@1767225600";

/// Names the successor of a legacy route in its responses (RFC 9745, RFC 8594).
pub(crate) async fn deprecated(
    State((with, mount)): State<(Deprecated, &'static Mount)>,
    request: Request,
    next: Next,
) -> Response {
    let Some(successor) = mount.successor else { return next.run(request).await };
    let mut response = next.run(request).await;

    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("deprecation"), HeaderValue::from_static(DEPRECATED_SINCE));
    let link =
        HeaderValue::from_str(&format!("<{}{successor}>; rel=\"successor-version\"", with.public_path));
    headers.extend(link.ok().map(|link| (header::LINK, link)));
    if let Some(sunset) = with.sunset {
        let at = UNIX_EPOCH + Duration::from_secs(sunset.seconds().unsigned_abs());
        let date = HeaderValue::from_str(&httpdate::fmt_http_date(at));
        headers.extend(date.ok().map(|date| (HeaderName::from_static("sunset"), date)));
    }
    response
}
