//! Login with the OAuth 2.0 password form (RFC 6749 §4.3.2).

use auth::limits::Limit;
use auth::login::{Credentials, login};
use model::{EventKind, Secret};

use super::TokenBody;
use crate::endpoint::{Endpoint, Group, Mount, Verb};
use crate::problem::{Problem, ProblemKind};
use crate::request::context::RequestContext;
use crate::request::input::{Form, Json, input};
use crate::request::operation::Operation;

input! {
    /// Login form (RFC 6749 §4.3.2).
    PasswordForm as "PasswordForm" {
        /// `password`, or absent.
        grant_type: Option<String>,
        /// An email address or a username.
        username: String,
        /// The password.
        password: Secret<String>,
        /// Some or all of the scopes of the role; absent means all.
        scope: Option<String>,
    }
}

/// Logs a user in.
pub(crate) struct Login;

impl Operation for Login {
    const ENDPOINT: Endpoint =
        Endpoint::new(Verb::Post, Group::Sessions, "login", "Log in with the OAuth 2.0 password form.")
            .limited_by(&[Limit::Global, Limit::Login])
            .at(&[Mount::public("/api/v1/auth/token")])
            .records(&[EventKind::LoginSucceeded, EventKind::LoginFailed])
            .or(&[
                ProblemKind::InvalidCredentials,
                ProblemKind::ScopeNotGranted,
                ProblemKind::GrantTypeUnsupported,
                ProblemKind::Busy,
                ProblemKind::Unavailable,
            ])
            .round_trips(2);

    type Context = RequestContext<Form<PasswordForm>>;
    type Answer = Json<TokenBody>;

    async fn handle(mut context: Self::Context) -> Result<Self::Answer, Problem> {
        let (Form(input), _, mut ctx) = context.parts();
        if !input.grant_type.as_deref().is_none_or(|grant| matches!(grant, "" | "password")) {
            return Err(Problem::GrantTypeUnsupported);
        }

        let credentials = Credentials {
            identifier: input.username.clone(),
            password: Secret::clone(&input.password),
            scope: input.scope.clone(),
        };
        let (tokens, _) = login(&mut ctx, &credentials).await?;
        Ok(Json(tokens.into()))
    }
}
