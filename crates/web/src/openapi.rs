//! The OpenAPI 3.1 document, generated from one table of operations and the types of the bodies.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use crate::api::body::{
    EraseInput, IntrospectInput, LoginBody, LoginInput, LogoutInput, PasswordInput, PatchInput, RefreshInput,
    RegisterInput, SessionBody, TokenBody, TokenInput, UserBody,
};
use crate::problem::Problem;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// The authentication of an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Caller {
    Anonymous,
    Bearer,
    Client,
}

/// One operation.
struct Operation {
    method: &'static str,
    path: String,
    summary: &'static str,
    caller: Caller,
    request: Option<(&'static str, Schema)>,
    status: u16,
    answer: Option<(&'static str, Schema)>,
    problems: Vec<Problem>,
    deprecated: bool,
}

impl Operation {
    fn new(method: &'static str, path: impl Into<String>, summary: &'static str) -> Self {
        Self {
            method,
            path: path.into(),
            summary,
            caller: Caller::Anonymous,
            request: None,
            status: 200,
            answer: None,
            problems: Vec::new(),
            deprecated: false,
        }
    }

    fn by(mut self, caller: Caller) -> Self {
        self.caller = caller;
        if caller == Caller::Bearer {
            self.problems.extend([Problem::TokenMissing, Problem::TokenInvalid, Problem::Unavailable]);
        }
        self
    }

    fn takes(mut self, kind: &'static str, schema: Schema) -> Self {
        self.request = Some((kind, schema));
        self.problems.extend([
            Problem::MalformedBody,
            Problem::BodyTooLarge,
            Problem::BodyTimeout,
            Problem::UnsupportedMediaType,
            Problem::Validation(Vec::new()),
        ]);
        self
    }

    fn gives(mut self, status: u16, schema: Schema) -> Self {
        (self.status, self.answer) = (status, Some((JSON, schema)));
        self
    }

    fn gives_nothing(mut self) -> Self {
        self.status = 204;
        self
    }

    fn or(mut self, problems: impl IntoIterator<Item = Problem>) -> Self {
        self.problems.extend(problems);
        self
    }

    fn old(mut self) -> Self {
        self.deprecated = true;
        self
    }
}

/// The document, for clients of `public_url`.
pub fn document(public_url: &str) -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    let mut schemas = settings.into_generator();
    let mut paths = Map::new();
    for operation in operations(&mut schemas) {
        let (described, method) = (describe(&operation), operation.method);
        if let Some(item) = paths.entry(operation.path).or_insert_with(|| json!({})).as_object_mut() {
            item.insert(method.to_owned(), described);
        }
    }

    let mut components = schemas.take_definitions(true);
    components.insert("Problem".to_owned(), problem_schema());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Gatewright",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Registration, login, refresh, logout. Applications verify access tokens offline.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": public_url }],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
                "client": { "type": "http", "scheme": "basic", "description": "The client's id and secret." },
            },
        },
    })
}

/// The paths and methods of the document, for the test that calls each of them.
#[cfg(test)]
pub(crate) fn listed() -> Vec<(&'static str, String)> {
    let mut schemas = SchemaSettings::draft2020_12().into_generator();
    operations(&mut schemas).into_iter().map(|operation| (operation.method, operation.path)).collect()
}

fn operations(schemas: &mut SchemaGenerator) -> Vec<Operation> {
    let mut all = v1(schemas);
    all.extend(fastapi_dialect(schemas));
    all.extend(shared(schemas, "/api/v1/auth"));
    all.extend(shared(schemas, "/api/auth"));
    for operation in all.iter_mut().filter(|operation| operation.method != "get") {
        operation.problems.push(Problem::AuditUnavailable);
    }
    all.extend(others());
    all
}

fn of<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Schema {
    schemas.subschema_for::<T>()
}

fn registering() -> [Problem; 2] {
    [Problem::Busy(std::time::Duration::ZERO), Problem::Unavailable]
}

fn v1(schemas: &mut SchemaGenerator) -> Vec<Operation> {
    let busy = registering;

    vec![
        Operation::new("post", "/api/v1/auth/register", "Create an account.")
            .takes(JSON, of::<RegisterInput>(schemas))
            .gives(201, of::<UserBody>(schemas))
            .or([Problem::EmailTaken, Problem::UsernameTaken])
            .or(busy()),
        Operation::new("post", "/api/v1/auth/token", "Log in with the OAuth 2.0 password form.")
            .takes(FORM, of::<TokenInput>(schemas))
            .gives(200, of::<TokenBody>(schemas))
            .or([Problem::InvalidCredentials, Problem::ScopeNotGranted, Problem::GrantTypeUnsupported])
            .or(busy()),
        Operation::new("post", "/api/v1/auth/introspect", "Introspect a token (RFC 7662).")
            .by(Caller::Client)
            .takes(FORM, of::<IntrospectInput>(schemas))
            .gives(
                200,
                Schema::try_from(json!({ "type": "object", "required": ["active"],
                "properties": { "active": { "type": "boolean" } } }))
                .unwrap_or_default(),
            )
            .or([Problem::ClientInvalid, Problem::Unavailable]),
    ]
}

fn fastapi_dialect(schemas: &mut SchemaGenerator) -> Vec<Operation> {
    let mut register = |path, summary| {
        Operation::new("post", path, summary)
            .takes(JSON, of::<RegisterInput>(schemas))
            .gives(201, of::<LoginBody>(schemas))
            .or(registering())
    };

    let old = "Legacy route; use /api/auth/register.";
    let mut all = vec![
        register("/api/auth/register", "Create an account and log in. A taken email is answered 400."),
        register("/flutter-register", old).old(),
        register("/api/auth/emergency-register", old).old(),
        register("/api/auth/emergency-register-legacy", old).old(),
    ];

    let mut login = |path, summary| {
        Operation::new("post", path, summary)
            .takes(JSON, of::<LoginInput>(schemas))
            .gives(200, of::<LoginBody>(schemas))
            .or([Problem::InvalidCredentials])
            .or(registering())
    };

    all.push(login("/api/auth/login", "Log in."));
    all.push(login("/flutter-login", "Legacy route; use /api/auth/login.").old());
    for operation in all.iter_mut().filter(|operation| operation.deprecated) {
        operation.problems.push(Problem::LegacyGone);
    }
    all
}

/// Operations of both the v1 API and the FastAPI dialect, under `base`.
fn shared(schemas: &mut SchemaGenerator, base: &str) -> Vec<Operation> {
    let path = |name: &str| format!("{base}{name}");

    vec![
        Operation::new("post", path("/refresh"), "Exchange a refresh token for its successor.")
            .takes(JSON, of::<RefreshInput>(schemas))
            .gives(200, of::<TokenBody>(schemas))
            .or([Problem::RefreshRefused, Problem::ScopeNotGranted, Problem::Unavailable]),
        Operation::new("post", path("/logout"), "End a session, by refresh token or bearer token.")
            .by(Caller::Bearer)
            .takes(JSON, of::<LogoutInput>(schemas))
            .gives_nothing(),
        Operation::new("post", path("/logout-all"), "End all sessions of the authenticated user.")
            .by(Caller::Bearer)
            .gives_nothing(),
        Operation::new("get", path("/me"), "Get the authenticated user's account.")
            .by(Caller::Bearer)
            .gives(200, of::<UserBody>(schemas)),
        Operation::new("patch", path("/me"), "Change the username and profile attributes.")
            .by(Caller::Bearer)
            .takes(JSON, of::<PatchInput>(schemas))
            .gives(200, of::<UserBody>(schemas))
            .or([Problem::UsernameTaken]),
        Operation::new("delete", path("/me"), "Erase the authenticated user's account.")
            .by(Caller::Bearer)
            .takes(JSON, of::<EraseInput>(schemas))
            .gives_nothing()
            .or([Problem::PasswordWrong]),
        Operation::new("post", path("/password"), "Change the password and end every other session.")
            .by(Caller::Bearer)
            .takes(JSON, of::<PasswordInput>(schemas))
            .gives_nothing()
            .or([Problem::PasswordWrong]),
        Operation::new("get", path("/sessions"), "List the authenticated user's sessions.")
            .by(Caller::Bearer)
            .gives(200, of::<Vec<SessionBody>>(schemas)),
        Operation::new("delete", path("/sessions/{id}"), "End one of the authenticated user's sessions.")
            .by(Caller::Bearer)
            .gives_nothing()
            .or([Problem::SessionNotFound]),
    ]
}

fn others() -> Vec<Operation> {
    let object = || Schema::try_from(json!({ "type": "object" })).unwrap_or_default();
    vec![
        Operation::new(
            "get",
            "/.well-known/jwks.json",
            "Get the public keys that verify access tokens (RFC 7517).",
        )
        .gives(200, object()),
        Operation::new("get", "/health/liveness", "Whether the process answers.").gives(200, object()),
        Operation::new(
            "get",
            "/health/readiness",
            "Whether the server can serve requests; 503 when it cannot.",
        )
        .gives(200, object())
        .or([Problem::Unavailable]),
        Operation::new("get", "/health/startup", "Whether the server has started.").gives(200, object()),
    ]
}

fn describe(operation: &Operation) -> Value {
    let mut responses = Map::new();
    let answer = match &operation.answer {
        Some((kind, schema)) => {
            json!({ "description": "Success", "content": { *kind: { "schema": schema } } })
        }
        None => json!({ "description": "Success, without a body" }),
    };

    responses.insert(operation.status.to_string(), answer);
    for (status, codes) in by_status(operation) {
        let content =
            json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
        responses.insert(status, json!({ "description": codes, "content": content }));
    }

    let words: Vec<_> =
        operation.path.split(['/', '-', '{', '}', '.']).filter(|word| !word.is_empty()).collect();
    let mut described = json!({
        "operationId": format!("{}_{}", operation.method, words.join("_")),
        "summary": operation.summary,
        "responses": responses,
    });

    let Some(members) = described.as_object_mut() else { return described };
    if operation.deprecated {
        members.insert("deprecated".to_owned(), true.into());
    }

    if operation.path.contains("{id}") {
        let schema = json!({ "type": "string", "format": "uuid" });
        let id = json!({ "name": "id", "in": "path", "required": true, "schema": schema });
        members.insert("parameters".to_owned(), json!([id]));
    }

    if let Some((kind, schema)) = &operation.request {
        let required = !operation.path.ends_with("/logout");
        members.insert(
            "requestBody".to_owned(),
            json!({ "required": required, "content": { *kind: { "schema": schema } } }),
        );
    }

    match operation.caller {
        Caller::Anonymous => {}
        Caller::Bearer => drop(members.insert("security".to_owned(), json!([{ "bearer": [] }]))),
        Caller::Client => drop(members.insert("security".to_owned(), json!([{ "client": [] }]))),
    }

    described
}

/// The problems of an operation, with the codes of a status joined.
fn by_status(operation: &Operation) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    for problem in &operation.problems {
        let words = problem.words();
        let mut status = words.status.as_u16();
        if operation.path.starts_with("/api/auth") && status == 409 && operation.path.ends_with("register") {
            status = 400;
        }
        let status = status.to_string();
        match all.iter_mut().find(|(known, _)| *known == status) {
            Some((_, codes)) if codes.split(", ").any(|code| code == words.code) => {}
            Some((_, codes)) => *codes = format!("{codes}, {}", words.code),
            None => all.push((status, words.code.to_owned())),
        }
    }
    all.sort();
    all
}

fn problem_schema() -> Value {
    let codes: Vec<_> = Problem::every().iter().map(|problem| problem.words().code).collect();
    json!({
        "type": "object",
        "description": "Problem details (RFC 9457).",
        "required": ["type", "code", "title", "status", "detail", "instance"],
        "properties": {
            "type": { "type": "string", "format": "uri", "description": "urn:gatewright:problem:CODE" },
            "code": { "type": "string", "enum": codes, "description": "Stable code, for programs." },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
            "instance": { "type": "string", "description": "The request id." },
            "errors": { "type": "array", "items": { "type": "object", "properties": {
                "loc": { "type": "array", "items": { "type": "string" } },
                "msg": { "type": "string" },
                "type": { "type": "string" },
            } } },
        },
    })
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
        assert_eq!(ids.len(), listed().len(), "two operations share a path and a method");
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
        let mut codes: Vec<_> = Problem::every().iter().map(|problem| problem.words().code).collect();
        codes.sort_unstable();
        assert!(codes.windows(2).all(|pair| pair[0] != pair[1]), "{codes:?}");
    }
}
