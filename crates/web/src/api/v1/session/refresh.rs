//! The exchange of a refresh token for its successor (RFC 6749 §6).

use auth::session;
use model::{EventKind, Secret};

use super::TokenBody;
use crate::endpoint::{Endpoint, Group, Mount, Verb};
use crate::problem::{Problem, ProblemKind};
use crate::request::context::RequestContext;
use crate::request::input::{Json, input};
use crate::request::operation::Operation;

input! {
    /// A refresh token.
    RefreshInput as "Refresh" {
        /// The newest refresh token of the session; a used one may return the same successor.
        refresh_token: Secret<String>,
        /// Some or all of the scopes of the session; absent means all.
        scope: Option<String>,
    }
}

/// Exchanges a refresh token.
pub(crate) struct Refresh;

impl Operation for Refresh {
    const ENDPOINT: Endpoint =
        Endpoint::new(Verb::Post, Group::Sessions, "refresh", "Exchange a refresh token for its successor.")
            .counting_refusals()
            .at(&[Mount::public("/api/v1/auth/refresh"), Mount::fastapi("/api/auth/refresh")])
            .records(&[
                EventKind::SessionRefreshed,
                EventKind::RefreshReplayed,
                EventKind::RefreshReplayedLate,
                EventKind::RefreshShared,
                EventKind::RefreshSuperseded,
                EventKind::RefreshStolen,
                EventKind::RefreshFailed,
            ])
            .or(&[
                ProblemKind::RefreshRefused,
                ProblemKind::RefreshSuperseded,
                ProblemKind::ScopeNotGranted,
                ProblemKind::Unavailable,
            ])
            .round_trips(1);

    type Context = RequestContext<Json<RefreshInput>>;
    type Answer = Json<TokenBody>;

    async fn handle(mut context: Self::Context) -> Result<Self::Answer, Problem> {
        let (Json(input), _, mut ctx) = context.parts();
        let tokens = session::refresh(&mut ctx, &input.refresh_token, input.scope.as_deref()).await?;
        Ok(Json(tokens.into()))
    }
}
