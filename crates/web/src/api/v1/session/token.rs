//! The token endpoint of OAuth 2.0 (RFC 6749 §3.2): login with the password form, and refresh.

use auth::OpContext;
use auth::limits::Limit;
use auth::login::{Credentials, login};
use auth::session;
use http::{HeaderMap, StatusCode};
use model::{EventKind, Secret};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::json;

use super::TokenBody;
use crate::endpoint::{Endpoint, Group, Mount, Verb};
use crate::problem::{Problem, ProblemKind};
use crate::request::context::RequestContext;
use crate::request::form;
use crate::request::input::{Form, FromMembers, Json, Members, TextMember, form_object, input};
use crate::request::operation::Operation;

input! {
    /// A login (RFC 6749 §4.3.2).
    PasswordForm as "PasswordForm" form {
        /// An email address or a username.
        username: String,
        /// The password.
        password: Secret<String>,
        /// Absent means all scopes of the role.
        scope: Option<String>,
    }
}

input! {
    /// A refresh (RFC 6749 §6).
    RefreshForm as "RefreshForm" form {
        /// The newest refresh token of the session.
        refresh_token: Secret<String>,
        /// Absent means all scopes of the session.
        scope: Option<String>,
    }
}

/// What is exchanged for tokens.
#[derive(Debug)]
pub(crate) enum Grant {
    Password(PasswordForm),
    Refresh(RefreshForm),
    Unsupported,
}

const REFRESH: &str = "refresh_token";

impl FromMembers for Grant {
    fn from_members(members: &mut Members) -> Option<Self> {
        match members.take::<Option<String>>("grant_type")?.as_deref() {
            None | Some("" | "password") => PasswordForm::from_members(members).map(Self::Password),
            Some(REFRESH) => RefreshForm::from_members(members).map(Self::Refresh),
            Some(_) => Some(Self::Unsupported),
        }
    }
}

impl JsonSchema for Grant {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TokenForm".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let grants = json!({ "enum": ["password", REFRESH] });
        let members = [
            ("grant_type", "`password`, also when it is absent, or `refresh_token`.", Some(grants)),
            ("username", "For a login: an email address or a username.", None),
            ("password", "For a login: the password.", None),
            (REFRESH, "For a refresh: the newest refresh token of the session.", None),
            ("scope", "Some or all of the scopes of the role or the session; absent means all.", None),
        ];
        let members =
            members.map(|(name, about, constraints)| TextMember { name, about, optional: true, constraints });
        form_object("A login (RFC 6749 §4.3.2) or a refresh (RFC 6749 §6).", &members)
    }
}

/// Whether a call is a refresh, which counts as such and not as a login.
fn is_refresh(headers: &HeaderMap, body: &[u8]) -> bool {
    form::fields(headers, body).is_ok_and(|fields| fields.get("grant_type").is_some_and(|it| it == REFRESH))
}

/// Logs a user in, or exchanges a refresh token.
pub(crate) struct Token;

impl Operation for Token {
    const ENDPOINT: Endpoint = Endpoint::new(
        Verb::Post,
        Group::Sessions,
        "login",
        "Log in with the OAuth 2.0 password form, or exchange a refresh token for its successor.",
    )
    .limited_by(&[Limit::Global, Limit::Login])
    .counting_refusals_of(is_refresh)
    .at(&[Mount::oauth("/api/v1/auth/token")])
    .records(&[
        EventKind::LoginSucceeded,
        EventKind::LoginFailed,
        EventKind::SessionRefreshed,
        EventKind::RefreshReplayed,
        EventKind::RefreshReplayedLate,
        EventKind::RefreshShared,
        EventKind::RefreshSuperseded,
        EventKind::RefreshStolen,
        EventKind::RefreshFailed,
    ])
    .or(&[
        ProblemKind::InvalidCredentials,
        ProblemKind::ScopeNotGranted,
        ProblemKind::GrantTypeUnsupported,
        ProblemKind::Busy,
        ProblemKind::Unavailable,
    ])
    // RFC 6749 §5.2.
    .restating(StatusCode::BAD_REQUEST, &[ProblemKind::RefreshRefused, ProblemKind::RefreshSuperseded])
    .round_trips(2);

    type Context = RequestContext<Form<Grant>>;
    type Answer = Json<TokenBody>;

    async fn handle(mut context: Self::Context) -> Result<Self::Answer, Problem> {
        let (Form(grant), _, mut ctx) = context.parts();
        let tokens = match grant {
            Grant::Password(form) => log_in(&mut ctx, form).await?,
            Grant::Refresh(form) => {
                session::refresh(&mut ctx, &form.refresh_token, form.scope.as_deref()).await?
            }
            Grant::Unsupported => return Err(Problem::GrantTypeUnsupported),
        };
        Ok(Json(tokens.into()))
    }
}

async fn log_in(ctx: &mut OpContext<'_>, form: &PasswordForm) -> Result<auth::token::Tokens, Problem> {
    let credentials = Credentials {
        identifier: form.username.clone(),
        password: Secret::clone(&form.password),
        scope: form.scope.clone(),
    };
    Ok(login(ctx, &credentials).await?.0)
}
