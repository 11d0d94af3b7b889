//! Forms: of URL-encoded fields, as OAuth 2.0 says, and multipart, as the test clients of some frameworks
//! send.

use http::HeaderMap;
use protocol::wire::media_type::multipart_fields;
use serde_json::{Map, Value};

use super::input::content_type;
use crate::problem::Problem;

const URL_ENCODED: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data";

/// The documented media types: one, because generated clients send a body once in each of them. Multipart is
/// for clients of other services.
pub(crate) const MEDIA_TYPES: [&str; 1] = [URL_ENCODED];

/// The fields of a form.
///
/// # Errors
/// [`Problem::UnsupportedMediaType`]; [`Problem::MalformedBody`] also for a repeated field, because two
/// readers could interpret it differently (RFC 6749 §3.2).
pub(crate) fn fields(headers: &HeaderMap, body: &[u8]) -> Result<Map<String, Value>, Problem> {
    let kind = content_type(headers).ok_or(Problem::UnsupportedMediaType)?;
    match kind.value.as_str() {
        URL_ENCODED => {
            let fields = form_urlencoded::parse(body);
            unique(fields.map(|(name, value)| (name.into_owned(), value.into_owned())))
        }
        MULTIPART => {
            let fields = multipart_fields(kind.parameter("boundary").unwrap_or_default(), body);
            let fields = fields.ok_or(Problem::MalformedBody)?.into_iter();
            unique(fields.map(|(name, value)| (name, value.to_owned())))
        }
        _ => Err(Problem::UnsupportedMediaType),
    }
}

fn unique(fields: impl Iterator<Item = (String, String)>) -> Result<Map<String, Value>, Problem> {
    let mut unique = Map::new();
    for (name, value) in fields {
        if unique.insert(name, Value::String(value)).is_some() {
            return Err(Problem::MalformedBody);
        }
    }
    Ok(unique)
}
