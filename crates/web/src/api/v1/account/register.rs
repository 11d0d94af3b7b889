//! Registration in the v1 API, where a username is required.

use auth::account::{self, Candidate};
use auth::limits::Limit;
use http::StatusCode;
use model::bounds::{EMAIL_CHARS, USERNAME_CHARS};
use model::{EventKind, Secret};

use super::UserBody;
use crate::endpoint::{Endpoint, Group, Mount, Verb};
use crate::problem::{Problem, ProblemKind};
use crate::request::context::{Registrant, RequestContext};
use crate::request::input::{Json, input};
use crate::request::operation::Operation;

input! {
    /// A new account.
    Registration as "Registration" {
        /// At most 254 characters.
        email: String where { "format": "email", "maxLength": EMAIL_CHARS },
        /// 3 to 64 characters, no `@`, not digits alone, not a reserved name, one script.
        username: String where { "minLength": USERNAME_CHARS.start(), "maxLength": USERNAME_CHARS.end() },
        /// By default at least 8 code points, and not a common password.
        password: Secret<String>,
        ..
        /// The configured attributes; others are ignored.
        profile
    }
}

/// Creates an account.
pub(crate) struct Register;

impl Operation for Register {
    const ENDPOINT: Endpoint = Endpoint::new(Verb::Post, Group::Accounts, "register", "Create an account.")
        .limited_by(&[Limit::Global, Limit::Register])
        .at(&[Mount::public("/api/v1/auth/register")])
        .answers(StatusCode::CREATED)
        .records(&[EventKind::UserRegistered, EventKind::RegistrationRefused])
        .or(&[
            ProblemKind::EmailTaken,
            ProblemKind::UsernameTaken,
            ProblemKind::Busy,
            ProblemKind::Unavailable,
        ])
        .round_trips(1);

    type Context = RequestContext<Json<Registration>, Registrant>;
    type Answer = Json<UserBody>;

    async fn handle(mut context: Self::Context) -> Result<Self::Answer, Problem> {
        let (Json(input), _, mut ctx) = context.parts();
        let name = Some(input.username.as_str());
        let candidate = Candidate::parse(&ctx, &input.email, name, &input.password, input.profile.clone());
        let registered = account::register(&mut ctx, candidate.map_err(Problem::Validation)?, false).await?;
        Ok(Json(registered.user.try_into()?))
    }
}
