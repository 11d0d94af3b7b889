//! Accounts.

pub(crate) mod me;
pub(crate) mod password;
pub(crate) mod register;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use store::queries::user::{State, User};

use crate::problem::Problem;

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
    #[schemars(extend("format" = "date-time"))]
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
            created_at: user.created_at.in_millis(),
            profile,
        })
    }
}
