//! Sessions and their tokens.

pub(crate) mod list;
pub(crate) mod logout;
pub(crate) mod refresh;
pub(crate) mod revoke;
pub(crate) mod token;

use auth::token::Tokens;
use schemars::JsonSchema;
use serde::Serialize;

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
