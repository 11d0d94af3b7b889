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

use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::StatusCode;
use tokio_util::sync::CancellationToken;

use crate::problem::Problem;

/// Where a request came from: its id, the client's address, its user agent.
#[derive(Clone, Debug)]
pub(crate) struct RequestOrigin(pub(crate) Arc<model::Origin>);

/// Cancelled when the client has hung up.
#[derive(Clone, Debug)]
pub(crate) struct Gone(pub(crate) CancellationToken);

/// The body of a request, read within its bounds before the request got a task.
#[derive(Clone, Debug)]
pub(crate) struct ReadBody(pub(crate) Bytes);

/// The answer of the listener to what never became a request: 400, 408, 413 and 431, as problem details.
pub fn refusal(status: StatusCode) -> Response {
    let problem = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Problem::HeadersTooLarge,
        StatusCode::REQUEST_TIMEOUT => Problem::BodyTimeout,
        StatusCode::PAYLOAD_TOO_LARGE => Problem::BodyTooLarge,
        _ => Problem::MalformedBody,
    };
    let response = problem.clone().into_response();
    problems::write(&problem, Dialect::Details, None, response)
}
