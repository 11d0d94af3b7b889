//! Accounts, in S2's shape.

use auth::account::{self, Candidate};
use auth::token::Caller;
use axum::Json as Answer;
use http::StatusCode;

use super::body::{EraseInput, PasswordInput, PatchInput, UserBody, WithUsername};
use crate::gate::cx::Cx;
use crate::gate::input::Json;
use crate::problem::Problem;

pub(crate) async fn register(
    mut cx: Cx<Json<WithUsername>>,
) -> Result<(StatusCode, Answer<UserBody>), Problem> {
    let (Json(WithUsername(input)), _, mut visit) = cx.enter();
    let (name, members) = (input.username.as_deref(), input.members.clone());
    let candidate = Candidate::parse(&visit, &input.email, name, &input.password, members);
    let registered = account::register(&mut visit, candidate.map_err(Problem::Validation)?, false).await?;
    Ok((StatusCode::CREATED, Answer(registered.user.try_into()?)))
}

pub(crate) async fn me(mut cx: Cx<(), Caller>) -> Result<Answer<UserBody>, Problem> {
    let ((), caller, mut visit) = cx.enter();
    Ok(Answer(account::me(&mut visit, caller).await?.try_into()?))
}

pub(crate) async fn patch_me(mut cx: Cx<Json<PatchInput>, Caller>) -> Result<Answer<UserBody>, Problem> {
    let (Json(input), caller, mut visit) = cx.enter();
    Ok(Answer(account::patch(&mut visit, caller, input.members.clone()).await?.try_into()?))
}

pub(crate) async fn delete_me(mut cx: Cx<Json<EraseInput>, Caller>) -> Result<StatusCode, Problem> {
    let (Json(input), caller, mut visit) = cx.enter();
    account::erase(&mut visit, caller, &input.password).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn password(mut cx: Cx<Json<PasswordInput>, Caller>) -> Result<StatusCode, Problem> {
    let (Json(input), caller, mut visit) = cx.enter();
    account::change_password(&mut visit, caller, &input.current_password, &input.new_password).await?;
    Ok(StatusCode::NO_CONTENT)
}
