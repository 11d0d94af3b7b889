//! The authenticated user's own account.

use auth::account;
use auth::limits::Limit;
use auth::token::Caller;
use http::StatusCode;
use model::{EventKind, Secret};

use super::UserBody;
use crate::endpoint::{Endpoint, Group, Mount, Verb};
use crate::problem::{Problem, ProblemKind};
use crate::request::context::RequestContext;
use crate::request::input::{Json, NoContent, input};
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

input! {
    /// Changes of the caller's account.
    Changes as "Changes" {
        ..
        /// `username` and profile attributes. Absent members stay unchanged; `null` removes an attribute.
        members
    }
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

/// Erases the account.
pub(crate) struct Erase;

impl Operation for Erase {
    const ENDPOINT: Endpoint =
        Endpoint::new(Verb::Delete, Group::Accounts, "erase", "Erase the authenticated user's account.")
            .limited_by(&[Limit::Global, Limit::Login])
            .at(MOUNTS)
            .answers(StatusCode::NO_CONTENT)
            .records(&[EventKind::UserErased, EventKind::PasswordRefused])
            .or(&[ProblemKind::PasswordWrong, ProblemKind::Busy])
            .round_trips(5);

    type Context = RequestContext<Json<Erasure>, Caller>;
    type Answer = NoContent;

    async fn handle(mut context: Self::Context) -> Result<Self::Answer, Problem> {
        let (Json(input), caller, mut ctx) = context.parts();
        account::erase(&mut ctx, caller, &input.password).await?;
        Ok(NoContent)
    }
}
