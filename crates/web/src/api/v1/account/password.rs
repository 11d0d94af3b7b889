//! The change of a password by its user.

use auth::account;
use auth::limits::Limit;
use auth::token::Caller;
use model::{EventKind, Secret};

use crate::api::v1::session::TokenBody;
use crate::endpoint::{Endpoint, Group, Mount, Verb};
use crate::problem::{Problem, ProblemKind};
use crate::request::context::RequestContext;
use crate::request::input::{Json, input};
use crate::request::operation::Operation;

input! {
    /// A change of password.
    PasswordChange as "PasswordChange" {
        /// The current password.
        current_password: Secret<String>,
        /// The new password.
        new_password: Secret<String>,
    }
}

/// Changes the password, ends every session and opens a new one.
pub(crate) struct ChangePassword;

impl Operation for ChangePassword {
    const ENDPOINT: Endpoint = Endpoint::new(
        Verb::Post,
        Group::Accounts,
        "password_change",
        "Change the password: every session ends, and a new one begins.",
    )
    .limited_by(&[Limit::Global, Limit::Login])
    .at(&[Mount::public("/api/v1/auth/password"), Mount::fastapi("/api/auth/password")])
    .records(&[EventKind::PasswordChanged, EventKind::PasswordRefused])
    .or(&[ProblemKind::PasswordWrong, ProblemKind::Busy])
    .round_trips(4);

    type Context = RequestContext<Json<PasswordChange>, Caller>;
    type Answer = Json<TokenBody>;

    async fn handle(mut context: Self::Context) -> Result<Self::Answer, Problem> {
        let (Json(input), caller, mut ctx) = context.parts();
        let (current, new) = (&input.current_password, &input.new_password);
        Ok(Json(account::change_password(&mut ctx, caller, current, new).await?.into()))
    }
}
