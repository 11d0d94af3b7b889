//! The authenticated user's own account.

use auth::account;
use auth::limits::Limit;
use auth::token::Caller;
use http::StatusCode;
use model::bounds::USERNAME_CHARS;
use model::{EventKind, Secret};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::UserBody;
use crate::endpoint::{Endpoint, Group, Mount, Verb};
use crate::problem::{Problem, ProblemKind};
use crate::request::context::RequestContext;
use crate::request::input::{FromMembers, Json, Members, NoContent, input, profile_attributes};
use crate::request::operation::Operation;

const MOUNTS: &[Mount] = &[Mount::public("/api/v1/auth/me"), Mount::fastapi("/api/auth/me")];

/// Returns the account.
pub(crate) struct Me;

impl Operation for Me {
    const ENDPOINT: Endpoint =
        Endpoint::new(Verb::Get, Group::Accounts, "account_read", "Get the authenticated user's account.")
            .at(MOUNTS)
            .round_trips(1);

    type Context = RequestContext<(), Caller>;
    type Answer = Json<UserBody>;

    async fn handle(mut context: Self::Context) -> Result<Self::Answer, Problem> {
        let ((), caller, mut ctx) = context.parts();
        Ok(Json(account::me(&mut ctx, caller).await?.try_into()?))
    }
}

/// Changes of the caller's account: the members as they were sent, because `null` differs from absent.
#[derive(Debug)]
pub(crate) struct Changes {
    members: Map<String, Value>,
}

impl FromMembers for Changes {
    fn from_members(members: &mut Members) -> Option<Self> {
        Some(Self { members: members.rest() })
    }
}

impl JsonSchema for Changes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Changes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut properties = profile_attributes();
        properties.insert("username".to_owned(), username_schema());
        json_schema!({
            "type": "object",
            "description": "Changes of the account. Absent members stay unchanged; `null` removes a value.",
            "properties": properties,
            "additionalProperties": { "description": "Configured attributes; others are not changed here." },
        })
    }
}

fn username_schema() -> Value {
    json!({
        "type": ["string", "null"],
        "minLength": USERNAME_CHARS.start(),
        "maxLength": USERNAME_CHARS.end(),
        "description": "3 to 64 characters, no `@`, not digits alone, not a reserved name, one script.",
    })
}

/// Changes the username and profile attributes.
pub(crate) struct ChangeProfile;

impl Operation for ChangeProfile {
    const ENDPOINT: Endpoint = Endpoint::new(
        Verb::Patch,
        Group::Accounts,
        "profile_change",
        "Change the username and profile attributes.",
    )
    .at(MOUNTS)
    .records(&[EventKind::ProfileChanged])
    .or(&[ProblemKind::UsernameTaken])
    .round_trips(2);

    type Context = RequestContext<Json<Changes>, Caller>;
    type Answer = Json<UserBody>;

    async fn handle(mut context: Self::Context) -> Result<Self::Answer, Problem> {
        let (Json(input), caller, mut ctx) = context.parts();
        Ok(Json(account::patch(&mut ctx, caller, input.members.clone()).await?.try_into()?))
    }
}

input! {
    /// The confirmation that an account is to be erased.
    Erasure as "Erasure" {
        /// The password.
        password: Secret<String>,
    }
}

const fn erase(verb: Verb) -> Endpoint {
    Endpoint::new(verb, Group::Accounts, "erase", "Erase the authenticated user's account.")
        .limited_by(&[Limit::Global, Limit::Login])
        .answers(StatusCode::NO_CONTENT)
        .records(&[EventKind::UserErased, EventKind::PasswordRefused])
        .or(&[ProblemKind::PasswordWrong, ProblemKind::Busy])
        .round_trips(5)
}

type ErasureContext = RequestContext<Json<Erasure>, Caller>;

async fn confirmed(mut context: ErasureContext) -> Result<NoContent, Problem> {
    let (Json(input), caller, mut ctx) = context.parts();
    account::erase(&mut ctx, caller, &input.password).await?;
    Ok(NoContent)
}

/// Erases the account.
pub(crate) struct Erase;

impl Operation for Erase {
    const ENDPOINT: Endpoint = erase(Verb::Delete).at(MOUNTS);

    type Context = ErasureContext;
    type Answer = NoContent;

    async fn handle(context: Self::Context) -> Result<Self::Answer, Problem> {
        confirmed(context).await
    }
}

/// Erases the account, for clients that send no body with `DELETE`.
pub(crate) struct EraseByPost;

impl Operation for EraseByPost {
    const ENDPOINT: Endpoint = erase(Verb::Post)
        .at(&[Mount::public("/api/v1/auth/me/delete"), Mount::fastapi("/api/auth/me/delete")]);

    type Context = ErasureContext;
    type Answer = NoContent;

    async fn handle(context: Self::Context) -> Result<Self::Answer, Problem> {
        confirmed(context).await
    }
}
