//! Health checks: liveness, readiness, startup.

use axum::Json as Answer;
use axum::extract::Extension;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::{Value, json};

use crate::layers::RequestOrigin;
use crate::problem::Problem;
use crate::request::context::{MetricsPage, Readiness};

/// Always succeeds: the process answers.
pub(crate) async fn liveness() -> Answer<Value> {
    Answer(json!({ "status": "alive" }))
}

/// Whether the server can serve requests now.
pub(crate) async fn readiness(origin: Option<Extension<RequestOrigin>>, readiness: Readiness) -> Response {
    match readiness.0 {
        Ok(degraded) if degraded.is_empty() => Answer(json!({ "status": "ready" })).into_response(),
        Ok(degraded) => Answer(json!({ "status": "ready", "degraded": degraded })).into_response(),
        Err(detail) => {
            let id = origin.and_then(|origin| origin.0.0.request_id.clone());
            let mut body = Problem::Unavailable.details(id.as_ref().map(|id| id.0.as_str()));
            if let Some(members) = body.as_object_mut() {
                members.insert("detail".to_owned(), detail.into());
            }
            let headers = [(header::CONTENT_TYPE, "application/problem+json"), (header::RETRY_AFTER, "1")];
            (StatusCode::SERVICE_UNAVAILABLE, headers, body.to_string()).into_response()
        }
    }
}

/// The metrics, on the operations listener only.
pub(crate) async fn metrics(page: MetricsPage) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page.0).into_response()
}

/// Always succeeds: the listener opens only after the start is complete.
pub(crate) async fn startup() -> Answer<Value> {
    Answer(json!({ "status": "started" }))
}
