//! Runs each request in a task of its own, so that a client that hangs up cuts no transaction in half.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use model::Spawner;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Gone;
use crate::problem::Problem;

/// What the layer needs.
#[derive(Clone)]
pub(crate) struct Detach {
    pub(crate) spawner: Spawner,
    pub(crate) deadline: Duration,
    /// One place a request.
    pub(crate) places: Arc<Semaphore>,
}

/// Reads the body within its bounds, then hands the request to a task. The socket's side waits for the answer; if
/// it is dropped, the task is told by [`Gone`] and goes on to its end.
pub(crate) async fn detach(State(with): State<Detach>, request: Request, next: Next) -> Response {
    let Ok(place) = Arc::clone(&with.places).try_acquire_owned() else {
        return Problem::Busy(Duration::from_secs(1)).into_response();
    };
    let (parts, body) = request.into_parts();
    let body = match read(&parts.headers, body).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let mut request = Request::from_parts(parts, Body::from(body));
    let gone = CancellationToken::new();
    request.extensions_mut().insert(Gone(gone.clone()));
    let hung_up = gone.drop_guard();
    let (reply, answer) = oneshot::channel();
    with.spawner.spawn("request", async move {
        let response = next.run(request).await;
        drop(place);
        let _ = reply.send(response);
    });
    let answered = timeout(with.deadline, answer).await;
    match answered {
        Ok(Ok(response)) => {
            hung_up.disarm();
            response
        }
        // The task panicked: the lifecycle has logged it, and every other request goes on.
        Ok(Err(_)) => Problem::Internal.into_response(),
        Err(_) => Problem::Timeout.into_response(),
    }
}

async fn read(headers: &http::HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let announced =
        headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > model::limit::BODY_BYTES as u64) {
        return Err(Problem::BodyTooLarge);
    }
    match Limited::new(body, model::limit::BODY_BYTES).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => Err(Problem::BodyTooLarge),
        Err(_) => Err(Problem::BodyTimeout),
    }
}
