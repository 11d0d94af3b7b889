//! The OpenAPI 3.1 document, generated from the endpoints.

use std::collections::BTreeMap;

use http::StatusCode;
use protocol::wire::oauth::OAuthError;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use crate::api::ROUTES;
use crate::endpoint::{Caller, Dialect, Group, Listener, Mount, Parameter, RequestDescription, Verb};
use crate::problem::ProblemKind;
use crate::request::operation::Route;

const JSON: &str = "application/json";

/// The document, for clients of `public_url`.
pub fn document(public_url: &str) -> Value {
    // Of an answer's body: what it may leave out is not required. Inputs have schemas of their own.
    let mut settings = SchemaSettings::draft2020_12().for_serialize();
    settings.definitions_path = "/components/schemas".into();
    let mut schemas = settings.into_generator();
    let mut paths = Map::new();
    for (route, mount) in listed() {
        let described = describe(route, mount, &mut schemas);
        let method = route.endpoint.verb.as_str().to_ascii_lowercase();
        if let Some(item) = paths.entry(mount.path).or_insert_with(|| json!({})).as_object_mut() {
            item.insert(method, described);
        }
    }

    let mut components = schemas.take_definitions(true);
    components.values_mut().for_each(require_no_null);
    components.insert("Problem".to_owned(), problem_schema());
    components.insert("MemberError".to_owned(), member_error_schema());
    components.insert("ValidationErrors".to_owned(), validation_errors_schema());
    components.insert("OAuthError".to_owned(), oauth_error_schema());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Gatewright",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Registration, login, refresh, logout. Applications verify access tokens offline.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": public_url }],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
                "client": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "The client's id and secret; they may be in the body instead.",
                },
            },
        },
    })
}

/// A member that may be null is not required: clients that generators make for Dart refuse a required null.
fn require_no_null(schema: &mut Value) {
    let may_be_null = |name: &Value| {
        let kind = schema.pointer(&format!("/properties/{}/type", name.as_str()?))?.as_array()?;
        Some(kind.contains(&"null".into()))
    };
    let required = schema.get("required").and_then(Value::as_array);
    let required: Option<Vec<_>> =
        required.map(|names| names.iter().filter(|name| may_be_null(name) != Some(true)).cloned().collect());
    if let (Some(required), Some(members)) = (required, schema.as_object_mut()) {
        members.insert("required".to_owned(), required.into());
    }
}

/// The documented endpoints, at each of their public paths.
fn listed() -> impl Iterator<Item = (&'static Route, &'static Mount)> {
    let documented = ROUTES.iter().filter(|route| route.endpoint.documented);
    let mounted = documented.flat_map(|route| route.endpoint.mounts.iter().map(move |mount| (route, mount)));
    mounted.filter(|(_, mount)| mount.is_on(Listener::Public))
}

fn describe(route: &Route, mount: &Mount, schemas: &mut SchemaGenerator) -> Value {
    let endpoint = route.endpoint;
    let request = (route.describe_request)(schemas);
    let success = match (route.describe_answer)(schemas) {
        Some((media_type, schema)) => {
            let media_type = endpoint.media_type.unwrap_or(media_type);
            json!({ "description": "Success", "content": { media_type: { "schema": schema } } })
        }
        None => json!({ "description": "Success, without a body" }),
    };

    let mut responses = Map::new();
    let success = with_headers(success, route_headers(mount, &[]));
    responses.insert(endpoint.success.as_str().to_owned(), success);
    for (status, problems) in problems(route, mount, &request) {
        let codes: Vec<_> = problems.iter().map(|problem| problem.words().code).collect();
        let (media_type, schema) = match mount.dialect {
            Dialect::FastApi if status == StatusCode::UNPROCESSABLE_ENTITY => (JSON, "ValidationErrors"),
            Dialect::Details | Dialect::FastApi => ("application/problem+json", "Problem"),
            Dialect::OAuth => (JSON, "OAuthError"),
        };
        let schema = json!({ "$ref": format!("#/components/schemas/{schema}") });
        let content = json!({ media_type: { "schema": schema } });
        let response = json!({ "description": codes.join(", "), "content": content });
        responses.insert(status.as_str().to_owned(), with_headers(response, route_headers(mount, &problems)));
    }

    let method = endpoint.verb.as_str().to_ascii_lowercase();
    let words: Vec<_> = mount.path.split(['/', '-', '{', '}', '.']).filter(|word| !word.is_empty()).collect();
    let summary = match mount.successor {
        Some(successor) => format!("Legacy route; use {successor}."),
        None => endpoint.summary.to_owned(),
    };

    let mut described = Map::new();
    described.insert("operationId".to_owned(), format!("{method}_{}", words.join("_")).into());
    described.insert("summary".to_owned(), summary.into());
    described.insert("tags".to_owned(), json!([endpoint.group.as_str()]));
    described.insert("responses".to_owned(), responses.into());
    if mount.successor.is_some() {
        described.insert("deprecated".to_owned(), true.into());
    }
    if !request.parameters.is_empty() {
        described.insert("parameters".to_owned(), request.parameters.iter().map(parameter).collect());
    }
    if let Some(body) = request.body {
        let content: Map<_, _> = body
            .media_types
            .iter()
            .map(|media_type| ((*media_type).to_owned(), json!({ "schema": body.schema })))
            .collect();
        described.insert("requestBody".to_owned(), json!({ "required": body.required, "content": content }));
    }
    let security = match request.caller {
        // Said, so that checkers of documents do not take it for forgotten.
        Caller::Anonymous => json!([]),
        Caller::Bearer => json!([{ "bearer": [] }]),
        Caller::BearerOrRefreshToken => json!([{ "bearer": [] }, {}]),
        Caller::Client => json!([{ "client": [] }]),
    };
    described.insert("security".to_owned(), security);
    described.into()
}

/// The response with these header fields.
fn with_headers(mut response: Value, headers: Map<String, Value>) -> Value {
    if let Some(members) = response.as_object_mut() {
        members.insert("headers".to_owned(), headers.into());
    }
    response
}

/// The header fields of a response with these problems, or of a success. A field that not all of them have is
/// not required.
fn route_headers(mount: &Mount, problems: &[ProblemKind]) -> Map<String, Value> {
    let header = |required: bool, says: &str| {
        let schema = json!({ "type": "string" });
        json!({ "description": says, "required": required, "schema": schema })
    };
    let mut headers = Map::new();
    headers.insert("X-Request-Id".to_owned(), header(true, "The request id."));
    let mut of_problems = |name: &str, has: &dyn Fn(ProblemKind) -> bool, says: &str| {
        let count = problems.iter().filter(|problem| has(**problem)).count();
        if count > 0 {
            headers.insert(name.to_owned(), header(count == problems.len(), says));
        }
    };
    of_problems("WWW-Authenticate", &|problem| problem.words().challenge.is_some(), "How to authenticate.");
    of_problems("Retry-After", &ProblemKind::says_when, "Seconds after which to try again.");
    if mount.successor.is_some() {
        // A request without one host is refused before its path is looked up.
        let required = !problems.contains(&ProblemKind::HostInvalid);
        headers.insert("Deprecation".to_owned(), header(required, "Since when (RFC 9745)."));
        headers.insert("Link".to_owned(), header(required, "The path that replaces this one."));
        headers.insert("Sunset".to_owned(), header(false, "When the route goes (RFC 8594)."));
    }
    headers
}

fn parameter(parameter: &Parameter) -> Value {
    let Parameter { name, format, in_query } = *parameter;
    let schema = match format {
        "int64" => json!({ "type": "integer", "format": format, "minimum": 0 }),
        _ => json!({ "type": "string", "format": format }),
    };
    match in_query {
        Some(says) => json!({ "name": name, "in": "query", "description": says, "schema": schema }),
        None => json!({ "name": name, "in": "path", "required": true, "schema": schema }),
    }
}

/// The problems of an operation, by status.
fn problems(
    route: &Route,
    mount: &Mount,
    request: &RequestDescription,
) -> BTreeMap<StatusCode, Vec<ProblemKind>> {
    let endpoint = route.endpoint;
    let restated = endpoint.restated.map_or(&[][..], |(_, problems)| problems);
    let mut all: Vec<ProblemKind> =
        [&request.problems, endpoint.problems, restated].into_iter().flatten().copied().collect();
    if endpoint.changes() && endpoint.verb != Verb::Get {
        all.push(ProblemKind::AuditUnavailable);
    }
    if mount.successor.is_some() {
        all.push(ProblemKind::LegacyGone);
    }
    if endpoint.is_limited() {
        all.push(ProblemKind::RateLimited);
    }
    if endpoint.group != Group::Health {
        all.push(ProblemKind::Busy);
    }
    all.extend([ProblemKind::HostInvalid, ProblemKind::Timeout, ProblemKind::Internal]);

    let mut by_status = BTreeMap::<StatusCode, Vec<_>>::new();
    for problem in all {
        let same_status = by_status.entry(endpoint.status_of(problem)).or_default();
        if !same_status.contains(&problem) {
            same_status.push(problem);
        }
    }
    by_status
}

/// All members in one schema: some generators of clients take an `allOf` of one part for that part alone.
fn oauth_error_schema() -> Value {
    let codes = OAuthError::ALL.map(OAuthError::code);
    let more = json!({
        "error": open_words("The code of OAuth 2.0; later versions may have others.", &codes),
        "error_description": { "type": "string", "description": "As `detail`." },
    });
    problem_with("Problem details with the error of OAuth 2.0 (RFC 6749 §5.2).", &more)
}

/// A text that is one of these words today. Not an `enum`: generated clients refuse an answer with a word
/// that their document does not have.
fn open_words(says: &str, words: &[&str]) -> Value {
    json!({ "type": "string", "description": says, "x-extensible-enum": words })
}

fn validation_errors_schema() -> Value {
    json!({
        "type": "object",
        "description": "FastAPI's body for invalid members.",
        "required": ["detail"],
        "properties": { "detail": errors_schema() },
    })
}

fn errors_schema() -> Value {
    json!({ "type": "array", "items": { "$ref": "#/components/schemas/MemberError" } })
}

/// A schema with a name: generators of clients name a nameless one after each place where they find it.
fn member_error_schema() -> Value {
    json!({
        "type": "object",
        "description": "What is wrong with one member of the request.",
        "required": ["loc", "msg", "type"],
        "properties": {
            "loc": {
                "type": "array",
                "description": "The place: `body`, and the name of the member.",
                "items": { "type": "string" },
            },
            "msg": { "type": "string", "description": "The reason, for people." },
            "type": { "type": "string", "description": "The kind of the reason, for programs." },
        },
    })
}

fn problem_schema() -> Value {
    problem_with("Problem details (RFC 9457).", &Value::Null)
}

/// The schema of a problem, with more members that are required.
fn problem_with(about: &str, more: &Value) -> Value {
    let codes: Vec<_> = ProblemKind::ALL.iter().map(|problem| problem.words().code).collect();
    let mut properties = Map::from_iter([
        (
            "type".to_owned(),
            json!({ "type": "string", "format": "uri", "description": "urn:gatewright:problem:CODE" }),
        ),
        ("code".to_owned(), open_words("Stable code, for programs; later versions may have others.", &codes)),
        ("title".to_owned(), json!({ "type": "string", "description": "For people." })),
        ("status".to_owned(), json!({ "type": "integer", "description": "The status of the answer." })),
        ("detail".to_owned(), json!({ "type": "string", "description": "For people." })),
        ("instance".to_owned(), json!({ "type": "string", "description": "The request id." })),
    ]);
    properties.extend(more.as_object().cloned().unwrap_or_default());
    let required: Vec<_> = properties.keys().cloned().collect();
    properties.insert("errors".to_owned(), errors_schema());
    json!({ "type": "object", "description": about, "required": required, "properties": properties })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_an_id_of_its_own() {
        let document = document("http://localhost");
        let mut ids: Vec<_> = document["paths"]
            .as_object()
            .unwrap()
            .values()
            .flat_map(|item| item.as_object().unwrap().values())
            .map(|operation| operation["operationId"].as_str().unwrap())
            .collect();
        assert_eq!(ids.len(), listed().count(), "two operations share a path and a method");
        ids.sort_unstable();
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "{ids:?}");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document("http://localhost");
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
    }

    #[test]
    fn problem_codes_are_unique() {
        let mut codes: Vec<_> = ProblemKind::ALL.iter().map(|problem| problem.words().code).collect();
        codes.sort_unstable();
        assert!(codes.windows(2).all(|pair| pair[0] != pair[1]), "{codes:?}");
    }
}
