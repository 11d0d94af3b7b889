//! Spawns each request's handler, so that a client's disconnect cannot stop it in the middle of a
//! transaction.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use runtime::Spawner;
use runtime::audit::Receipts;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Gone;
use super::body::with_body;
use crate::endpoint::{Endpoint, Group};
use crate::problem::Problem;

/// Longest time that a response waits for its events to be written.
const WRITTEN_WITHIN: Duration = Duration::from_millis(50);

/// State of the layer.
#[derive(Clone)]
pub(crate) struct Detach {
    pub(crate) spawner: Spawner,
    pub(crate) deadline: Duration,
    /// One permit per request.
    pub(crate) permits: Arc<Semaphore>,
    /// Whether a request is refused when no permit is free.
    pub(crate) needs_permit: bool,
    /// Whether the operation reads a body: what is not read is not waited for.
    pub(crate) reads_body: bool,
}

impl Detach {
    /// The state for one endpoint.
    pub(crate) fn of(&self, endpoint: &Endpoint, reads_body: bool) -> Self {
        let deadline = self.deadline + endpoint.waits;
        Self { needs_permit: endpoint.group != Group::Health, deadline, reads_body, ..self.clone() }
    }
}

/// Reads the body within its bounds, then spawns a task for the request. The connection waits for the
/// response; when it is dropped, [`Gone`] is cancelled and the task runs to its end.
pub(crate) async fn detach(State(with): State<Detach>, request: Request, next: Next) -> Response {
    let read = if with.reads_body { with_body(request).await } else { Ok(request) };
    let mut request = match read {
        Ok(request) => request,
        Err(problem) => return problem.into_response(),
    };

    // A permit is held while the request runs, not while its body arrives.
    let permit = Arc::clone(&with.permits).try_acquire_owned().ok();
    if permit.is_none() && with.needs_permit {
        return Problem::Busy(Duration::from_secs(1)).into_response();
    }

    let gone = CancellationToken::new();
    request.extensions_mut().insert(Gone(gone.clone()));
    let receipts = Receipts::default();
    request.extensions_mut().insert(receipts.clone());
    let hung_up = gone.drop_guard();
    let (reply, answer) = oneshot::channel();

    with.spawner.spawn("request", async move {
        let response = next.run(request).await;
        // The response leaves after its events are written, but waits no longer than this for a slow disk.
        let written = async {
            for receipt in receipts.take() {
                receipt.await;
            }
        };
        let _ = timeout(WRITTEN_WITHIN, written).await;
        drop(permit);
        let _ = reply.send(response);
    });

    let answered = timeout(with.deadline, answer).await;
    match answered {
        Ok(Ok(response)) => {
            hung_up.disarm();
            response
        }
        // The task panicked: the lifecycle has logged it. Other requests are not affected.
        Ok(Err(_)) => Problem::Internal.into_response(),
        Err(_) => Problem::Timeout.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::{from_fn, from_fn_with_state};
    use axum::routing::get;
    use http::StatusCode;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt;

    use super::*;

    /// A router with routes that fail, under the layers of this test.
    fn router(deadline: Duration, permits: usize) -> Router {
        #[expect(clippy::disallowed_methods, reason = "a lifecycle for a test")]
        let spawner = Spawner::new(|_, task| drop(tokio::spawn(task)));
        let permits = Arc::new(Semaphore::new(permits));
        let with = Detach { spawner, deadline, permits, needs_permit: true, reads_body: true };
        let admitted = Detach { needs_permit: false, ..with.clone() };
        let fine = || get(async || StatusCode::NO_CONTENT);

        Router::new()
            .route("/panic", get(async || -> StatusCode { panic!("a secret of the inside") }))
            .route("/stuck", get(async || std::future::pending::<StatusCode>().await))
            .route("/fine", fine())
            .layer(from_fn_with_state(with, detach))
            .route("/health", fine().layer(from_fn_with_state(admitted, detach)))
            .layer(from_fn(crate::layers::problems))
    }

    async fn ask(router: &Router, path: &str) -> (u16, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_panic_is_answered_500_and_other_requests_succeed() {
        let router = router(Duration::from_secs(10), 2);
        for _ in 0..5 {
            let (status, body) = ask(&router, "/panic").await;
            assert_eq!(status, 500);
            assert!(body.contains("internal_error") && !body.contains("secret"), "{body}");
            assert_eq!(ask(&router, "/fine").await.0, 204, "and its permit is free again");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_past_its_deadline_is_503() {
        let router = router(Duration::from_secs(10), 2);
        let (status, body) = ask(&router, "/stuck").await;
        assert!(status == 503 && body.contains("\"timeout\""), "{body}");
    }

    #[tokio::test(start_paused = true)]
    async fn more_requests_than_permits_are_503_at_once() {
        let router = router(Duration::from_secs(10), 1);
        let stuck = ask(&router, "/stuck");
        let second = async {
            tokio::task::yield_now().await;
            assert_eq!(ask(&router, "/health").await.0, 204, "health checks need no permit");
            ask(&router, "/fine").await
        };
        let (_, (status, body)) = tokio::join!(stuck, second);
        assert!(status == 503 && body.contains("\"busy\""), "{body}");
    }
}
