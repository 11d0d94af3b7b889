//! The bodies of requests and responses.

use auth::session::SessionInfo;
use auth::token::Tokens;
use model::Secret;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use store::queries::user::{State, User};

use crate::problem::Problem;
use crate::request::input::{FromFields, FromMembers, Members};

/// The authenticated user's own account.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "User")]
pub(crate) struct UserBody {
    /// The user's id, never reused.
    id: i64,
    /// The email address.
    email: Option<String>,
    /// The username, if there is one.
    username: Option<String>,
    /// Whether the user may log in.
    is_active: bool,
    /// `basic_user` or `admin`.
    role: String,
    /// Time of creation (RFC 3339).
    created_at: String,
    /// Country, annual income, time zone and the configured attributes.
    #[serde(flatten)]
    profile: Map<String, Value>,
}

impl TryFrom<User> for UserBody {
    type Error = Problem;

    fn try_from(user: User) -> Result<Self, Problem> {
        let profile = serde_json::from_str(&user.profile)
            .map_err(|error| Problem::from(store::Error::Corrupt(format!("users.profile: {error}"))))?;
        Ok(Self {
            id: user.id.0,
            email: user.email,
            username: user.username,
            is_active: user.state == State::Active,
            role: user.role,
            created_at: user.created_at.to_string(),
            profile,
        })
    }
}

/// A pair of tokens (RFC 6749 §5.1).
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "TokenPair")]
pub(crate) struct TokenBody {
    /// JWT (RFC 9068).
    access_token: String,
    /// Opaque; each refresh returns its successor.
    refresh_token: String,
    /// `bearer`.
    token_type: &'static str,
    /// Lifetime of the access token, in seconds.
    expires_in: u64,
    /// Scopes of the access token; absent when there are none.
    #[serde(skip_serializing_if = "String::is_empty")]
    scope: String,
}

impl From<Tokens> for TokenBody {
    fn from(tokens: Tokens) -> Self {
        Self {
            access_token: tokens.access_token.expose().clone(),
            refresh_token: tokens.refresh_token.expose().clone(),
            token_type: "bearer",
            expires_in: tokens.expires_in,
            scope: tokens.scope,
        }
    }
}

/// A pair of tokens and their user.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "TokenPairWithUser")]
pub(crate) struct LoginBody {
    #[serde(flatten)]
    tokens: TokenBody,
    user: UserBody,
}

impl LoginBody {
    pub(crate) fn new(tokens: Tokens, user: User) -> Result<Self, Problem> {
        Ok(Self { tokens: tokens.into(), user: user.try_into()? })
    }
}

/// One of the caller's sessions.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Session")]
pub(crate) struct SessionBody {
    /// The id that `DELETE /sessions/{id}` takes.
    id: String,
    /// Time of the login (RFC 3339).
    created_at: String,
    /// Time of the last refresh.
    last_seen_at: String,
    /// Time when it ends, regardless of use.
    expires_at: String,
    /// Client address of the last refresh.
    address: Option<String>,
    /// User agent of the last refresh.
    user_agent: Option<String>,
    /// Whether it is the session of this request.
    current: bool,
}

impl From<SessionInfo> for SessionBody {
    fn from(info: SessionInfo) -> Self {
        Self {
            id: info.id.to_string(),
            created_at: info.created_at.to_string(),
            last_seen_at: info.last_seen_at.to_string(),
            expires_at: info.ends_at.to_string(),
            address: info.address,
            user_agent: info.user_agent,
            current: info.current,
        }
    }
}

/// A new account.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "Registration")]
pub(crate) struct RegisterInput {
    /// At most 254 characters.
    pub(crate) email: String,
    /// 3 to 64 characters, no `@`.
    pub(crate) username: Option<String>,
    /// By default at least 8 code points, and not a common password.
    #[schemars(with = "String")]
    pub(crate) password: Secret<String>,
    /// `country` (ISO 3166-1 alpha-2), `annual_income` (decimal, 0 or more), `timezone` (IANA), and the
    /// configured attributes; others are ignored.
    #[schemars(flatten)]
    pub(crate) members: Map<String, Value>,
}

impl RegisterInput {
    fn read(
        members: &mut Members,
        username: impl FnOnce(&mut Members) -> Option<Option<String>>,
    ) -> Option<Self> {
        let (email, password) = (members.string("email"), members.secret("password"));
        let username = username(members);
        let rest = members.rest();
        Some(Self { email: email?, username: username?, password: password?, members: rest })
    }
}

/// Registration in the v1 API, where a username is required.
#[derive(Debug)]
pub(crate) struct WithUsername(pub(crate) RegisterInput);

impl FromMembers for WithUsername {
    fn from_members(members: &mut Members) -> Option<Self> {
        RegisterInput::read(members, |members| members.string("username").map(Some)).map(Self)
    }
}

/// Registration in the FastAPI dialect, where the username is optional.
impl FromMembers for RegisterInput {
    fn from_members(members: &mut Members) -> Option<Self> {
        Self::read(members, |members| Some(members.optional_string("username")))
    }
}

/// Login form of the v1 API (RFC 6749 §4.3.2).
#[derive(Debug, JsonSchema)]
#[schemars(rename = "PasswordForm")]
pub(crate) struct TokenInput {
    /// `password`, or absent.
    pub(crate) grant_type: Option<String>,
    /// An email address or a username.
    pub(crate) username: String,
    /// The password.
    #[schemars(with = "String")]
    pub(crate) password: Secret<String>,
    /// Fewer scopes than those of the role.
    pub(crate) scope: Option<String>,
}

impl FromFields for TokenInput {
    fn from_fields(fields: &mut Members) -> Option<Self> {
        let grant_type = fields.optional_string("grant_type");
        let (username, password) = (fields.string("username"), fields.secret("password"));
        let scope = fields.optional_string("scope");
        Some(Self { grant_type, username: username?, password: password?, scope })
    }
}

/// Login in the FastAPI dialect.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "Login")]
pub(crate) struct LoginInput {
    /// The email address.
    pub(crate) email: String,
    /// The password.
    #[schemars(with = "String")]
    pub(crate) password: Secret<String>,
}

impl FromMembers for LoginInput {
    fn from_members(members: &mut Members) -> Option<Self> {
        let (email, password) = (members.string("email"), members.secret("password"));
        Some(Self { email: email?, password: password? })
    }
}

/// A refresh token.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "Refresh")]
pub(crate) struct RefreshInput {
    /// The newest refresh token of the session.
    #[schemars(with = "String")]
    pub(crate) refresh_token: Secret<String>,
    /// Fewer scopes than those of the session.
    pub(crate) scope: Option<String>,
}

impl FromMembers for RefreshInput {
    fn from_members(members: &mut Members) -> Option<Self> {
        let (refresh_token, scope) = (members.secret("refresh_token"), members.optional_string("scope"));
        Some(Self { refresh_token: refresh_token?, scope })
    }
}

/// A refresh token of the session to end; absent when the request has a bearer token.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "Logout")]
pub(crate) struct LogoutInput {
    /// Any refresh token of the session.
    #[schemars(with = "Option<String>")]
    pub(crate) refresh_token: Option<Secret<String>>,
}

impl FromMembers for LogoutInput {
    fn from_members(members: &mut Members) -> Option<Self> {
        Some(Self { refresh_token: members.optional_string("refresh_token").map(Secret::new) })
    }
}

/// A change of password.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "PasswordChange")]
pub(crate) struct PasswordInput {
    /// The current password.
    #[schemars(with = "String")]
    pub(crate) current_password: Secret<String>,
    /// The new password.
    #[schemars(with = "String")]
    pub(crate) new_password: Secret<String>,
}

impl FromMembers for PasswordInput {
    fn from_members(members: &mut Members) -> Option<Self> {
        let (current, new) = (members.secret("current_password"), members.secret("new_password"));
        Some(Self { current_password: current?, new_password: new? })
    }
}

/// The confirmation that an account is to be erased.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "Erasure")]
pub(crate) struct EraseInput {
    /// The password.
    #[schemars(with = "String")]
    pub(crate) password: Secret<String>,
}

impl FromMembers for EraseInput {
    fn from_members(members: &mut Members) -> Option<Self> {
        members.secret("password").map(|password| Self { password })
    }
}

/// Changes of the caller's account.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "Changes")]
pub(crate) struct PatchInput {
    /// `username` and profile attributes. Absent members stay unchanged; `null` removes an attribute.
    #[schemars(flatten)]
    pub(crate) members: Map<String, Value>,
}

impl FromMembers for PatchInput {
    fn from_members(members: &mut Members) -> Option<Self> {
        Some(Self { members: members.rest() })
    }
}

/// A token to introspect (RFC 7662 §2.1).
#[derive(Debug, JsonSchema)]
#[schemars(rename = "IntrospectionForm")]
pub(crate) struct IntrospectInput {
    /// An access or refresh token.
    #[schemars(with = "String")]
    pub(crate) token: Secret<String>,
    /// The client's id, unless HTTP Basic is used.
    pub(crate) client_id: Option<String>,
    /// The client's secret.
    #[schemars(with = "Option<String>")]
    pub(crate) client_secret: Option<Secret<String>>,
}

impl FromFields for IntrospectInput {
    fn from_fields(fields: &mut Members) -> Option<Self> {
        let client_id = fields.optional_string("client_id");
        let client_secret = fields.optional_string("client_secret").map(Secret::new);
        fields.secret("token").map(|token| Self { token, client_id, client_secret })
    }
}
