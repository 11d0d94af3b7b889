//! Public documents under `/.well-known`.

use axum::response::IntoResponse;
use http::header;

use crate::request::context::RequestContext;

/// The public keys (RFC 7517); scripts of any origin may read them.
pub(crate) async fn jwks(cx: RequestContext<()>) -> impl IntoResponse {
    let body = serde_json::to_string(&cx.services().keys().jwks).unwrap_or_default();
    let headers = [
        (header::CONTENT_TYPE, "application/jwk-set+json"),
        (header::CACHE_CONTROL, "public, max-age=300"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    (headers, body)
}
