//! Every error that a client can receive: one closed enum, written in one place.
//!
//! A handler returns a [`Problem`]; the layer [`crate::layers::problems`] writes it in the dialect of the
//! route: problem details (RFC 9457), FastAPI's body in the FastAPI dialect, or problem details with the
//! error of RFC 6749.

use std::time::Duration;

use auth::limits::Checked;
use auth::password::Unchecked;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use model::profile::FieldError;
use protocol::wire::oauth::OAuthError;
use serde_json::{Map, Value, json};

/// How long a client waits that a limit has refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// How long.
    pub after: Duration,
    /// The limit, unless it is that of an account.
    pub checked: Option<Checked>,
}

impl From<Checked> for TooMany {
    fn from(checked: Checked) -> Self {
        Self { after: checked.decision.reset, checked: Some(checked) }
    }
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
    /// The error of OAuth 2.0 (RFC 6749 §5.2), unless the status determines it.
    pub oauth: Option<OAuthError>,
    /// The `WWW-Authenticate` field (RFC 6750 §3, RFC 7617).
    pub challenge: Option<&'static str>,
}

impl Words {
    const fn with_oauth(self, oauth: OAuthError) -> Self {
        Self { oauth: Some(oauth), ..self }
    }

    const fn with_challenge(self, challenge: &'static str) -> Self {
        Self { challenge: Some(challenge), ..self }
    }
}

/// Declares every problem: `Name(data) = STATUS, "code", "title", "detail", …;`.
macro_rules! problems {
    ($(
        $(#[doc = $about:literal])+
        $name:ident $(($data:ty))? = $status:ident, $code:literal, $title:literal, $detail:literal
        $(, oauth $oauth:ident)? $(, challenge $challenge:literal)?;
    )+) => {
        /// An error, with only the information that a client may have.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Problem {
            $($(#[doc = $about])+ $name $(($data))?,)+
        }

        /// The kind of a [`Problem`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ProblemKind {
            $($(#[doc = $about])+ $name,)+
        }

        impl ProblemKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Code, status and texts.
            pub const fn words(self) -> Words {
                match self {
                    $(Self::$name => Words {
                        code: $code,
                        status: StatusCode::$status,
                        title: $title,
                        detail: $detail,
                        oauth: None,
                        challenge: None,
                    }
                    $(.with_oauth(OAuthError::$oauth))?
                    $(.with_challenge($challenge))?,)+
                }
            }
        }

        impl Problem {
            /// Its kind.
            pub fn kind(&self) -> ProblemKind {
                match self {
                    $(Self::$name { .. } => ProblemKind::$name,)+
                }
            }
        }
    };
}

problems! {
    /// Members of the request are invalid.
    Validation(Vec<FieldError>) = UNPROCESSABLE_ENTITY, "validation_failed", "Validation failed",
        "Some members of the request are invalid; see errors.";
    /// The body does not match its content type.
    MalformedBody = BAD_REQUEST, "malformed_body", "Malformed body",
        "The body does not match its content type.";
    /// A parameter of the query is wrong.
    MalformedQuery = BAD_REQUEST, "malformed_query", "Malformed query",
        "A parameter of the query is repeated or has a value that it cannot have.";
    /// The request does not name one host.
    HostInvalid = BAD_REQUEST, "host_invalid", "Invalid host",
        "A request has exactly one Host field, with a host and perhaps a port (RFC 9112).";
    /// The content type is not supported.
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "Unsupported media type",
        "Send the content type that is documented for this route.";
    /// The body exceeds 64 KiB.
    BodyTooLarge = PAYLOAD_TOO_LARGE, "body_too_large", "Body too large",
        "A body has at most 64 KiB.";
    /// The body did not arrive in time.
    BodyTimeout = REQUEST_TIMEOUT, "body_timeout", "Body timeout",
        "The body did not arrive in time.";
    /// The header fields exceed 16 KiB.
    HeadersTooLarge = REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", "Headers too large",
        "Header fields have at most 16 KiB together.";
    /// There is no such route.
    NotFound = NOT_FOUND, "not_found", "Not found",
        "There is no such route.";
    /// The route does not support the method.
    MethodNotAllowed = METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed",
        "This route does not support the method; see Allow.";
    /// Unknown user, wrong password, or inactive user.
    InvalidCredentials = UNAUTHORIZED, "invalid_credentials", "Invalid credentials",
        "Incorrect username or password",
        oauth InvalidGrant,
        challenge "Bearer";
    /// There is no bearer token.
    TokenMissing = UNAUTHORIZED, "token_missing", "Not authenticated",
        "Not authenticated",
        challenge "Bearer";
    /// The bearer token is invalid, or its session has ended.
    TokenInvalid = UNAUTHORIZED, "token_invalid", "Invalid token",
        "Could not validate credentials",
        challenge "Bearer error=\"invalid_token\"";
    /// The refresh token is expired, revoked, unknown or reused.
    RefreshRefused = UNAUTHORIZED, "refresh_refused", "Invalid refresh token",
        "The refresh token is expired, revoked or unknown; log in again.",
        oauth InvalidGrant,
        challenge "Bearer";
    /// The client has used the successor of the refresh token; the session lives.
    RefreshSuperseded = UNAUTHORIZED, "refresh_superseded", "Refresh token superseded",
        "This client has used a newer refresh token of the session; use that one, or log in again.",
        oauth InvalidGrant,
        challenge "Bearer";
    /// The current password is wrong.
    PasswordWrong = FORBIDDEN, "password_wrong", "Wrong password",
        "The current password is wrong.";
    /// The scope cannot be granted.
    ScopeNotGranted = BAD_REQUEST, "invalid_scope", "Scope not granted",
        "The requested scope cannot be granted.",
        oauth InvalidScope;
    /// The grant type is neither `password` nor `refresh_token`.
    GrantTypeUnsupported = BAD_REQUEST, "unsupported_grant_type", "Unsupported grant type",
        "The grant type is password, also when it is left out, or refresh_token.",
        oauth UnsupportedGrantType;
    /// Users do not register by themselves here.
    RegistrationClosed = FORBIDDEN, "registration_closed", "Registration closed",
        "This server does not accept registrations; an operator adds accounts.";
    /// Another account has the email.
    EmailTaken = CONFLICT, "email_taken", "Email taken",
        "Email already exists";
    /// Another account has the username.
    UsernameTaken = CONFLICT, "username_taken", "Username taken",
        "Username already exists";
    /// The caller has no session with this id.
    SessionNotFound = NOT_FOUND, "session_not_found", "Session not found",
        "There is no such session.";
    /// The client's credentials are wrong or missing.
    ClientInvalid = UNAUTHORIZED, "invalid_client", "Invalid client",
        "The client could not be authenticated.",
        oauth InvalidClient,
        challenge "Basic realm=\"gatewright\", charset=\"UTF-8\"";
    /// The client does not have the right that the call needs.
    ClientNotAllowed = FORBIDDEN, "client_not_allowed", "Client not allowed",
        "The client does not have the right that this needs: gatewright client set-rights.",
        oauth UnauthorizedClient;
    /// The legacy route is disabled.
    LegacyGone = GONE, "legacy_gone", "Route disabled",
        "This legacy route is disabled; use its successor.";
    /// Revocations after the given number are not in the list any more, or the number never was.
    RevocationsGone = GONE, "revocations_gone", "Revocations gone",
        "The number is not of the present list; read the whole list again, without after.";
    /// A limit refuses the request.
    RateLimited(TooMany) = TOO_MANY_REQUESTS, "rate_limited", "Too many requests",
        "Too many requests; try again after Retry-After seconds.",
        oauth TemporarilyUnavailable;
    /// The server is overloaded; the duration is for `Retry-After`.
    Busy(Duration) = SERVICE_UNAVAILABLE, "busy", "Busy",
        "The server is overloaded; try again after Retry-After seconds.";
    /// The database or another component cannot be reached; a text says which, where clients may know.
    Unavailable(Option<&'static str>) = SERVICE_UNAVAILABLE, "unavailable", "Unavailable",
        "The service is temporarily unavailable; try again after Retry-After seconds.";
    /// The audit trail cannot be written, and the configuration requires it.
    AuditUnavailable = SERVICE_UNAVAILABLE, "audit_unavailable", "Audit unavailable",
        "The audit trail cannot be written, and this server requires it; try again after Retry-After \
         seconds.";
    /// The request exceeded its deadline.
    Timeout = SERVICE_UNAVAILABLE, "timeout", "Timed out",
        "The request took too long; it may or may not have taken effect.";
    /// An internal error: a bug.
    Internal = INTERNAL_SERVER_ERROR, "internal_error", "Internal error",
        "An internal error occurred; the server's log has the details under this instance.",
        oauth ServerError;
}

impl ProblemKind {
    /// Whether its answer has `Retry-After`.
    pub(crate) fn says_when(self) -> bool {
        self == Self::RateLimited || self.words().status == StatusCode::SERVICE_UNAVAILABLE
    }
}

impl Problem {
    /// A component cannot be reached.
    pub const UNAVAILABLE: Self = Self::Unavailable(None);

    /// Code, status and texts of this problem.
    pub fn words(&self) -> Words {
        let words = self.kind().words();
        if let Self::Unavailable(Some(detail)) = self { Words { detail, ..words } } else { words }
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

    /// The body of RFC 9457, with the error of RFC 6749 §5.2 beside.
    pub(crate) fn oauth(&self, instance: Option<&str>) -> Value {
        let Words { status, oauth, detail, .. } = self.words();
        let by_status = if status.is_server_error() {
            OAuthError::TemporarilyUnavailable
        } else {
            OAuthError::InvalidRequest
        };
        let mut body = self.details(instance);
        if let Some(members) = body.as_object_mut() {
            members.insert("error".to_owned(), oauth.unwrap_or(by_status).code().into());
            members.insert("error_description".to_owned(), detail.into());
        }
        body
    }

    /// Header fields of the problem (RFC 6750 §3, RFC 9110 §10.2.3).
    pub(crate) fn headers(&self) -> HeaderMap {
        let words = self.words();
        let mut headers = HeaderMap::new();
        if let Some(challenge) = words.challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        let after = match self {
            Self::RateLimited(refused) => Some(refused.after),
            Self::Busy(after) => Some((*after).min(MOST_BUSY)),
            _ if self.kind().says_when() => Some(Duration::from_secs(1)),
            _ => None,
        };
        if let Some(after) = after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(after).max(1)));
        }
        if let Self::RateLimited(TooMany { checked: Some(checked), .. }) = self {
            write_limits(&[*checked], &mut headers);
        }
        headers
    }
}

/// Longest wait that a busy server asks for.
const MOST_BUSY: Duration = Duration::from_mins(2);

/// Seconds, rounded up: after as many, the time has passed.
fn whole_seconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(u64::MAX)
}

/// Writes `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers): of each limit its quota
/// and window, what remains, and the seconds until there is more.
pub(crate) fn write_limits(checked: &[Checked], headers: &mut HeaderMap) {
    let list = |item: fn(&Checked) -> String| {
        let items: Vec<String> = checked.iter().map(item).collect();
        HeaderValue::from_str(&items.join(", "))
    };
    let policy = list(|Checked { limit, rule, .. }| {
        format!("\"{}\";q={};w={}", limit.as_str(), rule.most, whole_seconds(rule.window))
    });
    let state = list(|Checked { limit, decision, .. }| {
        format!("\"{}\";r={};t={}", limit.as_str(), decision.remaining, whole_seconds(decision.reset))
    });
    if let (Ok(policy), Ok(state)) = (policy, state) {
        headers.insert(RATE_LIMIT_POLICY, policy);
        headers.insert(RATE_LIMIT, state);
    }
}

/// The header fields of limits.
pub(crate) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(crate) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

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
        "# Problems\n\n\
         An error is `application/problem+json` (RFC 9457), with two exceptions, which are \
         `application/json`: the routes of OAuth 2.0 (`/token`, `/introspect`, `/revoke`) have `error` and \
         `error_description` (RFC 6749 §5.2) beside the members of the problem, and validation in the \
         FastAPI dialect has FastAPI's body. A failed validation is 400 at `/introspect` and `/revoke`, and \
         so is a refused refresh token at `/token`. `code` is stable; `type` is `urn:gatewright:problem:` \
         and the code; `instance` is the request's id.\n\n\
         | status | code | title | detail |\n\
         |---|---|---|---|\n",
    );

    let mut all: Vec<_> = ProblemKind::ALL.iter().map(|kind| kind.words()).collect();
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
        response.headers_mut().extend(self.headers());
        response.extensions_mut().insert(self);
        response
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        if matches!(error, store::Error::Conflict(_)) {
            tracing::error!(%error, "a request was answered 503");
            Self::UNAVAILABLE
        } else if error.is_unavailable() {
            tracing::warn!(%error, "a request was answered 503");
            Self::UNAVAILABLE
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
            hashing::Refusal::Gone => Self::UNAVAILABLE,
        }
    }
}

impl From<Unchecked> for Problem {
    fn from(unchecked: Unchecked) -> Self {
        match unchecked {
            Unchecked::Limited(after) => Self::RateLimited(TooMany { after, checked: None }),
            Unchecked::Hash(refusal) => refusal.into(),
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
            LoginError::Unchecked(why) => why.into(),
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
            RefreshError::Superseded => Self::RefreshSuperseded,
            RefreshError::Limited(checked) => Self::RateLimited(checked.into()),
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
            LogoutError::Gone => Self::TokenInvalid,
            LogoutError::Store(error) => error.into(),
        }
    }
}

impl From<auth::session::ListError> for Problem {
    fn from(error: auth::session::ListError) -> Self {
        use auth::session::ListError;
        match error {
            ListError::Ended => Self::TokenInvalid,
            ListError::Store(error) => error.into(),
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
            PasswordError::Gone => Self::TokenInvalid,
            PasswordError::Invalid(error) => Self::Validation(vec![error]),
            PasswordError::Unchecked(why) => why.into(),
            PasswordError::Mint(error) => error.into(),
            PasswordError::Store(error) => error.into(),
        }
    }
}

impl From<auth::account::EraseError> for Problem {
    fn from(error: auth::account::EraseError) -> Self {
        use auth::account::EraseError;
        match error {
            EraseError::Refused => Self::PasswordWrong,
            EraseError::Gone => Self::TokenInvalid,
            EraseError::Unchecked(why) => why.into(),
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
            ClientError::NotAllowed => Self::ClientNotAllowed,
            ClientError::Store(error) => error.into(),
        }
    }
}

impl From<auth::session::feed::FeedError> for Problem {
    fn from(error: auth::session::feed::FeedError) -> Self {
        use auth::session::feed::FeedError;
        match error {
            FeedError::Gone => Self::RevocationsGone,
            FeedError::TooManyWait => Self::Busy(Duration::from_secs(1)),
            FeedError::Store(error) => error.into(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_detail_can_be_an_error_description() {
        for problem in ProblemKind::ALL {
            let detail = problem.words().detail;
            assert!(protocol::wire::oauth::is_description(detail), "{detail}");
        }
    }

    /// RFC 9110 §15.5.2.
    #[test]
    fn every_401_names_how_to_authenticate_and_nothing_else_does() {
        for problem in ProblemKind::ALL {
            let words = problem.words();
            assert_eq!(words.status == StatusCode::UNAUTHORIZED, words.challenge.is_some(), "{}", words.code);
        }
    }
}
