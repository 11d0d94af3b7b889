//! Token revocation (RFC 7009).

use auth::session;
use http::StatusCode;
use model::{EventKind, Secret};

use crate::endpoint::{Endpoint, Group, Mount, Verb};
use crate::problem::{Problem, ProblemKind};
use crate::request::context::RequestContext;
use crate::request::input::{Form, NoContent, input};
use crate::request::operation::Operation;

input! {
    /// A token to revoke (RFC 7009 §2.1).
    RevocationForm as "RevocationForm" form {
        /// An access or refresh token; its session ends.
        token: Secret<String>,
    }
}

/// Ends the session of a token.
pub(crate) struct Revoke;

impl Operation for Revoke {
    const ENDPOINT: Endpoint = Endpoint::new(
        Verb::Post,
        Group::Sessions,
        "revoke",
        "End the session of an access or refresh token (RFC 7009); an unknown token is answered alike.",
    )
    .at(&[Mount::oauth("/api/v1/auth/revoke")])
    .records(&[EventKind::SessionRevoked, EventKind::TokenRefused])
    .or(&[ProblemKind::Unavailable])
    // RFC 6749 §5.2.
    .restating(StatusCode::BAD_REQUEST, &[ProblemKind::Validation])
    .round_trips(2);

    type Context = RequestContext<Form<RevocationForm>>;
    type Answer = NoContent;

    async fn handle(mut context: Self::Context) -> Result<Self::Answer, Problem> {
        let (Form(input), _, mut ctx) = context.parts();
        session::logout_with_token(&mut ctx, &input.token).await?;
        Ok(NoContent)
    }
}
