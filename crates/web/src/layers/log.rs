//! One structured log line per request.

use std::sync::{Arc, Mutex, PoisonError};

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
pub(crate) async fn log(
    State((counts, faults)): State<(Arc<Metrics>, Arc<FaultLines>)>,
    request: Request,
    next: Next,
) -> Response {
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
        let admitted = faults.admit();
        if let Some(left_out) = admitted.left_out {
            tracing::warn!(
                left_out,
                "requests that failed were left out of the log: there were too many in a minute"
            );
        }
        if admitted.is_written {
            line!(warn);
        } else {
            line!(debug);
        }
    } else {
        line!(info);
    }

    response
}

/// The most lines about failed requests in a minute: a fault of the database must not fill the disk.
const FAULT_LINES: u64 = 600;

/// Counts the lines about failed requests of a minute.
#[derive(Debug)]
pub(crate) struct FaultLines {
    begun: Instant,
    /// The minute, and the lines in it.
    now: Mutex<(u64, u64)>,
}

/// What is written about a failed request.
struct Admitted {
    is_written: bool,
    /// How many lines of an earlier minute were not.
    left_out: Option<u64>,
}

impl Default for FaultLines {
    fn default() -> Self {
        Self { begun: Instant::now(), now: Mutex::default() }
    }
}

impl FaultLines {
    fn admit(&self) -> Admitted {
        let minute = self.begun.elapsed().as_secs() / 60;
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, lines) = *now;
        let lines_now = if known == minute { lines + 1 } else { 1 };
        *now = (minute, lines_now);
        let left_out = lines.saturating_sub(FAULT_LINES);
        Admitted {
            is_written: lines_now <= FAULT_LINES,
            left_out: (known != minute && left_out > 0).then_some(left_out),
        }
    }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failed_requests_have_so_many_lines_a_minute_and_the_next_says_how_many_were_left_out() {
        let lines = FaultLines::default();
        let written = || (0..1_000).filter(|_| lines.admit().is_written).count() as u64;
        assert_eq!(written(), FAULT_LINES);
        assert_eq!(written(), 0);

        tokio::time::advance(Duration::from_mins(1)).await;
        let first = lines.admit();
        assert_eq!((first.is_written, first.left_out), (true, Some(2_000 - FAULT_LINES)));
        assert_eq!(lines.admit().left_out, None);
    }
}
