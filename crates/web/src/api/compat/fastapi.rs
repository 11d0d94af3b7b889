//! Registration and login in the FastAPI dialect, with tokens and user in one response. The legacy routes use
//! these handlers too.

use auth::account::{self, Candidate};
use auth::login::{self, Credentials};
use axum::Json as Answer;
use http::StatusCode;
use model::Secret;

use crate::api::body::{LoginBody, LoginInput, RegisterInput};
use crate::problem::Problem;
use crate::request::context::RequestContext;
use crate::request::input::Json;

pub(crate) async fn register(
    mut cx: RequestContext<Json<RegisterInput>>,
) -> Result<(StatusCode, Answer<LoginBody>), Problem> {
    let (Json(input), _, mut ctx) = cx.parts();
    let (name, members) = (input.username.as_deref(), input.members.clone());
    let candidate = Candidate::parse(&ctx, &input.email, name, &input.password, members);
    let registered = account::register(&mut ctx, candidate.map_err(Problem::Validation)?, true).await?;
    let tokens = registered.tokens.ok_or(Problem::Internal)?;
    Ok((StatusCode::CREATED, Answer(LoginBody::new(tokens, registered.user)?)))
}

pub(crate) async fn login(mut cx: RequestContext<Json<LoginInput>>) -> Result<Answer<LoginBody>, Problem> {
    let (Json(input), _, mut ctx) = cx.parts();
    let password = Secret::clone(&input.password);
    let credentials = Credentials { identifier: input.email.clone(), password, scope: None };
    let (tokens, user) = login::login(&mut ctx, &credentials).await?;
    Ok(Answer(LoginBody::new(tokens, user)?))
}
