//! Endpoints: each is declared once, beside its handler. The router, the OpenAPI document, the labels of
//! metrics, the bodies of errors and the tests of every route read the declaration.

use std::time::Duration;

use auth::limits::Limit;
use http::{HeaderMap, StatusCode};
use model::EventKind;
use schemars::Schema;

use crate::problem::ProblemKind;

/// What a client sends to an operation.
#[derive(Default)]
pub(crate) struct RequestDescription {
    /// The authentication.
    pub(crate) caller: Caller,
    /// The body, if one is read.
    pub(crate) body: Option<BodyDescription>,
    /// Parameters in the path and the query.
    pub(crate) parameters: &'static [Parameter],
    /// The problems of reading and authenticating it.
    pub(crate) problems: Vec<ProblemKind>,
    /// The events of authenticating it.
    pub(crate) events: &'static [EventKind],
}

/// The body that a client sends.
pub(crate) struct BodyDescription {
    /// The media types, the usual one first.
    pub(crate) media_types: &'static [&'static str],
    pub(crate) required: bool,
    pub(crate) schema: Schema,
}

/// A parameter in the path or the query, with its format as JSON Schema or OpenAPI names it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) format: &'static str,
    /// What it says, for one in the query; `None` for one in the path.
    pub(crate) in_query: Option<&'static str>,
}

impl Parameter {
    /// A part of the path.
    pub(crate) const fn path(name: &'static str, format: &'static str) -> Self {
        Self { name, format, in_query: None }
    }

    /// A parameter in the query, which may be absent.
    pub(crate) const fn query(name: &'static str, format: &'static str, says: &'static str) -> Self {
        Self { name, format, in_query: Some(says) }
    }
}

/// The authentication of an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Caller {
    /// None.
    #[default]
    Anonymous,
    /// An access token (RFC 6750).
    Bearer,
    /// An access token, even an expired one, or a refresh token in the body.
    BearerOrRefreshToken,
    /// The credentials of a client (RFC 6749 §2.3).
    Client,
}

impl Caller {
    /// The name in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Bearer => "the user, by access token",
            Self::BearerOrRefreshToken => "the user, by access token or refresh token",
            Self::Client => "a client, by its credentials",
        }
    }
}

/// The method of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `GET`, and with it `HEAD`.
    Get,
    /// `POST`
    Post,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
}

impl Verb {
    /// The method in HTTP.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// The group of an operation: the tag in the OpenAPI document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Accounts of users.
    Accounts,
    /// Sessions and their tokens.
    Sessions,
    /// For applications that verify tokens.
    Tokens,
    /// Health checks: admitted even when the server is overloaded.
    Health,
    /// Pages about the server.
    About,
}

impl Group {
    /// The tag in the OpenAPI document.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Sessions => "sessions",
            Self::Tokens => "tokens",
            Self::Health => "health",
            Self::About => "about",
        }
    }
}

/// The format of a route's errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Problem details (RFC 9457).
    Details,
    /// FastAPI's body for validation errors, else problem details.
    FastApi,
    /// Problem details with the error of OAuth 2.0 beside (RFC 6749 §5.2).
    OAuth,
}

/// The listeners on which a route is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// The public one.
    Public,
    /// The one for operators.
    Operations,
    /// Both.
    Both,
}

/// A path at which an endpoint is served.
#[derive(Clone, Copy, Debug)]
pub struct Mount {
    /// The path as the router writes it, such as `/sessions/{id}`.
    pub path: &'static str,
    /// The format of its errors.
    pub dialect: Dialect,
    /// Where it is served.
    pub listener: Listener,
    /// For a legacy route, the path that replaces it.
    pub successor: Option<&'static str>,
}

impl Mount {
    /// A public path whose errors are problem details.
    pub(crate) const fn public(path: &'static str) -> Self {
        Self { path, dialect: Dialect::Details, listener: Listener::Public, successor: None }
    }

    /// A public path of the FastAPI dialect.
    pub(crate) const fn fastapi(path: &'static str) -> Self {
        Self { dialect: Dialect::FastApi, ..Self::public(path) }
    }

    /// A public path of OAuth 2.0.
    pub(crate) const fn oauth(path: &'static str) -> Self {
        Self { dialect: Dialect::OAuth, ..Self::public(path) }
    }

    /// A legacy path of the FastAPI dialect, replaced by `successor`.
    pub(crate) const fn legacy(path: &'static str, successor: &'static str) -> Self {
        Self { successor: Some(successor), ..Self::fastapi(path) }
    }

    /// Whether it is served on this listener.
    pub fn is_on(&self, listener: Listener) -> bool {
        self.listener == listener || self.listener == Listener::Both
    }

    /// A path on these listeners.
    pub(crate) const fn on(path: &'static str, listener: Listener) -> Self {
        Self { listener, ..Self::public(path) }
    }
}

/// The declaration of an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    /// The method.
    pub verb: Verb,
    /// The name of the operation, in metrics and documents.
    pub operation: &'static str,
    /// The group of the operation.
    pub group: Group,
    /// One sentence for the documentation.
    pub summary: &'static str,
    /// The paths.
    pub mounts: &'static [Mount],
    /// The status of a success.
    pub success: StatusCode,
    /// The kinds of events that a call may record. An operation without any only reads.
    pub events: &'static [EventKind],
    /// The problems of the operation itself.
    pub problems: &'static [ProblemKind],
    /// Problems that this endpoint answers with another status than the usual one.
    pub restated: Option<(StatusCode, &'static [ProblemKind])>,
    /// The round trips to the database of a usual success. A narrowed scope, a late replay and the end of the
    /// oldest of too many sessions take one more each.
    pub round_trips: u64,
    /// The media type of a success, where it is not JSON.
    pub media_type: Option<&'static str>,
    /// Whether the OpenAPI document lists it.
    pub documented: bool,
    /// The limits in which a call counts by the client's network, before its body is read.
    pub limits: &'static [Limit],
    /// How long the operation may wait for something to happen, beyond the deadline of a request.
    pub waits: Duration,
    /// Whether only refused calls count, in [`Limit::Global`]: the operation itself limits the others.
    pub counts_refusals: bool,
    /// Calls that count like those of an endpoint that counts refusals, told by header fields and body.
    pub counts_refusals_of: Option<fn(&HeaderMap, &[u8]) -> bool>,
}

impl Endpoint {
    /// An endpoint that answers 200 and is served nowhere yet.
    pub(crate) const fn new(
        verb: Verb,
        group: Group,
        operation: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            verb,
            operation,
            group,
            summary,
            mounts: &[],
            success: StatusCode::OK,
            events: &[],
            problems: &[],
            restated: None,
            round_trips: 0,
            media_type: None,
            documented: true,

            limits: &[Limit::Global],
            waits: Duration::ZERO,
            counts_refusals: false,
            counts_refusals_of: None,
        }
    }

    /// Served at these paths.
    pub(crate) const fn at(self, mounts: &'static [Mount]) -> Self {
        Self { mounts, ..self }
    }

    /// Answers a success with this status.
    pub(crate) const fn answers(self, success: StatusCode) -> Self {
        Self { success, ..self }
    }

    /// May record events of these kinds, and nothing else but [`EventKind::OutcomeUnknown`].
    pub(crate) const fn records(self, events: &'static [EventKind]) -> Self {
        Self { events, ..self }
    }

    /// May be refused with these problems, besides those of its context.
    pub(crate) const fn or(self, problems: &'static [ProblemKind]) -> Self {
        Self { problems, ..self }
    }

    /// Answers these of its problems with this status instead of the usual one.
    pub(crate) const fn restating(self, status: StatusCode, problems: &'static [ProblemKind]) -> Self {
        Self { restated: Some((status, problems)), ..self }
    }

    /// Takes this many round trips to the database.
    pub(crate) const fn round_trips(self, round_trips: u64) -> Self {
        Self { round_trips, ..self }
    }

    /// Answers with this media type.
    pub(crate) const fn sends(self, media_type: &'static str) -> Self {
        Self { media_type: Some(media_type), ..self }
    }

    /// Left out of the OpenAPI document.
    pub(crate) const fn undocumented(self) -> Self {
        Self { documented: false, ..self }
    }

    /// May wait this long for something to happen.
    pub(crate) const fn waits_up_to(self, waits: Duration) -> Self {
        Self { waits, ..self }
    }

    /// Counts in these limits instead of only [`Limit::Global`].
    pub(crate) const fn limited_by(self, limits: &'static [Limit]) -> Self {
        Self { limits, ..self }
    }

    /// Counts in no limit.
    pub(crate) const fn unlimited(self) -> Self {
        self.limited_by(&[])
    }

    /// Counts only when it is refused: the operation has a limit of its own, or needs none.
    pub(crate) const fn counting_refusals(self) -> Self {
        Self { counts_refusals: true, ..self.unlimited() }
    }

    /// Counts the calls that `is_such` selects only when they are refused. The body is read before a call
    /// counts.
    pub(crate) const fn counting_refusals_of(self, is_such: fn(&HeaderMap, &[u8]) -> bool) -> Self {
        Self { counts_refusals_of: Some(is_such), ..self }
    }

    /// Whether calls count in a limit by network.
    pub(crate) fn is_limited(&self) -> bool {
        self.counts_refusals || !self.limits.is_empty()
    }

    /// The status of a problem at this endpoint.
    pub(crate) fn status_of(&self, problem: ProblemKind) -> StatusCode {
        match self.restated {
            Some((status, problems)) if problems.contains(&problem) => status,
            Some(_) | None => problem.words().status,
        }
    }

    /// Whether a call may change something.
    pub fn changes(&self) -> bool {
        !self.events.is_empty()
    }
}

/// The path that a request matched, and its endpoint if the method matched too; noted on the response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matched {
    pub(crate) endpoint: Option<&'static Endpoint>,
    pub(crate) mount: &'static Mount,
}
