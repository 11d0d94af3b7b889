//! Reads the body of a request within its bounds.

use std::error::Error;
use std::io;
use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use zeroize::{Zeroize as _, Zeroizing};

use super::ReadBody;
use crate::problem::Problem;

/// The request with its body in [`ReadBody`], unless it is there already.
///
/// # Errors
/// [`Problem::BodyTooLarge`], [`Problem::BodyTimeout`], [`Problem::MalformedBody`] for one that broke off,
/// and [`Problem::UnsupportedMediaType`] for one with a content coding (RFC 9110 §15.5.16).
pub(super) async fn with_body(request: Request) -> Result<Request, Problem> {
    if request.extensions().get::<ReadBody>().is_some() {
        return Ok(request);
    }
    let (parts, body) = request.into_parts();
    let body = read(&parts.headers, body).await?;
    let mut request = Request::from_parts(parts, Body::empty());
    request.extensions_mut().insert(ReadBody(Arc::new(body)));
    Ok(request)
}

/// The problem of a body that could not be read to its end.
fn problem_of(error: &(dyn Error + 'static)) -> Problem {
    let is_late = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return Problem::BodyTooLarge;
        }
        if error.downcast_ref().is_some_and(is_late) {
            return Problem::BodyTimeout;
        }
        cause = error.source();
    }
    Problem::MalformedBody
}

/// Whether a coding was applied to the body; `identity` is none.
fn is_coded(headers: &http::HeaderMap) -> bool {
    let codings = headers.get_all(http::header::CONTENT_ENCODING).iter();
    codings.into_iter().any(|coding| !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"))
}

/// Reads the body into memory that is overwritten afterwards, because it may hold a password.
async fn read(headers: &http::HeaderMap, body: Body) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let announced =
        headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > model::bounds::BODY_BYTES as u64) {
        return Err(Problem::BodyTooLarge);
    }
    if body.is_end_stream() {
        return Ok(Zeroizing::default());
    }
    if is_coded(headers) {
        return Err(Problem::UnsupportedMediaType);
    }

    // A vector that grows leaves copies behind: a body of unknown length gets room for the longest.
    let room = announced.and_then(|length| usize::try_from(length).ok());
    let mut whole = Zeroizing::new(Vec::with_capacity(room.unwrap_or(model::bounds::BODY_BYTES)));
    let mut body = Limited::new(body, model::bounds::BODY_BYTES);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| problem_of(&*error))?;
        let Ok(part) = frame.into_data() else { continue };
        whole.extend_from_slice(&part);
        // The connection's own buffer is overwritten where nothing else uses it.
        if let Ok(mut part) = part.try_into_mut() {
            part.zeroize();
        }
    }
    Ok(whole)
}
