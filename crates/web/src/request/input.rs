//! The bodies of requests and responses, and the `Authorization` header.

use std::sync::Arc;

use axum::response::{IntoResponse as _, Response};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use model::Secret;
use model::profile::FieldError;
use protocol::wire::authorization::Authorization;
use protocol::wire::media_type::Parameterized;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Map, Value, json};
use zeroize::{Zeroize as _, Zeroizing};

use crate::endpoint::{BodyDescription, Parameter};
use crate::problem::{Problem, ProblemKind};
use crate::request::form;
use crate::request::operation::Answer;

/// A request whose body is read.
pub(crate) struct Received {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Arc<Zeroizing<Vec<u8>>>,
    /// The parameters in the path; read only for inputs that declare some.
    pub(crate) parameters: Vec<(String, String)>,
    /// The query, as it was sent.
    pub(crate) query: String,
}

impl Received {
    /// A parameter of the query that is a whole number, not negative; `None` if it is absent.
    ///
    /// # Errors
    /// [`Problem::MalformedQuery`] for another value, and for a parameter that is repeated.
    pub(crate) fn whole_number(&self, name: &str) -> Result<Option<i64>, Problem> {
        let mut values = form_urlencoded::parse(self.query.as_bytes()).filter(|(given, _)| given == name);
        let value = values.next().map(|(_, value)| value.parse().ok().filter(|number| *number >= 0));
        match (value, values.next()) {
            (None, _) => Ok(None),
            (Some(Some(number)), None) => Ok(Some(number)),
            (Some(_), _) => Err(Problem::MalformedQuery),
        }
    }
}

/// What a handler reads of a request.
pub(crate) trait Input: Sized + Send + 'static {
    /// The parameters that it reads from the path and the query.
    const PARAMETERS: &'static [Parameter] = &[];
    /// The problems of reading them.
    const PROBLEMS: &'static [ProblemKind] = &[];

    /// Parses the request.
    ///
    /// # Errors
    /// [`Problem::UnsupportedMediaType`], [`Problem::MalformedBody`], [`Problem::Validation`].
    fn read(received: &Received) -> Result<Self, Problem>;

    /// The body that a client sends; `None` when it is ignored.
    fn describe(_: &mut SchemaGenerator) -> Option<BodyDescription> {
        None
    }
}

/// The problems of an input with a body.
pub(crate) const BODY_PROBLEMS: [ProblemKind; 5] = [
    ProblemKind::MalformedBody,
    ProblemKind::BodyTooLarge,
    ProblemKind::BodyTimeout,
    ProblemKind::UnsupportedMediaType,
    ProblemKind::Validation,
];

/// The body is ignored.
impl Input for () {
    fn read(_: &Received) -> Result<Self, Problem> {
        Ok(())
    }
}

/// Parsed from the members of a JSON object, or from the fields of a form. Declared by `input!`.
pub(crate) trait FromMembers: JsonSchema + Sized + Send + 'static {
    /// Takes the members that it knows; `members` collects the errors.
    fn from_members(members: &mut Members) -> Option<Self>;
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

const JSON: &str = "application/json";

impl<T: FromMembers> Input for Json<T> {
    fn read(received: &Received) -> Result<Self, Problem> {
        let kind = content_type(&received.headers).ok_or(Problem::UnsupportedMediaType)?;
        if kind.value != JSON && !kind.value.ends_with("+json") {
            return Err(Problem::UnsupportedMediaType);
        }
        // A byte order mark is skipped (RFC 8259 §8.1).
        let text = received.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&received.body);
        let value = protocol::wire::strict_json::parse(text).ok_or(Problem::MalformedBody)?;
        let Value::Object(members) = value else {
            let message = "this has to be an object".to_owned();
            return Err(Problem::Validation(vec![FieldError {
                field: "",
                kind: "model_attributes_type",
                message,
            }]));
        };
        Members::read(members).map(Self)
    }

    fn describe(schemas: &mut SchemaGenerator) -> Option<BodyDescription> {
        Some(BodyDescription { media_types: &[JSON], required: true, schema: schemas.subschema_for::<T>() })
    }
}

impl<T: FromMembers> Input for MaybeJson<T> {
    fn read(received: &Received) -> Result<Self, Problem> {
        if received.body.is_empty() {
            return Ok(Self(None));
        }
        Json::read(received).map(|Json(input)| Self(Some(input)))
    }

    fn describe(schemas: &mut SchemaGenerator) -> Option<BodyDescription> {
        Json::<T>::describe(schemas).map(|body| BodyDescription { required: false, ..body })
    }
}

impl<T: FromMembers> Input for Form<T> {
    fn read(received: &Received) -> Result<Self, Problem> {
        let fields = form::fields(&received.headers, &received.body)?;
        Members::read(fields).map(Self)
    }

    fn describe(schemas: &mut SchemaGenerator) -> Option<BodyDescription> {
        Some(BodyDescription {
            media_types: &form::MEDIA_TYPES,
            required: true,
            schema: schemas.subschema_for::<T>(),
        })
    }
}

impl<T: Serialize + JsonSchema + Send> Answer for Json<T> {
    fn describe(schemas: &mut SchemaGenerator) -> Option<(&'static str, Schema)> {
        Some((JSON, schemas.subschema_for::<T>()))
    }

    fn into_response(self, status: StatusCode) -> Response {
        (status, axum::Json(self.0)).into_response()
    }
}

/// A response without a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoContent;

impl Answer for NoContent {
    fn describe(_: &mut SchemaGenerator) -> Option<(&'static str, Schema)> {
        None
    }

    fn into_response(self, status: StatusCode) -> Response {
        status.into_response()
    }
}

/// The content type; `None` if it is missing, or its charset is not UTF-8.
pub(super) fn content_type(headers: &HeaderMap) -> Option<Parameterized> {
    let kind = Parameterized::parse(headers.get(CONTENT_TYPE)?.to_str().ok()?);
    let charset = kind.parameter("charset").unwrap_or("utf-8");
    let is_utf8 = ["utf-8", "utf8", "us-ascii"].iter().any(|known| known.eq_ignore_ascii_case(charset));
    is_utf8.then_some(kind)
}

/// The members of a request that are not taken yet, and the errors so far.
#[derive(Debug)]
pub(crate) struct Members {
    members: Map<String, Value>,
    errors: Vec<FieldError>,
}

/// Overwrites what was not taken, such as the password of a request with errors.
impl Drop for Members {
    fn drop(&mut self) {
        for value in self.members.values_mut() {
            if let Value::String(text) = value {
                text.zeroize();
            }
        }
    }
}

impl Members {
    fn read<T: FromMembers>(members: Map<String, Value>) -> Result<T, Problem> {
        let mut this = Self { members, errors: Vec::new() };
        match T::from_members(&mut this) {
            Some(input) if this.errors.is_empty() => Ok(input),
            _ => Err(Problem::Validation(std::mem::take(&mut this.errors))),
        }
    }

    /// Takes a member of the type that the input declares.
    pub(crate) fn take<T: Member>(&mut self, name: &'static str) -> Option<T> {
        match T::parse(self.members.remove(name)) {
            Ok(value) => Some(value),
            Err(Mismatch::Missing) => {
                let message = "Field required".to_owned();
                self.wrong(FieldError { field: name, kind: "missing", message })
            }
            Err(Mismatch::NotAString) => self.wrong(FieldError::not_a_string(name)),
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

/// Why a member does not have the declared type.
pub(crate) enum Mismatch {
    Missing,
    NotAString,
}

/// A type that a member of an input can have.
pub(crate) trait Member: Sized {
    /// Whether the member may be absent or null.
    const OPTIONAL: bool;

    /// Parses the member.
    fn parse(value: Option<Value>) -> Result<Self, Mismatch>;
}

impl Member for String {
    const OPTIONAL: bool = false;

    fn parse(value: Option<Value>) -> Result<Self, Mismatch> {
        match value {
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(Mismatch::NotAString),
            None => Err(Mismatch::Missing),
        }
    }
}

impl Member for Secret<String> {
    const OPTIONAL: bool = false;

    fn parse(value: Option<Value>) -> Result<Self, Mismatch> {
        String::parse(value).map(Self::new)
    }
}

impl<T: Member> Member for Option<T> {
    const OPTIONAL: bool = true;

    fn parse(value: Option<Value>) -> Result<Self, Mismatch> {
        match value {
            None | Some(Value::Null) => Ok(None),
            given => T::parse(given).map(Some),
        }
    }
}

/// A text in the schema of an input.
pub(crate) struct TextMember {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) optional: bool,
    /// Further members of its schema: no more than what holds for every configuration.
    pub(crate) constraints: Option<Value>,
}

impl TextMember {
    fn schema(&self, null: bool) -> Value {
        let kind = if self.optional && null { json!(["string", "null"]) } else { json!("string") };
        let mut schema =
            Map::from_iter([("type".to_owned(), kind), ("description".to_owned(), self.about.into())]);
        if let Some(Value::Object(constraints)) = &self.constraints {
            schema.extend(constraints.clone());
        }
        schema.into()
    }
}

/// The schema of the profile attributes that are not configured.
pub(crate) fn profile_attributes() -> Map<String, Value> {
    let text = |about: &str| json!({ "type": ["string", "null"], "description": about });
    // Without a type: generators of Dart clients make code of several that does not compile.
    let income = json!({
        "examples": [50_000, "75000.50"],
        "description": "A number or its text: 0 or more, at most 18 digits before the point and 6 after it.",
    });
    Map::from_iter([
        ("country".to_owned(), text("ISO 3166-1 alpha-2.")),
        ("annual_income".to_owned(), income),
        ("timezone".to_owned(), text("An IANA name.")),
    ])
}

/// The schema of a JSON input: an object of texts, and with `rest` the attributes of the profile.
pub(crate) fn object(about: &str, members: &[TextMember], rest: Option<&str>) -> Schema {
    let mut schema = of_texts(about, members, true);
    if let Some(rest) = rest {
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.extend(profile_attributes());
        }
        schema.insert("additionalProperties".to_owned(), json!({ "description": rest }));
    }
    schema
}

/// The schema of a form: its fields are texts, which cannot be null.
pub(crate) fn form_object(about: &str, members: &[TextMember]) -> Schema {
    of_texts(about, members, false)
}

fn of_texts(about: &str, members: &[TextMember], null: bool) -> Schema {
    let required: Vec<_> =
        members.iter().filter(|member| !member.optional).map(|member| member.name).collect();
    let properties: Map<_, _> =
        members.iter().map(|member| (member.name.to_owned(), member.schema(null))).collect();
    let mut schema = json_schema!({ "type": "object", "description": about, "properties": properties });
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema
}

/// Declares an input: its name in the OpenAPI document, and its members, each with its documentation. After
/// `where` stand further members of its schema; after `..`, one more member keeps the remaining ones as they
/// are. `form` stands after the name of a form.
macro_rules! input {
    (
        $(#[doc = $about:literal])+
        $name:ident as $title:literal $($form:ident)? {
            $($(#[doc = $says:literal])+ $member:ident: $type:ty $(where $constraints:tt)?,)*
            $(.. $(#[doc = $others:literal])+ $rest:ident)?
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug)]
        pub(crate) struct $name {
            $($(#[doc = $says])+ pub(crate) $member: $type,)*
            $($(#[doc = $others])+ pub(crate) $rest: serde_json::Map<String, serde_json::Value>,)?
        }

        impl $crate::request::input::FromMembers for $name {
            fn from_members(members: &mut $crate::request::input::Members) -> Option<Self> {
                $(let $member = members.take::<$type>(stringify!($member));)*
                $(let $rest = members.rest();)?
                Some(Self { $($member: $member?,)* $($rest,)? })
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $title.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let members = [$($crate::request::input::TextMember {
                    name: stringify!($member),
                    about: concat!($($says),+).trim_ascii_start(),
                    optional: <$type as $crate::request::input::Member>::OPTIONAL,
                    constraints: None::<serde_json::Value>$(.or(Some(serde_json::json!($constraints))))?,
                }),*];
                let rest: &[&str] = &[$(concat!($($others),+).trim_ascii_start())?];
                let is_form = !<[&str]>::is_empty(&[$(stringify!($form))?]);
                let about = concat!($($about),+).trim_ascii_start();
                if is_form {
                    return $crate::request::input::form_object(about, &members);
                }
                $crate::request::input::object(about, &members, rest.first().copied())
            }
        }
    };
}
pub(crate) use input;

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
