//! Every error that a client can receive: one closed enum, written in one place.
//!
//! A handler returns a [`Problem`]; the layer [`crate::layers::problems`] writes it in the dialect of the
//! route: problem details (RFC 9457), FastAPI's body in the FastAPI dialect, or the OAuth error of RFC 6749.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use model::profile::FieldError;
use protocol::wire::oauth::OAuthError;
use serde_json::{Map, Value, json};

/// An error, with only the information that a client may have.
#[derive(Clone, Debug, PartialEq)]
pub enum Problem {
    /// Members of the request are invalid.
    Validation(Vec<FieldError>),
    /// The body does not match its content type.
    MalformedBody,
    /// The content type is not supported.
    UnsupportedMediaType,
    /// The body exceeds 64 KiB.
    BodyTooLarge,
    /// The body did not arrive in time.
    BodyTimeout,
    /// The header fields exceed 16 KiB.
    HeadersTooLarge,
    /// There is no such route.
    NotFound,
    /// The route does not support the method.
    MethodNotAllowed,
    /// Unknown user, wrong password, or inactive user.
    InvalidCredentials,
    /// There is no bearer token.
    TokenMissing,
    /// The bearer token is invalid, or its session has ended.
    TokenInvalid,
    /// The refresh token is expired, revoked, unknown or reused.
    RefreshRefused,
    /// The current password is wrong.
    PasswordWrong,
    /// The scope cannot be granted.
    ScopeNotGranted,
    /// The grant type is not `password`.
    GrantTypeUnsupported,
    /// Another account has the email.
    EmailTaken,
    /// Another account has the username.
    UsernameTaken,
    /// The caller has no session with this id.
    SessionNotFound,
    /// The client's credentials are wrong or missing.
    ClientInvalid,
    /// The legacy route is disabled.
    LegacyGone,
    /// The server is overloaded; the duration is for `Retry-After`.
    Busy(Duration),
    /// The database or another component cannot be reached.
    Unavailable,
    /// The audit trail cannot be written, and the configuration requires it.
    AuditUnavailable,
    /// The request exceeded its deadline.
    Timeout,
    /// An internal error: a bug.
    Internal,
}

/// Code, status and texts of a problem.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// Stable code, for programs.
    pub code: &'static str,
    /// The HTTP status.
    pub status: StatusCode,
    /// Title for people; the same for every occurrence.
    pub title: &'static str,
    /// Explanation for people, with the remedy.
    pub detail: &'static str,
}

impl Problem {
    /// One of each kind, for documents and tests.
    pub fn every() -> [Self; 25] {
        let busy = Self::Busy(Duration::from_secs(1));

        [
            Self::Validation(Vec::new()),
            Self::MalformedBody,
            Self::UnsupportedMediaType,
            Self::BodyTooLarge,
            Self::BodyTimeout,
            Self::HeadersTooLarge,
            Self::NotFound,
            Self::MethodNotAllowed,
            Self::InvalidCredentials,
            Self::TokenMissing,
            Self::TokenInvalid,
            Self::RefreshRefused,
            Self::PasswordWrong,
            Self::ScopeNotGranted,
            Self::GrantTypeUnsupported,
            Self::EmailTaken,
            Self::UsernameTaken,
            Self::SessionNotFound,
            Self::ClientInvalid,
            Self::LegacyGone,
            busy,
            Self::Unavailable,
            Self::AuditUnavailable,
            Self::Timeout,
            Self::Internal,
        ]
    }

    /// Code, status and texts of this problem.
    pub fn words(&self) -> Words {
        let (code, status, title) = self.name();
        Words { code, status, title, detail: self.detail() }
    }

    #[rustfmt::skip]
    fn name(&self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::Validation(_) => ("validation_failed", S::UNPROCESSABLE_ENTITY, "Validation failed"),
            Self::MalformedBody => ("malformed_body", S::BAD_REQUEST, "Malformed body"),
            Self::UnsupportedMediaType => {
                ("unsupported_media_type", S::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type")
            }
            Self::BodyTooLarge => ("body_too_large", S::PAYLOAD_TOO_LARGE, "Body too large"),
            Self::BodyTimeout => ("body_timeout", S::REQUEST_TIMEOUT, "Body timeout"),
            Self::HeadersTooLarge => {
                ("headers_too_large", S::REQUEST_HEADER_FIELDS_TOO_LARGE, "Headers too large")
            }

            Self::NotFound => ("not_found", S::NOT_FOUND, "Not found"),
            Self::MethodNotAllowed => ("method_not_allowed", S::METHOD_NOT_ALLOWED, "Method not allowed"),

            Self::InvalidCredentials => ("invalid_credentials", S::UNAUTHORIZED, "Invalid credentials"),
            Self::TokenMissing => ("token_missing", S::UNAUTHORIZED, "Not authenticated"),
            Self::TokenInvalid => ("token_invalid", S::UNAUTHORIZED, "Invalid token"),
            Self::RefreshRefused => ("refresh_refused", S::UNAUTHORIZED, "Invalid refresh token"),
            Self::PasswordWrong => ("password_wrong", S::FORBIDDEN, "Wrong password"),
            Self::ScopeNotGranted => ("invalid_scope", S::BAD_REQUEST, "Scope not granted"),
            Self::GrantTypeUnsupported => {
                ("unsupported_grant_type", S::BAD_REQUEST, "Unsupported grant type")
            }

            Self::EmailTaken => ("email_taken", S::CONFLICT, "Email taken"),
            Self::UsernameTaken => ("username_taken", S::CONFLICT, "Username taken"),
            Self::SessionNotFound => ("session_not_found", S::NOT_FOUND, "Session not found"),
            Self::ClientInvalid => ("invalid_client", S::UNAUTHORIZED, "Invalid client"),
            Self::LegacyGone => ("legacy_gone", S::GONE, "Route disabled"),

            Self::Busy(_) => ("busy", S::SERVICE_UNAVAILABLE, "Busy"),
            Self::Unavailable => ("unavailable", S::SERVICE_UNAVAILABLE, "Unavailable"),
            Self::AuditUnavailable => ("audit_unavailable", S::SERVICE_UNAVAILABLE, "Audit unavailable"),
            Self::Timeout => ("timeout", S::SERVICE_UNAVAILABLE, "Timed out"),
            Self::Internal => ("internal_error", S::INTERNAL_SERVER_ERROR, "Internal error"),
        }
    }

    #[rustfmt::skip]
    fn detail(&self) -> &'static str {
        match self {
            Self::Validation(_) => "Some members of the request are invalid; see errors.",
            Self::MalformedBody => "The body does not match its content type.",
            Self::UnsupportedMediaType => "Send the content type that is documented for this route.",
            Self::BodyTooLarge => "A body has at most 64 KiB.",
            Self::BodyTimeout => "The body did not arrive in time.",
            Self::HeadersTooLarge => "Header fields have at most 16 KiB together.",

            Self::NotFound => "There is no such route.",
            Self::MethodNotAllowed => "This route does not support the method; see Allow.",

            Self::InvalidCredentials => "Incorrect username or password",
            Self::TokenMissing => "Not authenticated",
            Self::TokenInvalid => "Could not validate credentials",
            Self::RefreshRefused => "The refresh token is expired, revoked or unknown; log in again.",
            Self::PasswordWrong => "The current password is wrong.",
            Self::ScopeNotGranted => "The requested scope cannot be granted.",
            Self::GrantTypeUnsupported => "Leave grant_type out, or send password.",

            Self::EmailTaken => "Email already exists",
            Self::UsernameTaken => "Username already exists",
            Self::SessionNotFound => "There is no such session.",
            Self::ClientInvalid => "The client could not be authenticated.",
            Self::LegacyGone => "This legacy route is disabled; use its successor.",

            Self::Busy(_) => "The server is overloaded; try again after Retry-After seconds.",
            Self::Unavailable => {
                "The service is temporarily unavailable; try again after Retry-After seconds."
            }
            Self::AuditUnavailable => {
                "The audit trail cannot be written, and this server requires it; try again after \
                 Retry-After seconds."
            }
            Self::Timeout => "The request took too long; it may or may not have taken effect.",
            Self::Internal => {
                "An internal error occurred; the server's log has the details under this instance."
            }
        }
    }

    /// The body of RFC 9457, with the request's id as `instance`.
    pub(crate) fn details(&self, instance: Option<&str>) -> Value {
        let words = self.words();
        let mut body: Map<String, Value> = [
            ("type", format!("urn:gatewright:problem:{}", words.code).into()),
            ("code", words.code.into()),
            ("title", words.title.into()),
            ("status", words.status.as_u16().into()),
            ("detail", words.detail.into()),
        ]
        .into_iter()
        .map(|(name, value): (&str, Value)| (name.to_owned(), value))
        .collect();
        if let Some(instance) = instance {
            body.insert("instance".to_owned(), instance.into());
        }
        if let Self::Validation(errors) = self {
            body.insert("errors".to_owned(), locations(errors));
        }
        body.into()
    }

    /// FastAPI's body for a validation error. Every other problem has the body of RFC 9457, of which clients
    /// of the FastAPI dialect read `detail`.
    pub(crate) fn fastapi(&self, instance: Option<&str>) -> Value {
        match self {
            Self::Validation(errors) => json!({ "detail": locations(errors) }),
            other => other.details(instance),
        }
    }

    /// The error of RFC 6749 §5.2 and its status. Errors of HTTP itself keep their status.
    pub(crate) fn oauth(&self) -> (OAuthError, StatusCode) {
        let status = self.words().status;
        match self {
            Self::ClientInvalid => (OAuthError::InvalidClient, status),
            Self::ScopeNotGranted => (OAuthError::InvalidScope, status),
            Self::Validation(_) => (OAuthError::InvalidRequest, StatusCode::BAD_REQUEST),
            _ if status.is_server_error() => (OAuthError::TemporarilyUnavailable, status),
            _ => (OAuthError::InvalidRequest, status),
        }
    }

    /// Header fields of the problem (RFC 6750 §3, RFC 9110 §10.2.3).
    pub(crate) fn headers(&self) -> Vec<(header::HeaderName, HeaderValue)> {
        let challenge = |text| vec![(header::WWW_AUTHENTICATE, HeaderValue::from_static(text))];
        let retry = |after: Duration| {
            let seconds = after.as_millis().div_ceil(1000).clamp(1, 120);
            vec![(
                header::RETRY_AFTER,
                HeaderValue::from_str(&seconds.to_string()).unwrap_or(HeaderValue::from_static("1")),
            )]
        };
        match self {
            Self::InvalidCredentials | Self::TokenMissing => challenge("Bearer"),
            Self::TokenInvalid => challenge("Bearer error=\"invalid_token\""),
            Self::ClientInvalid => challenge("Basic realm=\"gatewright\", charset=\"UTF-8\""),
            Self::Busy(after) => retry(*after),
            Self::Unavailable | Self::AuditUnavailable | Self::Timeout => retry(Duration::from_secs(1)),
            _ => Vec::new(),
        }
    }
}

fn locations(errors: &[FieldError]) -> Value {
    let entry = |error: &FieldError| {
        let place = if error.field.is_empty() { json!(["body"]) } else { json!(["body", error.field]) };
        json!({ "loc": place, "msg": error.message, "type": error.kind })
    };
    errors.iter().map(entry).collect()
}

/// The page that lists every problem.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Problems\n\nEvery error is `application/problem+json` (RFC 9457). `code` is stable; `type` is \
         `urn:gatewright:problem:` and the code; `instance` is the request's id.\n\n\
         | status | code | title | detail |\n|---|---|---|---|\n",
    );
    let mut all = Problem::every().map(|problem| problem.words());
    all.sort_by_key(|words| (words.status.as_u16(), words.code));
    for words in all {
        let row = format!(
            "| {} | `{}` | {} | {} |\n",
            words.status.as_u16(),
            words.code,
            words.title,
            words.detail
        );
        page.push_str(&row);
    }
    page
}

/// The layer takes the problem from the extensions and writes the body.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.words().status.into_response();
        for (name, value) in self.headers() {
            response.headers_mut().insert(name, value);
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        if error.is_unavailable() {
            tracing::warn!(%error, "a request was answered 503");
            Self::Unavailable
        } else {
            tracing::error!(%error, "a request failed in the store");
            Self::Internal
        }
    }
}

impl From<hashing::Refusal> for Problem {
    fn from(refusal: hashing::Refusal) -> Self {
        match refusal {
            hashing::Refusal::Busy(after) => Self::Busy(after),
            // The client has disconnected, so this response is not read.
            hashing::Refusal::Gone => Self::Unavailable,
        }
    }
}

impl From<auth::token::MintError> for Problem {
    fn from(error: auth::token::MintError) -> Self {
        tracing::error!(?error, "no token could be issued");
        Self::Internal
    }
}

impl From<auth::login::LoginError> for Problem {
    fn from(error: auth::login::LoginError) -> Self {
        use auth::login::LoginError;
        match error {
            LoginError::Refused => Self::InvalidCredentials,
            LoginError::Scope => Self::ScopeNotGranted,
            LoginError::Hash(refusal) => refusal.into(),
            LoginError::Mint(error) => error.into(),
            LoginError::Store(error) => error.into(),
        }
    }
}

impl From<auth::session::RefreshError> for Problem {
    fn from(error: auth::session::RefreshError) -> Self {
        use auth::session::RefreshError;
        match error {
            RefreshError::Refused => Self::RefreshRefused,
            RefreshError::Scope => Self::ScopeNotGranted,
            RefreshError::Mint(error) => error.into(),
            RefreshError::Store(error) => error.into(),
        }
    }
}

impl From<auth::session::LogoutError> for Problem {
    fn from(error: auth::session::LogoutError) -> Self {
        use auth::session::LogoutError;
        match error {
            LogoutError::Unknown => Self::SessionNotFound,
            LogoutError::Store(error) => error.into(),
        }
    }
}

impl From<auth::account::RegisterError> for Problem {
    fn from(error: auth::account::RegisterError) -> Self {
        use auth::account::RegisterError;
        match error {
            RegisterError::EmailTaken => Self::EmailTaken,
            RegisterError::UsernameTaken => Self::UsernameTaken,
            RegisterError::Invalid(error) => Self::Validation(vec![error]),
            RegisterError::Hash(refusal) => refusal.into(),
            RegisterError::Mint(error) => error.into(),
            RegisterError::Store(error) => error.into(),
        }
    }
}

impl From<auth::account::MeError> for Problem {
    fn from(error: auth::account::MeError) -> Self {
        use auth::account::MeError;
        match error {
            MeError::Gone => Self::TokenInvalid,
            MeError::Store(error) => error.into(),
        }
    }
}

impl From<auth::account::PatchError> for Problem {
    fn from(error: auth::account::PatchError) -> Self {
        use auth::account::PatchError;
        match error {
            PatchError::Invalid(errors) => Self::Validation(errors),
            PatchError::UsernameTaken => Self::UsernameTaken,
            PatchError::Gone => Self::TokenInvalid,
            PatchError::Store(error) => error.into(),
        }
    }
}

impl From<auth::account::PasswordError> for Problem {
    fn from(error: auth::account::PasswordError) -> Self {
        use auth::account::PasswordError;
        match error {
            PasswordError::Refused => Self::PasswordWrong,
            PasswordError::Invalid(error) => Self::Validation(vec![error]),
            PasswordError::Hash(refusal) => refusal.into(),
            PasswordError::Store(error) => error.into(),
        }
    }
}

impl From<auth::account::EraseError> for Problem {
    fn from(error: auth::account::EraseError) -> Self {
        use auth::account::EraseError;
        match error {
            EraseError::Refused => Self::PasswordWrong,
            EraseError::Hash(refusal) => refusal.into(),
            EraseError::Store(error) => error.into(),
        }
    }
}

impl From<auth::client::ClientError> for Problem {
    fn from(error: auth::client::ClientError) -> Self {
        use auth::client::ClientError;
        match error {
            ClientError::Refused | ClientError::Taken | ClientError::Unknown | ClientError::BadId => {
                Self::ClientInvalid
            }
            ClientError::Store(error) => error.into(),
        }
    }
}

impl From<auth::token::CallerError> for Problem {
    fn from(error: auth::token::CallerError) -> Self {
        use auth::token::CallerError;
        match error {
            CallerError::Invalid(why) => {
                tracing::debug!(%why, "a bearer token was refused");
                Self::TokenInvalid
            }
            CallerError::Revoked => Self::TokenInvalid,
            CallerError::Stale(error) => error.into(),
        }
    }
}
