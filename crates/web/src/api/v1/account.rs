//! Accounts in the v1 API.

use auth::account::{self, Candidate};
use auth::token::Caller;
use axum::Json as Answer;
use http::StatusCode;

use crate::api::body::{EraseInput, PasswordInput, PatchInput, UserBody, WithUsername};
use crate::problem::Problem;
use crate::request::context::RequestContext;
use crate::request::input::Json;

pub(crate) async fn register(
    mut cx: RequestContext<Json<WithUsername>>,
) -> Result<(StatusCode, Answer<UserBody>), Problem> {
    let (Json(WithUsername(input)), _, mut ctx) = cx.parts();
    let (name, members) = (input.username.as_deref(), input.members.clone());
    let candidate = Candidate::parse(&ctx, &input.email, name, &input.password, members);
    let registered = account::register(&mut ctx, candidate.map_err(Problem::Validation)?, false).await?;
    Ok((StatusCode::CREATED, Answer(registered.user.try_into()?)))
}

pub(crate) async fn me(mut cx: RequestContext<(), Caller>) -> Result<Answer<UserBody>, Problem> {
    let ((), caller, mut ctx) = cx.parts();
    Ok(Answer(account::me(&mut ctx, caller).await?.try_into()?))
}

pub(crate) async fn patch_me(
    mut cx: RequestContext<Json<PatchInput>, Caller>,
) -> Result<Answer<UserBody>, Problem> {
    let (Json(input), caller, mut ctx) = cx.parts();
    Ok(Answer(account::patch(&mut ctx, caller, input.members.clone()).await?.try_into()?))
}

pub(crate) async fn delete_me(
    mut cx: RequestContext<Json<EraseInput>, Caller>,
) -> Result<StatusCode, Problem> {
    let (Json(input), caller, mut ctx) = cx.parts();
    account::erase(&mut ctx, caller, &input.password).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn password(
    mut cx: RequestContext<Json<PasswordInput>, Caller>,
) -> Result<StatusCode, Problem> {
    let (Json(input), caller, mut ctx) = cx.parts();
    account::change_password(&mut ctx, caller, &input.current_password, &input.new_password).await?;
    Ok(StatusCode::NO_CONTENT)
}
