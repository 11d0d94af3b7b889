//! The errors of OAuth 2.0 (RFC 6749 §5.2, RFC 7009 §2.2.1, RFC 6750 §3.1), as a closed list.

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

/// An error response of a token, introspection or revocation endpoint. It serialises to
/// `{"error": …, "error_description": …}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{}", self.code())]
pub enum OAuthError {
    /// A parameter is missing, duplicated or malformed.
    InvalidRequest,
    /// Client authentication failed; the response carries `WWW-Authenticate` if the client used that scheme.
    InvalidClient,
    /// The grant (password, code, refresh token) is wrong, expired or revoked.
    InvalidGrant,
    /// The client may not use this grant type, or this endpoint.
    UnauthorizedClient,
    /// The grant type is not supported.
    UnsupportedGrantType,
    /// The scope is malformed, or exceeds what is granted.
    InvalidScope,
    /// The access token is expired, revoked, malformed or otherwise invalid (RFC 6750 §3.1).
    InvalidToken,
    /// The access token is valid, but lacks the required scope (RFC 6750 §3.1).
    InsufficientScope,
    /// The server is overloaded; try again later.
    TemporarilyUnavailable,
}

impl OAuthError {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::InvalidRequest,
        Self::InvalidClient,
        Self::InvalidGrant,
        Self::UnauthorizedClient,
        Self::UnsupportedGrantType,
        Self::InvalidScope,
        Self::InvalidToken,
        Self::InsufficientScope,
        Self::TemporarilyUnavailable,
    ];

    /// The registered code, the value of `error`.
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }

    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidClient | Self::InvalidToken => 401,
            Self::InsufficientScope => 403,
            Self::TemporarilyUnavailable => 503,
            Self::InvalidRequest
            | Self::InvalidGrant
            | Self::UnauthorizedClient
            | Self::UnsupportedGrantType
            | Self::InvalidScope => 400,
        }
    }

    /// A sentence for the developer of the client; in the character set of RFC 6749 §5.2.
    pub fn description(self) -> &'static str {
        match self {
            Self::InvalidRequest => "A parameter is missing, repeated or malformed.",
            Self::InvalidClient => "The client could not be authenticated.",
            Self::InvalidGrant => "The credentials or the token are wrong, expired or revoked.",
            Self::UnauthorizedClient => "This client may not do this.",
            Self::UnsupportedGrantType => "This grant type is not supported.",
            Self::InvalidScope => "The scope is malformed or exceeds what is granted.",
            Self::InvalidToken => "The access token is malformed, expired or revoked.",
            Self::InsufficientScope => "The access token does not allow this.",
            Self::TemporarilyUnavailable => "The server is busy or a part of it is away; try again later.",
        }
    }
}

impl Serialize for OAuthError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut body = serializer.serialize_struct("OAuthError", 2)?;
        body.serialize_field("error", self.code())?;
        body.serialize_field("error_description", self.description())?;
        body.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serialises_as_rfc_6749() {
        assert_eq!(
            serde_json::to_string(&OAuthError::InvalidClient).unwrap(),
            r#"{"error":"invalid_client","error_description":"The client could not be authenticated."}"#
        );
    }

    #[test]
    fn descriptions_keep_to_their_character_set() {
        for error in OAuthError::ALL {
            let allowed = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
            assert!(error.description().bytes().all(allowed), "{error}");
            assert!((400..600).contains(&error.status()));
        }
    }
}
