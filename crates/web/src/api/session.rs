//! Sessions, in S2's shape.

use auth::session::{self, Credentials};
use auth::token::Caller;
use axum::Json as Answer;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use http::StatusCode;
use model::{Secret, SessionId};
use uuid::Uuid;

use super::body::{LogoutInput, RefreshInput, SessionBody, TokenBody, TokenInput};
use crate::gate::cx::{Cx, MaybeExpired};
use crate::gate::input::{Form, Json, MaybeJson};
use crate::problem::Problem;

pub(crate) async fn token(mut cx: Cx<Form<TokenInput>>) -> Result<Answer<TokenBody>, Problem> {
    let (Form(input), _, mut visit) = cx.enter();
    if !input.grant_type.as_deref().is_none_or(|grant| matches!(grant, "" | "password")) {
        return Err(Problem::GrantTypeUnsupported);
    }
    let credentials = Credentials {
        identifier: input.username.clone(),
        password: Secret::clone(&input.password),
        scope: input.scope.clone(),
    };
    let (tokens, _) = session::login(&mut visit, &credentials).await?;
    Ok(Answer(tokens.into()))
}

pub(crate) async fn refresh(mut cx: Cx<Json<RefreshInput>>) -> Result<Answer<TokenBody>, Problem> {
    let (Json(input), _, mut visit) = cx.enter();
    let tokens = session::refresh(&mut visit, &input.refresh_token, input.scope.as_deref()).await?;
    Ok(Answer(tokens.into()))
}

pub(crate) async fn logout(mut cx: Cx<MaybeJson<LogoutInput>, MaybeExpired>) -> Result<StatusCode, Problem> {
    let (MaybeJson(input), MaybeExpired(caller), mut visit) = cx.enter();
    let token = input.as_ref().and_then(|input| input.refresh_token.as_ref());
    if let Some(token) = token {
        session::logout_with_refresh_token(&mut visit, token).await?;
    }
    match caller {
        Some(Ok(caller)) => session::logout(&mut visit, caller).await?,
        Some(Err(problem)) if token.is_none() => return Err(problem.clone()),
        None if token.is_none() => return Err(Problem::TokenMissing),
        // What else is named is no valid token, and a refresh token was given.
        Some(Err(_)) | None => {}
    }
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn logout_all(mut cx: Cx<(), Caller>) -> Result<StatusCode, Problem> {
    let ((), caller, mut visit) = cx.enter();
    session::logout_all(&mut visit, caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn sessions(mut cx: Cx<(), Caller>) -> Result<Answer<Vec<SessionBody>>, Problem> {
    let ((), caller, mut visit) = cx.enter();
    let sessions = session::list(&mut visit, caller).await?;
    Ok(Answer(sessions.into_iter().map(SessionBody::from).collect()))
}

pub(crate) async fn delete_session(
    id: Result<Path<String>, PathRejection>,
    mut cx: Cx<(), Caller>,
) -> Result<StatusCode, Problem> {
    let ((), caller, mut visit) = cx.enter();
    let Path(id) = id.map_err(|_| Problem::SessionNotFound)?;
    let id = Uuid::try_parse(&id).map(SessionId).map_err(|_| Problem::SessionNotFound)?;
    session::logout_one(&mut visit, caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
