//! The layers around every request. The router lists them in order, from the outside in.

mod body;
mod cors;
mod deprecated;
mod detach;
mod headers;
mod host;
mod limits;
mod log;
mod problems;
mod request_origin;
mod spellings;
mod timed;

pub use cors::ANY_LOCAL_PORT;
pub(crate) use cors::{Cors, cors};
pub(crate) use deprecated::{Deprecated, deprecated};
pub(crate) use detach::{Detach, detach};
pub(crate) use headers::{SecurityHeaders, security_headers};
pub(crate) use host::host;
pub(crate) use limits::{Counted, RouteLimits, limits};
pub(crate) use log::{FaultLines, log, note_mount};
pub(crate) use problems::problems;
pub(crate) use request_origin::{Origins, origin};
pub(crate) use spellings::{Spellings, path_of};
pub(crate) use timed::Stopwatch;

use std::sync::Arc;

use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use model::{Clock, RequestId, Rng};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::endpoint::Dialect;
use crate::problem::Problem;

/// The origin of a request: its id, client address and user agent.
#[derive(Clone, Debug)]
pub(crate) struct RequestOrigin(pub(crate) Arc<model::Origin>);

/// Cancelled when the client disconnects.
#[derive(Clone, Debug)]
pub(crate) struct Gone(pub(crate) CancellationToken);

/// The body of a request, read within its bounds before its task starts.
#[derive(Clone, Debug)]
pub(crate) struct ReadBody(pub(crate) Arc<Zeroizing<Vec<u8>>>);

/// Makes the listener's responses to input that did not become a request (408, 431): body and headers are
/// those of every other problem.
#[derive(Clone)]
pub(crate) struct Refusals {
    pub(crate) headers: SecurityHeaders,
    pub(crate) clock: Clock,
    pub(crate) rng: Rng,
}

impl Refusals {
    /// The response with this status.
    pub(crate) fn response(&self, status: StatusCode) -> Response {
        let problem = match status {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Problem::HeadersTooLarge,
            StatusCode::REQUEST_TIMEOUT => Problem::BodyTimeout,
            StatusCode::PAYLOAD_TOO_LARGE => Problem::BodyTooLarge,
            _ => Problem::MalformedBody,
        };
        let id = RequestId::new(self.clock.now(), &self.rng);
        let response = problem.clone().into_response();
        let mut response = problems::write(&problem, Dialect::Details, Some(id.as_str()), response);
        self.headers.add(response.headers_mut());
        request_origin::write_id(&id, response.headers_mut());
        response
    }
}
