//! One structured log line per request.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;

use super::RequestOrigin;
use crate::metrics::Metrics;

/// Counts and logs method, route, status and duration, with the request's id. Paths and queries of unknown
/// routes are left out, because they may contain secrets.
pub(crate) async fn log(State(counts): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let origin = request.extensions().get::<RequestOrigin>().cloned();
    let response = next.run(request).await;
    let route = response.extensions().get::<Route>().map_or("other", |route| route.0.as_str());
    let status = response.status().as_u16();
    let took = begun.elapsed();
    counts.request(&method, route, status, took);

    let seconds = took.as_secs_f64();
    let origin = origin.as_ref().map(|origin| &*origin.0);
    let request_id = origin.and_then(|o| o.request_id.as_ref()).map_or("", |id| id.0.as_str());
    let client_request_id = origin.and_then(|o| o.client_request_id.as_deref());
    let trace_id = origin.and_then(|o| o.trace_id.as_deref());
    let address = origin.and_then(|o| o.address).map(tracing::field::display);

    if status >= 500 {
        tracing::warn!(
            %method, route, status, seconds, request_id, client_request_id, trace_id, address, "request"
        );
    } else {
        tracing::info!(
            %method, route, status, seconds, request_id, client_request_id, trace_id, address, "request"
        );
    }

    response
}

/// The matched route, in the router's notation.
#[derive(Clone, Debug)]
pub(crate) struct Route(pub(crate) String);

/// Notes the matched route on the response; runs inside the router, where it is known.
pub(crate) async fn note_route(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| Route(path.as_str().to_owned()));
    let mut response = next.run(request).await;
    if let Some(route) = route {
        response.extensions_mut().insert(route);
    }
    response
}
