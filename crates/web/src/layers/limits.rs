//! Counts each request by the client's network, and refuses those above a limit.

use std::sync::Arc;

use auth::Services;
use auth::limits::{Checked, Limit, Subject, refusal};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use model::Event;
use runtime::AuditContext;

use super::body::with_body;
use super::{ReadBody, RequestOrigin};
use crate::endpoint::Endpoint;
use crate::problem::{Problem, write_limits};

/// State of the layer; the routes share the second part.
#[derive(Clone)]
pub(crate) struct RouteLimits {
    /// The endpoint; `None` where a path or its method does not exist.
    pub(crate) endpoint: Option<&'static Endpoint>,
    pub(crate) counted: Arc<Counted>,
}

/// What counts, and what records a refusal.
pub(crate) struct Counted {
    pub(crate) services: Arc<Services>,
    pub(crate) audit: AuditContext,
}

impl Counted {
    /// Counts the request in these limits.
    async fn count(&self, limits: &[Limit], origin: &RequestOrigin) -> Result<Vec<Checked>, Problem> {
        let Some(address) = origin.0.address.filter(|_| !limits.is_empty()) else { return Ok(Vec::new()) };
        let checked = self.services.limits.check(limits, Subject::Network(address)).await;
        let Some(refused) = refusal(&checked) else { return Ok(checked) };
        self.audit.of((*origin.0).clone()).note(Event::RequestLimited { limit: refused.limit.as_str() });
        Err(Problem::RateLimited(refused.into()))
    }
}

/// Notes the endpoint on the response, for the layers outside, and refuses a request above a limit before its
/// body is read, unless the body says in which limit it counts; otherwise its response says what remains.
/// What does not exist counts too.
pub(crate) async fn limits(State(with): State<RouteLimits>, request: Request, next: Next) -> Response {
    let mut response = count(&with, request, next).await.unwrap_or_else(Problem::into_response);
    if let Some(endpoint) = with.endpoint {
        response.extensions_mut().insert(endpoint);
    }
    response
}

async fn count(with: &RouteLimits, request: Request, next: Next) -> Result<Response, Problem> {
    let RouteLimits { endpoint, counted } = with;
    let Some(origin) = request.extensions().get::<RequestOrigin>().cloned() else {
        return Ok(next.run(request).await);
    };
    let (limits, counts_refusals, request) = match endpoint {
        None => (&[Limit::Global][..], false, Ok(request)),
        Some(endpoint) => match endpoint.counts_refusals_of {
            None => (endpoint.limits, endpoint.counts_refusals, Ok(request)),
            Some(is_such) => {
                let request = with_body(request).await;
                let is_such = request.as_ref().is_ok_and(|request| {
                    let body = request.extensions().get::<ReadBody>();
                    body.is_some_and(|body| is_such(request.headers(), &body.0))
                });
                (if is_such { &[][..] } else { endpoint.limits }, is_such, request)
            }
        },
    };

    let checked = counted.count(limits, &origin).await?;
    let mut response = next.run(request?).await;
    if !checked.is_empty() {
        write_limits(&checked, response.headers_mut());
    }

    let status = response.status();
    let is_refused = status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS;
    if is_refused && counts_refusals {
        counted.count(&[Limit::Global], &origin).await?;
    }
    Ok(response)
}
