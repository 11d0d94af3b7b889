//! The end of a session, or of all sessions of a user.

use auth::OpContext;
use auth::session;
use auth::token::Caller;
use http::StatusCode;
use model::{EventKind, Secret};

use crate::endpoint::{Endpoint, Group, Mount, Verb};
use crate::problem::Problem;
use crate::request::context::{MaybeExpired, RequestContext};
use crate::request::input::{MaybeJson, NoContent, input};
use crate::request::operation::Operation;

input! {
    /// A refresh token of the session to end; absent when the request has a bearer token.
    LogoutInput as "Logout" {
        /// Any refresh token of the session.
        refresh_token: Option<Secret<String>>,
    }
}

/// Ends a session.
pub(crate) struct Logout;

impl Operation for Logout {
    const ENDPOINT: Endpoint = Endpoint::new(
        Verb::Post,
        Group::Sessions,
        "logout",
        "End a session, by refresh token or bearer token.",
    )
    .at(&[Mount::public("/api/v1/auth/logout"), Mount::fastapi("/api/auth/logout")])
    .answers(StatusCode::NO_CONTENT)
    .records(&[EventKind::SessionRevoked])
    .round_trips(2);

    type Context = RequestContext<MaybeJson<LogoutInput>, MaybeExpired>;
    type Answer = NoContent;

    async fn handle(mut context: Self::Context) -> Result<Self::Answer, Problem> {
        let (MaybeJson(input), MaybeExpired(caller), mut ctx) = context.parts();
        let token = input.as_ref().and_then(|input| input.refresh_token.as_ref());
        if let Some(token) = token {
            session::logout_with_refresh_token(&mut ctx, token).await?;
        }
        end_own_session(&mut ctx, caller.as_ref(), token.is_some()).await?;
        Ok(NoContent)
    }
}

/// Ends the session of the bearer token. A missing or invalid bearer token is an error only when no refresh
/// token names the session.
async fn end_own_session(
    ctx: &mut OpContext<'_>,
    caller: Option<&Result<Caller, Problem>>,
    has_refresh_token: bool,
) -> Result<(), Problem> {
    match caller {
        Some(Ok(caller)) => Ok(session::logout(ctx, caller).await?),
        Some(Err(_)) | None if has_refresh_token => Ok(()),
        Some(Err(problem)) => Err(problem.clone()),
        None => Err(Problem::TokenMissing),
    }
}

/// Ends all sessions of the caller.
pub(crate) struct LogoutAll;

impl Operation for LogoutAll {
    const ENDPOINT: Endpoint = Endpoint::new(
        Verb::Post,
        Group::Sessions,
        "logout_all",
        "End all sessions of the authenticated user.",
    )
    .at(&[Mount::public("/api/v1/auth/logout-all"), Mount::fastapi("/api/auth/logout-all")])
    .answers(StatusCode::NO_CONTENT)
    .records(&[EventKind::SessionsRevoked])
    .round_trips(1);

    type Context = RequestContext<(), Caller>;
    type Answer = NoContent;

    async fn handle(mut context: Self::Context) -> Result<Self::Answer, Problem> {
        let ((), caller, mut ctx) = context.parts();
        session::logout_all(&mut ctx, caller).await?;
        Ok(NoContent)
    }
}
