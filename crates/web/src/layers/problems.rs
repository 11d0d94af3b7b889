//! Writes every error body, in the dialect of its route.

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use super::RequestOrigin;
use crate::endpoint::{Dialect, Matched};
use crate::problem::Problem;

/// Writes the body of the [`Problem`] with which a handler, or the router itself, answered.
pub(crate) async fn problems(request: Request, next: Next) -> Response {
    let instance = request.extensions().get::<RequestOrigin>().and_then(|origin| origin.0.request_id.clone());
    let mut response = next.run(request).await;
    let problem = response.extensions_mut().remove::<Problem>().or_else(|| of_router(&response));
    let Some(problem) = problem else { return response };

    let matched = response.extensions().get::<Matched>().copied();
    let dialect = matched.map_or(Dialect::Details, |matched| matched.mount.dialect);
    if let Some(endpoint) = matched.and_then(|matched| matched.endpoint) {
        *response.status_mut() = endpoint.status_of(problem.kind());
    }
    write(&problem, dialect, instance.as_ref().map(model::RequestId::as_str), response)
}

/// The problem for a response of the router itself, which has a status and no body.
fn of_router(response: &Response) -> Option<Problem> {
    if response.headers().contains_key(header::CONTENT_TYPE) {
        return None;
    }
    match response.status() {
        StatusCode::NOT_FOUND => Some(Problem::NotFound),
        StatusCode::METHOD_NOT_ALLOWED => Some(Problem::MethodNotAllowed),
        status if status.is_server_error() => Some(Problem::Internal),
        _ => None,
    }
}

/// The response with the problem's body.
pub(super) fn write(
    problem: &Problem,
    dialect: Dialect,
    instance: Option<&str>,
    mut response: Response,
) -> Response {
    let (body, kind) = match dialect {
        Dialect::Details => (problem.details(instance), "application/problem+json"),
        Dialect::FastApi if matches!(problem, Problem::Validation(_)) => {
            (problem.fastapi(instance), "application/json")
        }
        Dialect::FastApi => (problem.fastapi(instance), "application/problem+json"),
        Dialect::OAuth => (problem.oauth(instance), "application/json"),
    };

    let mut body = body;
    if let Some(status) = body.get_mut("status") {
        *status = response.status().as_u16().into();
    }
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(body.to_string());

    response
}
