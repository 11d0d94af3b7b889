//! Measures the own time of each layer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::response::Response;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::metrics::{Metrics, Timed};

/// Wraps a layer and counts the time spent in it, excluding the layers inside.
#[derive(Clone)]
pub(crate) struct Stopwatch {
    pub(crate) what: Timed,
    pub(crate) counts: Arc<Metrics>,
}

/// Time spent so far on a response: in the layer that noted it and those inside it.
#[derive(Clone, Copy)]
struct Spent(Duration);

impl<S> Layer<S> for Stopwatch {
    type Service = Watched<S>;

    fn layer(&self, inner: S) -> Watched<S> {
        Watched { inner, watch: self.clone() }
    }
}

/// A wrapped layer.
#[derive(Clone)]
pub(crate) struct Watched<S> {
    inner: S,
    watch: Stopwatch,
}

impl<S, R> Service<R> for Watched<S>
where
    S: Service<R, Response = Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Watching<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let begun = Instant::now();
        Watching { answer: self.inner.call(request), begun, watch: self.watch.clone() }
    }
}

pin_project! {
    /// The future of a wrapped layer's response.
    pub(crate) struct Watching<F> {
        #[pin]
        answer: F,
        begun: Instant,
        watch: Stopwatch,
    }
}

impl<F, E> Future for Watching<F>
where
    F: Future<Output = Result<Response, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut outcome = match this.answer.poll(cx) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => return Poll::Pending,
        };
        if let Ok(response) = &mut outcome {
            let all = this.begun.elapsed();
            let within = response.extensions_mut().insert(Spent(all)).map_or(Duration::ZERO, |spent| spent.0);
            this.watch.counts.layer(this.watch.what, all.saturating_sub(within));
        }
        Poll::Ready(outcome)
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::extract::Request;
    use axum::middleware::{Next, from_fn};
    use axum::routing::get;
    use tower::{ServiceBuilder, ServiceExt};

    use super::*;

    /// A layer that takes one second before and one second after the inner service.
    async fn slow(request: Request, next: Next) -> Response {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let response = next.run(request).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        response
    }

    async fn handler() {
        tokio::time::sleep(Duration::from_secs(5)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_layer_is_charged_for_its_own_time_only() {
        let counts = Arc::new(Metrics::new(Vec::new()));
        let watch = |what| Stopwatch { what, counts: Arc::clone(&counts) };
        let layers = ServiceBuilder::new()
            .layer(watch(Timed::Log))
            .layer(from_fn(slow))
            .layer(watch(Timed::Cors))
            .layer(from_fn(slow));
        let router = Router::new().route("/", get(handler)).route_layer(watch(Timed::Handler)).layer(layers);
        router.oneshot(Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
        let spent = |what| {
            let (_, took) = counts.layers().find(|(one, _)| *one == what).unwrap();
            (took.count, Duration::from_secs_f64(took.sum).as_secs())
        };
        assert_eq!(spent(Timed::Handler), (1, 5));
        assert_eq!(spent(Timed::Cors), (1, 2));
        assert_eq!(spent(Timed::Log), (1, 2));
        assert_eq!(spent(Timed::Detach), (0, 0));
    }
}
