//! Counts each request by the client's network, and refuses those above a limit.

use std::sync::Arc;

use auth::Services;
use auth::limits::{Limit, Subject, refusal};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use model::Event;
use runtime::AuditContext;

use super::RequestOrigin;
use crate::problem::{Problem, write_limits};

/// State of the layer.
#[derive(Clone)]
pub(crate) struct RouteLimits {
    /// The limits of the route.
    pub(crate) limits: &'static [Limit],
    /// Whether refused requests count, after they were answered.
    pub(crate) counts_refusals: bool,
    pub(crate) services: Arc<Services>,
    pub(crate) audit: AuditContext,
}

/// Refuses a request above a limit before its body is read; otherwise its response says what remains.
pub(crate) async fn limits(State(with): State<RouteLimits>, request: Request, next: Next) -> Response {
    let origin = request.extensions().get::<RequestOrigin>().map(|origin| Arc::clone(&origin.0));
    let Some((origin, address)) = origin.and_then(|origin| Some((Arc::clone(&origin), origin.address?)))
    else {
        return next.run(request).await;
    };

    let check = async |limits: &[Limit]| {
        let checked = with.services.limits.check(limits, Subject::Network(address)).await;
        let Some(refused) = refusal(&checked) else { return Ok(checked) };
        with.audit.of((*origin).clone()).note(Event::RequestLimited { limit: refused.limit.as_str() });
        Err(Problem::RateLimited(refused.into()))
    };

    let checked = match check(with.limits).await {
        Ok(checked) => checked,
        Err(refused) => return refused.into_response(),
    };
    let mut response = next.run(request).await;
    if !checked.is_empty() {
        write_limits(&checked, response.headers_mut());
    }

    let is_refused =
        response.status().is_client_error() && response.status() != StatusCode::TOO_MANY_REQUESTS;
    if is_refused && with.counts_refusals {
        return check(&[Limit::Global]).await.map_or_else(Problem::into_response, |_| response);
    }
    response
}
