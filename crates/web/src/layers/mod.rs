//! The layers: what every request goes through, from the outside in. The router lists them in this order.

mod cors;
mod detach;
mod headers;
mod log;
mod origin;
mod problems;
mod timed;

pub(crate) use cors::{Cors, cors};
pub(crate) use detach::{Detach, detach};
pub(crate) use headers::{SecurityHeaders, security_headers};
pub(crate) use log::{log, note_route};
pub(crate) use origin::{Origins, origin};
pub(crate) use problems::{Dialect, dialect, problems};
pub(crate) use timed::{Stopwatch, Timed};

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

/// Where a request came from: its id, the client's address, its user agent.
#[derive(Clone, Debug)]
pub(crate) struct RequestOrigin(pub(crate) Arc<model::Origin>);

/// Cancelled when the client has hung up.
#[derive(Clone, Debug)]
pub(crate) struct Gone(pub(crate) CancellationToken);

/// The body of a problem for whoever answers before the router does: 408 and 431 of the listener.
pub fn refusal(status: http::StatusCode) -> axum::response::Response {
    use crate::problem::Problem;
    let problem = match status {
        http::StatusCode::REQUEST_TIMEOUT => Problem::BodyTimeout,
        _ => Problem::HeadersTooLarge,
    };
    problems::write(
        &problem,
        Dialect::Details,
        "",
        axum::response::IntoResponse::into_response(problem.clone()),
    )
}
