//! Parses the body of a request and its `Authorization` header.

use bytes::Bytes;
use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use model::Secret;
use model::profile::FieldError;
use protocol::wire::authorization::Authorization;
use serde_json::{Map, Value};

use crate::problem::Problem;

/// The body that a handler expects.
pub(crate) trait Input: Sized + Send + 'static {
    /// Parses the body.
    ///
    /// # Errors
    /// [`Problem::UnsupportedMediaType`], [`Problem::MalformedBody`], [`Problem::Validation`].
    fn read(headers: &HeaderMap, body: &Bytes) -> Result<Self, Problem>;
}

/// The body is ignored.
impl Input for () {
    fn read(_: &HeaderMap, _: &Bytes) -> Result<Self, Problem> {
        Ok(())
    }
}

/// Parsed from a JSON object, member by member.
pub(crate) trait FromMembers: Sized + Send + 'static {
    /// Takes the members that it knows; `members` collects the errors.
    fn from_members(members: &mut Members) -> Option<Self>;
}

/// Parsed from a form, field by field.
pub(crate) trait FromFields: Sized + Send + 'static {
    /// Takes the fields that it knows.
    fn from_fields(fields: &mut Members) -> Option<Self>;
}

/// A JSON body (RFC 8259).
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

/// A form body (`application/x-www-form-urlencoded`).
#[derive(Debug)]
pub(crate) struct Form<T>(pub(crate) T);

/// A JSON body that may be absent.
#[derive(Debug)]
pub(crate) struct MaybeJson<T>(pub(crate) Option<T>);

impl<T: FromMembers> Input for Json<T> {
    fn read(headers: &HeaderMap, body: &Bytes) -> Result<Self, Problem> {
        if !content_type(headers).is_some_and(|kind| kind == "application/json" || kind.ends_with("+json")) {
            return Err(Problem::UnsupportedMediaType);
        }
        let value = protocol::wire::strict_json::parse(body).ok_or(Problem::MalformedBody)?;
        let Value::Object(members) = value else {
            let message = "this has to be an object".to_owned();
            return Err(Problem::Validation(vec![FieldError {
                field: "",
                kind: "model_attributes_type",
                message,
            }]));
        };
        Members::read(members, T::from_members).map(Self)
    }
}

impl<T: FromMembers> Input for MaybeJson<T> {
    fn read(headers: &HeaderMap, body: &Bytes) -> Result<Self, Problem> {
        if body.is_empty() {
            return Ok(Self(None));
        }
        Json::read(headers, body).map(|Json(input)| Self(Some(input)))
    }
}

impl<T: FromFields> Input for Form<T> {
    fn read(headers: &HeaderMap, body: &Bytes) -> Result<Self, Problem> {
        if content_type(headers).as_deref() != Some("application/x-www-form-urlencoded") {
            return Err(Problem::UnsupportedMediaType);
        }
        let mut fields = Map::new();
        for (name, value) in form_urlencoded::parse(body) {
            // A repeated field is refused, because two readers could interpret it differently (RFC 6749
            // §3.2).
            if fields.insert(name.into_owned(), Value::String(value.into_owned())).is_some() {
                return Err(Problem::MalformedBody);
            }
        }
        Members::read(fields, T::from_fields).map(Self)
    }
}

fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next()?.trim().to_ascii_lowercase())
}

/// The members of a request that are not taken yet, and the errors so far.
#[derive(Debug)]
pub(crate) struct Members {
    members: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Members {
    fn read<T>(members: Map<String, Value>, read: impl FnOnce(&mut Self) -> Option<T>) -> Result<T, Problem> {
        let mut this = Self { members, errors: Vec::new() };
        match read(&mut this) {
            Some(input) if this.errors.is_empty() => Ok(input),
            _ => Err(Problem::Validation(this.errors)),
        }
    }

    /// A required string.
    pub(crate) fn string(&mut self, name: &'static str) -> Option<String> {
        match self.members.remove(name) {
            Some(Value::String(text)) => Some(text),
            Some(_) => self.wrong(FieldError::not_a_string(name)),
            None => {
                let message = "Field required".to_owned();
                self.wrong(FieldError { field: name, kind: "missing", message })
            }
        }
    }

    /// A required secret string.
    pub(crate) fn secret(&mut self, name: &'static str) -> Option<Secret<String>> {
        self.string(name).map(Secret::new)
    }

    /// An optional string; it may be absent or null.
    pub(crate) fn optional_string(&mut self, name: &'static str) -> Option<String> {
        match self.members.remove(name) {
            Some(Value::String(text)) => Some(text),
            None | Some(Value::Null) => None,
            Some(_) => self.wrong(FieldError::not_a_string(name)),
        }
    }

    /// The remaining members.
    pub(crate) fn rest(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.members)
    }

    fn wrong<T>(&mut self, error: FieldError) -> Option<T> {
        self.errors.push(error);
        None
    }
}

/// The `Authorization` header of a request, if there is exactly one that can be parsed.
pub(crate) fn authorization(headers: &HeaderMap) -> Option<Authorization> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let first = values.next()?;
    // Two of them are ambiguous.
    if values.next().is_some() {
        return None;
    }
    Authorization::parse(first.as_bytes()).ok()
}
