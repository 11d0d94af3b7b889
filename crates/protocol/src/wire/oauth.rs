//! The errors of OAuth 2.0 (RFC 6749 §5.2, RFC 7009 §2.2.1, RFC 6750 §3.1), as a closed list.

/// The member `error` of an error response of a token, introspection or revocation endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// The server failed (RFC 6749 §4.1.2.1).
    ServerError,
    /// The server is overloaded; try again later (RFC 6749 §4.1.2.1).
    TemporarilyUnavailable,
}

impl OAuthError {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::InvalidRequest,
        Self::InvalidClient,
        Self::InvalidGrant,
        Self::UnauthorizedClient,
        Self::UnsupportedGrantType,
        Self::InvalidScope,
        Self::ServerError,
        Self::TemporarilyUnavailable,
    ];

    /// The registered code, the value of `error`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }
}

/// Whether a text may be an `error_description`: `%x20-21 / %x23-5B / %x5D-7E` (RFC 6749 §5.2).
pub fn is_description(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}
