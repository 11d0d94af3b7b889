//! Registration and login in the FastAPI dialect, with tokens and user in one response. The legacy routes are
//! other paths of these operations.

use auth::account::{self, Candidate};
use auth::limits::Limit;
use auth::login::{self, Credentials};
use auth::token::Tokens;
use http::StatusCode;
use model::bounds::{EMAIL_CHARS, USERNAME_CHARS};
use model::{EventKind, Secret};
use schemars::JsonSchema;
use serde::Serialize;
use store::queries::user::User;

use crate::api::v1::account::UserBody;
use crate::api::v1::session::TokenBody;
use crate::endpoint::{Endpoint, Group, Mount, Verb};
use crate::problem::{Problem, ProblemKind};
use crate::request::context::{Registrant, RequestContext};
use crate::request::input::{Json, input};
use crate::request::operation::Operation;

/// A pair of tokens and their user.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "TokenPairWithUser")]
pub(crate) struct LoginBody {
    #[serde(flatten)]
    tokens: TokenBody,
    user: UserBody,
}

impl LoginBody {
    fn new(tokens: Tokens, user: User) -> Result<Self, Problem> {
        Ok(Self { tokens: tokens.into(), user: user.try_into()? })
    }
}

input! {
    /// A new account, in the FastAPI dialect.
    Registration as "FastApiRegistration" {
        /// At most 254 characters.
        email: String where { "format": "email", "maxLength": EMAIL_CHARS },
        /// 3 to 64 characters, no `@`, not digits alone, not a reserved name, one script; may be absent.
        username: Option<String>
            where { "minLength": USERNAME_CHARS.start(), "maxLength": USERNAME_CHARS.end() },
        /// By default at least 8 code points, and not a common password.
        password: Secret<String>,
        ..
        /// The configured attributes; others are ignored.
        profile
    }
}

const REGISTER: &str = "/api/auth/register";
const LOGIN: &str = "/api/auth/login";

/// Creates an account and logs in.
pub(crate) struct Register;

impl Operation for Register {
    const ENDPOINT: Endpoint = Endpoint::new(
        Verb::Post,
        Group::Accounts,
        "register",
        "Create an account and log in. A taken email is answered 400.",
    )
    .limited_by(&[Limit::Global, Limit::Register])
    .at(&[
        Mount::fastapi(REGISTER),
        Mount::legacy("/flutter-register", REGISTER),
        Mount::legacy("/api/auth/emergency-register", REGISTER),
        Mount::legacy("/api/auth/emergency-register-legacy", REGISTER),
    ])
    .answers(StatusCode::CREATED)
    .records(&[EventKind::UserRegistered, EventKind::RegistrationRefused])
    .or(&[ProblemKind::Busy, ProblemKind::Unavailable])
    .restating(StatusCode::BAD_REQUEST, &[ProblemKind::EmailTaken, ProblemKind::UsernameTaken])
    .round_trips(1);

    type Context = RequestContext<Json<Registration>, Registrant>;
    type Answer = Json<LoginBody>;

    async fn handle(mut context: Self::Context) -> Result<Self::Answer, Problem> {
        let (Json(input), _, mut ctx) = context.parts();
        let (name, profile) = (input.username.as_deref(), input.profile.clone());
        let candidate = Candidate::parse(&ctx, &input.email, name, &input.password, profile);
        let registered = account::register(&mut ctx, candidate.map_err(Problem::Validation)?, true).await?;
        let tokens = registered.tokens.ok_or(Problem::Internal)?;
        Ok(Json(LoginBody::new(tokens, registered.user)?))
    }
}

input! {
    /// Login in the FastAPI dialect.
    LoginInput as "Login" {
        /// The email address.
        email: String,
        /// The password.
        password: Secret<String>,
    }
}

/// Logs a user in.
pub(crate) struct Login;

impl Operation for Login {
    const ENDPOINT: Endpoint = Endpoint::new(Verb::Post, Group::Sessions, "login", "Log in.")
        .limited_by(&[Limit::Global, Limit::Login])
        .at(&[Mount::fastapi(LOGIN), Mount::legacy("/flutter-login", LOGIN)])
        .records(&[EventKind::LoginSucceeded, EventKind::LoginFailed])
        .or(&[ProblemKind::InvalidCredentials, ProblemKind::Busy, ProblemKind::Unavailable])
        .round_trips(2);

    type Context = RequestContext<Json<LoginInput>>;
    type Answer = Json<LoginBody>;

    async fn handle(mut context: Self::Context) -> Result<Self::Answer, Problem> {
        let (Json(input), _, mut ctx) = context.parts();
        let password = Secret::clone(&input.password);
        let credentials = Credentials { identifier: input.email.clone(), password, scope: None };
        let (tokens, user) = login::login(&mut ctx, &credentials).await?;
        Ok(Json(LoginBody::new(tokens, user)?))
    }
}
