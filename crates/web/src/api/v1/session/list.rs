//! The authenticated user's sessions.

use auth::session::{self, SessionInfo};
use auth::token::Caller;
use http::StatusCode;
use model::{EventKind, SessionId};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::endpoint::{Endpoint, Group, Mount, Parameter, Verb};
use crate::problem::{Problem, ProblemKind};
use crate::request::context::RequestContext;
use crate::request::input::{Input, Json, NoContent, Received};
use crate::request::operation::Operation;

/// One of the caller's sessions.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Session")]
pub(crate) struct SessionBody {
    /// The id that `DELETE /sessions/{id}` takes.
    #[schemars(extend("format" = "uuid"))]
    id: String,
    /// Time of the login (RFC 3339).
    #[schemars(extend("format" = "date-time"))]
    created_at: String,
    /// Time of the last refresh.
    #[schemars(extend("format" = "date-time"))]
    last_seen_at: String,
    /// Time when it ends, regardless of use.
    #[schemars(extend("format" = "date-time"))]
    expires_at: String,
    /// Client address of the last refresh.
    address: Option<String>,
    /// User agent of the last refresh.
    user_agent: Option<String>,
    /// Whether several processes of one client share its refresh token: one of them used a token that another
    /// had used.
    shared: bool,
    /// Whether it is the session of this request.
    current: bool,
}

impl From<SessionInfo> for SessionBody {
    fn from(info: SessionInfo) -> Self {
        Self {
            id: info.id.to_string(),
            created_at: info.created_at.in_millis(),
            last_seen_at: info.last_seen_at.in_millis(),
            expires_at: info.ends_at.in_millis(),
            address: info.address,
            user_agent: info.user_agent,
            shared: info.shared,
            current: info.current,
        }
    }
}

/// Lists the sessions.
pub(crate) struct ListSessions;

impl Operation for ListSessions {
    const ENDPOINT: Endpoint =
        Endpoint::new(Verb::Get, Group::Sessions, "session_list", "List the authenticated user's sessions.")
            .at(&[Mount::public("/api/v1/auth/sessions"), Mount::fastapi("/api/auth/sessions")])
            .round_trips(1);

    type Context = RequestContext<(), Caller>;
    type Answer = Json<Vec<SessionBody>>;

    async fn handle(mut context: Self::Context) -> Result<Self::Answer, Problem> {
        let ((), caller, mut ctx) = context.parts();
        let sessions = session::list(&mut ctx, caller).await?;
        Ok(Json(sessions.into_iter().map(SessionBody::from).collect()))
    }
}

/// The session that a path names.
pub(crate) struct NamedSession(SessionId);

impl Input for NamedSession {
    const PARAMETERS: &'static [Parameter] = &[Parameter::path("id", "uuid")];

    fn read(received: &Received) -> Result<Self, Problem> {
        let id = received.parameters.iter().find(|(name, _)| name == "id");
        let id = id.and_then(|(_, id)| Uuid::try_parse(id).ok()).ok_or(Problem::SessionNotFound)?;
        Ok(Self(SessionId(id)))
    }
}

/// Ends one of the sessions.
pub(crate) struct EndSession;

impl Operation for EndSession {
    const ENDPOINT: Endpoint = Endpoint::new(
        Verb::Delete,
        Group::Sessions,
        "session_end",
        "End one of the authenticated user's sessions.",
    )
    .at(&[Mount::public("/api/v1/auth/sessions/{id}"), Mount::fastapi("/api/auth/sessions/{id}")])
    .answers(StatusCode::NO_CONTENT)
    .records(&[EventKind::SessionRevoked, EventKind::SessionNotFound])
    .or(&[ProblemKind::SessionNotFound])
    .round_trips(1);

    type Context = RequestContext<NamedSession, Caller>;
    type Answer = NoContent;

    async fn handle(mut context: Self::Context) -> Result<Self::Answer, Problem> {
        let (NamedSession(id), caller, mut ctx) = context.parts();
        session::logout_one(&mut ctx, caller, *id).await?;
        Ok(NoContent)
    }
}
