//! Sessions in the v1 API.

use auth::OpContext;
use auth::login::{Credentials, login};
use auth::session;
use auth::token::Caller;
use axum::Json as Answer;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use http::StatusCode;
use model::{Secret, SessionId};
use uuid::Uuid;

use crate::api::body::{LogoutInput, RefreshInput, SessionBody, TokenBody, TokenInput};
use crate::problem::Problem;
use crate::request::context::{MaybeExpired, RequestContext};
use crate::request::input::{Form, Json, MaybeJson};

pub(crate) async fn token(mut cx: RequestContext<Form<TokenInput>>) -> Result<Answer<TokenBody>, Problem> {
    let (Form(input), _, mut ctx) = cx.parts();
    if !input.grant_type.as_deref().is_none_or(|grant| matches!(grant, "" | "password")) {
        return Err(Problem::GrantTypeUnsupported);
    }
    let credentials = Credentials {
        identifier: input.username.clone(),
        password: Secret::clone(&input.password),
        scope: input.scope.clone(),
    };
    let (tokens, _) = login(&mut ctx, &credentials).await?;
    Ok(Answer(tokens.into()))
}

pub(crate) async fn refresh(
    mut cx: RequestContext<Json<RefreshInput>>,
) -> Result<Answer<TokenBody>, Problem> {
    let (Json(input), _, mut ctx) = cx.parts();
    let tokens = session::refresh(&mut ctx, &input.refresh_token, input.scope.as_deref()).await?;
    Ok(Answer(tokens.into()))
}

pub(crate) async fn logout(
    mut cx: RequestContext<MaybeJson<LogoutInput>, MaybeExpired>,
) -> Result<StatusCode, Problem> {
    let (MaybeJson(input), MaybeExpired(caller), mut ctx) = cx.parts();
    let token = input.as_ref().and_then(|input| input.refresh_token.as_ref());
    if let Some(token) = token {
        session::logout_with_refresh_token(&mut ctx, token).await?;
    }
    end_own_session(&mut ctx, caller.as_ref(), token.is_some()).await?;
    Ok(StatusCode::NO_CONTENT)
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

pub(crate) async fn logout_all(mut cx: RequestContext<(), Caller>) -> Result<StatusCode, Problem> {
    let ((), caller, mut ctx) = cx.parts();
    session::logout_all(&mut ctx, caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn sessions(
    mut cx: RequestContext<(), Caller>,
) -> Result<Answer<Vec<SessionBody>>, Problem> {
    let ((), caller, mut ctx) = cx.parts();
    let sessions = session::list(&mut ctx, caller).await?;
    Ok(Answer(sessions.into_iter().map(SessionBody::from).collect()))
}

pub(crate) async fn delete_session(
    id: Result<Path<String>, PathRejection>,
    mut cx: RequestContext<(), Caller>,
) -> Result<StatusCode, Problem> {
    let ((), caller, mut ctx) = cx.parts();
    let Path(id) = id.map_err(|_| Problem::SessionNotFound)?;
    let id = Uuid::try_parse(&id).map(SessionId).map_err(|_| Problem::SessionNotFound)?;
    session::logout_one(&mut ctx, caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
