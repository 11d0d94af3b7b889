//! One structured log line per request.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::Method;
use tokio::time::Instant;

use super::RequestOrigin;
use crate::endpoint::{Endpoint, Matched, Mount};
use crate::metrics::Metrics;

/// Counts and logs method, route, status and duration, with the request's id. Paths and queries of unknown
/// routes are left out, because they may contain secrets.
pub(crate) async fn log(State(counts): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let origin = request.extensions().get::<RequestOrigin>().cloned();
    let response = next.run(request).await;
    let matched = response.extensions().get::<Matched>().copied();
    let route = matched.map_or("other", |matched| matched.mount.path);
    let status = response.status().as_u16();
    let took = begun.elapsed();
    counts.request(&method, matched, status, took);

    let seconds = took.as_secs_f64();
    let origin = origin.as_ref().map(|origin| &*origin.0);
    let request_id = origin.and_then(|o| o.request_id.as_ref()).map_or("", model::RequestId::as_str);
    let client_request_id = origin.and_then(|o| o.client_request_id.as_deref());
    let trace_id = origin.and_then(|o| o.trace_id.as_deref());
    let address = origin.and_then(|o| o.address).map(tracing::field::display);

    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                %method, route, status, seconds, request_id, client_request_id, trace_id, address, "request"
            )
        };
    }
    // A limit bounds the other lines, or they report a fault.
    if status == 429 || is_uncounted(matched, &method) {
        line!(debug);
    } else if status >= 500 {
        line!(warn);
    } else {
        line!(info);
    }

    response
}

/// Whether no limit counts the request, although any client may send it: a health check, the key set, or a
/// preflight request.
fn is_uncounted(matched: Option<Matched>, method: &Method) -> bool {
    let endpoint = matched.and_then(|matched| matched.endpoint);
    method == Method::OPTIONS || endpoint.is_some_and(|endpoint| !endpoint.is_limited())
}

/// Notes the matched path on the response, with its endpoint if the method matched too.
pub(crate) async fn note_mount(
    State(mount): State<&'static Mount>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    let endpoint = response.extensions_mut().remove::<&'static Endpoint>();
    response.extensions_mut().insert(Matched { endpoint, mount });
    response
}
