//! CORS: an allow-list of origins, without credentials, and never `null`.
//!
//! Not tower-http's layer: it answers every `OPTIONS` request 200, of any origin and without `Allow`, and
//! adds a second `Access-Control-Allow-Origin` to the key set, which every origin may read.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

/// State of the layer.
#[derive(Clone)]
pub(crate) struct Cors {
    pub(crate) allowed: Arc<[String]>,
}

const EXPOSED: &str = "Retry-After, RateLimit, RateLimit-Policy, X-Request-Id";
const ALLOWED_HEADERS: &str = "Authorization, Content-Type, X-Request-Id";
const ALLOWED_METHODS: &str = "GET, POST, PATCH, DELETE, OPTIONS";

/// Answers preflight requests, and adds CORS headers to responses for allowed origins, errors included.
pub(crate) async fn cors(State(with): State<Cors>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let allowed = origin.filter(|origin| with.allowed.iter().any(|one| is_of(one, origin.as_bytes())));
    let preflight = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match (&allowed, preflight) {
        (Some(_), true) => preflight_answer(),
        _ => next.run(request).await,
    };
    // The JWKS handler allows every origin itself.
    if response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        return response;
    }
    if !with.allowed.is_empty() {
        response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(origin) = allowed {
        mark(response.headers_mut(), origin);
    }
    response
}

/// The entry that allows pages of this machine, on any port.
pub const ANY_LOCAL_PORT: &str = "http://localhost:*";

/// Whether an entry of the list allows an origin.
fn is_of(allowed: &str, origin: &[u8]) -> bool {
    if allowed != ANY_LOCAL_PORT {
        return allowed.as_bytes() == origin;
    }
    match origin.strip_prefix(b"http://localhost") {
        Some([]) => true,
        Some([b':', port @ ..]) => !port.is_empty() && port.iter().all(u8::is_ascii_digit),
        Some(_) | None => false,
    }
}

fn preflight_answer() -> Response {
    let fields: [(HeaderName, &str); 3] = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ];
    (StatusCode::NO_CONTENT, fields).into_response()
}

fn mark(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
}
