//! Introspection (RFC 7662), for clients with credentials.

use auth::client;
use auth::token::{Introspection, introspect};
use http::StatusCode;
use model::{ClientRight, EventKind, Secret};
use protocol::wire::access_token::FIRST_PARTY;
use protocol::wire::authorization::Authorization;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Value, json};
use store::queries::session::Session;

use crate::endpoint::{Endpoint, Group, Mount, Verb};
use crate::problem::{Problem, ProblemKind};
use crate::request::context::{ClientCredentials, RequestContext};
use crate::request::input::{Form, Json, input};
use crate::request::operation::Operation;

input! {
    /// A token to introspect (RFC 7662 §2.1).
    IntrospectInput as "IntrospectionForm" form {
        /// An access or refresh token.
        token: Secret<String>,
        /// The client's id, unless HTTP Basic is used.
        client_id: Option<String>,
        /// The client's secret.
        client_secret: Option<Secret<String>>,
    }
}

/// The state of a token (RFC 7662 §2.2).
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct IntrospectionBody(Value);

impl JsonSchema for IntrospectionBody {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Introspection".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "The state of a token (RFC 7662 §2.2): only `active`, or the claims too.",
            "required": ["active"],
            "properties": { "active": { "type": "boolean" } },
            "additionalProperties": { "description": "The claims of an active token." },
        })
    }
}

/// Introspects a token.
pub(crate) struct Introspect;

impl Operation for Introspect {
    const ENDPOINT: Endpoint =
        Endpoint::new(Verb::Post, Group::Tokens, "introspect", "Introspect a token (RFC 7662).")
            .counting_refusals()
            .at(&[Mount::oauth("/api/v1/auth/introspect")])
            // RFC 6749 §5.2.
            .restating(StatusCode::BAD_REQUEST, &[ProblemKind::Validation])
            .records(&[EventKind::ClientAuthenticated, EventKind::ClientRefused])
            .round_trips(2);

    type Context = RequestContext<Form<IntrospectInput>, ClientCredentials>;
    type Answer = Json<IntrospectionBody>;

    async fn handle(mut context: Self::Context) -> Result<Self::Answer, Problem> {
        let (Form(input), presented, mut ctx) = context.parts();
        let (id, secret) = credentials(presented, input)?;
        client::authenticate(&mut ctx, &id, &secret, ClientRight::Introspect).await?;
        let found = introspect(&mut ctx, &input.token).await?;
        Ok(Json(IntrospectionBody(body(&found, ctx.services))))
    }
}

/// The client's credentials: in the header or in the body, not in both (RFC 6749 §2.3).
fn credentials(
    presented: &ClientCredentials,
    input: &IntrospectInput,
) -> Result<(String, Secret<String>), Problem> {
    match (&presented.0, &input.client_id, &input.client_secret) {
        (Some(Authorization::Basic { id, secret }), None, None) | (None, Some(id), Some(secret)) => {
            Ok((id.clone(), Secret::clone(secret)))
        }
        (Some(Authorization::Basic { .. }), ..) => Err(Problem::MalformedBody),
        _ => Err(Problem::ClientInvalid),
    }
}

fn body(found: &Introspection, services: &auth::Services) -> Value {
    match found {
        Introspection::Inactive => json!({ "active": false }),
        Introspection::Access(claims) => {
            let mut body = json!(claims);
            if let Some(members) = body.as_object_mut() {
                members.insert("active".to_owned(), true.into());
                members.insert("token_type".to_owned(), "Bearer".into());
            }
            body
        }
        Introspection::Refresh(session) => without_empty_scope(refresh_body(session, &services.settings)),
    }
}

fn refresh_body(session: &Session, settings: &auth::Settings) -> Value {
    json!({
        "active": true,
        "token_type": "refresh_token",
        "client_id": FIRST_PARTY,
        "iss": settings.issuer,
        "sub": subject(session, settings),
        "uuid": session.user.uuid.to_string(),
        "sid": session.id,
        "scope": session.scope,
        "iat": session.rotated_at.seconds(),
        "exp": session.ends_at.min(session.rotated_at.plus(settings.refresh_ttl)).seconds(),
    })
}

/// Leaves an empty scope out, which no text of a scope can say (RFC 6749 §3.3).
fn without_empty_scope(mut body: Value) -> Value {
    if let Some(members) = body.as_object_mut() {
        members.retain(|name, value| name != "scope" || value != "");
    }
    body
}

fn subject(session: &Session, settings: &auth::Settings) -> String {
    if settings.subject_is_uuid { session.user.uuid.to_string() } else { session.user.id.to_string() }
}
