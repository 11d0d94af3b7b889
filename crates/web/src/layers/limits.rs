//! Counts each request by the client's network, and refuses those above a limit.

use std::sync::Arc;

use auth::Services;
use auth::limits::{Limit, Subject};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::RequestOrigin;
use crate::problem::{Problem, write_limits};

/// State of the layer.
#[derive(Clone)]
pub(crate) struct RouteLimits {
    /// The limits of the route.
    pub(crate) limits: &'static [Limit],
    pub(crate) services: Arc<Services>,
}

/// Refuses a request above a limit before its body is read; otherwise its response says what remains.
pub(crate) async fn limits(State(with): State<RouteLimits>, request: Request, next: Next) -> Response {
    let origin = request.extensions().get::<RequestOrigin>();
    let Some(address) = origin.and_then(|origin| origin.0.address) else {
        return next.run(request).await;
    };

    let mut checked = Vec::with_capacity(with.limits.len());
    for limit in with.limits {
        let Some(one) = with.services.limits.check(*limit, Subject::Network(address)) else { continue };
        if !one.decision.admitted {
            return Problem::RateLimited(one.into()).into_response();
        }
        checked.push(one);
    }

    let mut response = next.run(request).await;
    if !checked.is_empty() {
        write_limits(&checked, response.headers_mut());
    }
    response
}
