//! The context of a request: input, caller, and its single database lease.

use std::future::Future;

use auth::token::{Caller, authenticate, authenticate_even_if_expired};
use auth::{OpContext, Services};
use axum::extract::{FromRequestParts as _, RawPathParams, Request};
use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;
use model::event::Obstacle;
use model::{Event, EventKind, Now, Origin};
use protocol::wire::authorization::Authorization;
use runtime::AuditContext;
use runtime::audit::Receipts;
use schemars::SchemaGenerator;
use store::Lease;
use tokio_util::sync::CancellationToken;

use super::AppState;
use super::input::{BODY_PROBLEMS, Input, Received, authorization};
use crate::endpoint::{self, RequestDescription};
use crate::layers::{Gone, ReadBody, RequestOrigin};
use crate::metrics::Sources;
use crate::problem::{Problem, ProblemKind};
use crate::request::operation::Context;

/// One request, read and authenticated, with its single lease. A handler receives one context, and reading it
/// consumes the request, so that no handler has two leases.
pub(crate) struct RequestContext<I, W = Anonymous> {
    input: I,
    caller: W,
    now: Now,
    lease: Lease,
    audit: AuditContext,
    app: AppState,
}

impl<I, W> RequestContext<I, W> {
    /// The input, the caller, and the context for operations.
    pub(crate) fn parts(&mut self) -> (&I, &W, OpContext<'_>) {
        let ctx = OpContext {
            services: &self.app.0.services,
            lease: &mut self.lease,
            audit: &self.audit,
            now: self.now,
        };
        (&self.input, &self.caller, ctx)
    }

    /// Cancelled when the server stops: what waits for something to happen ends.
    pub(crate) fn stopping(&self) -> CancellationToken {
        self.app.0.stopping.clone()
    }

    /// The URL at which clients reach the server, without a trailing slash.
    pub(crate) fn public_url(&self) -> &str {
        &self.app.0.settings.public_url
    }

    /// The services, for handlers that need no operation.
    pub(crate) fn services(&self) -> &Services {
        &self.app.0.services
    }
}

/// Authenticates the caller of a request.
pub(crate) trait Authenticate: Sized + Send + Sync + 'static {
    /// The authentication in documents.
    const CALLER: endpoint::Caller;
    /// The problems of the authentication.
    const PROBLEMS: &'static [ProblemKind] = &[];
    /// The events of a caller that is refused.
    const EVENTS: &'static [EventKind] = &[];

    /// Identifies the caller, using the request's own lease.
    fn identify(
        ctx: &mut OpContext<'_>,
        headers: &HeaderMap,
    ) -> impl Future<Output = Result<Self, Problem>> + Send;
}

/// No authentication.
#[derive(Debug)]
pub(crate) struct Anonymous;

impl Authenticate for Anonymous {
    const CALLER: endpoint::Caller = endpoint::Caller::Anonymous;

    async fn identify(_: &mut OpContext<'_>, _: &HeaderMap) -> Result<Self, Problem> {
        Ok(Self)
    }
}

/// No authentication, where users register by themselves.
#[derive(Debug)]
pub(crate) struct Registrant;

impl Authenticate for Registrant {
    const CALLER: endpoint::Caller = endpoint::Caller::Anonymous;
    const PROBLEMS: &'static [ProblemKind] = &[ProblemKind::RegistrationClosed];
    const EVENTS: &'static [EventKind] = &[EventKind::RegistrationRefused];

    async fn identify(ctx: &mut OpContext<'_>, _: &HeaderMap) -> Result<Self, Problem> {
        if ctx.services.settings.registration_enabled {
            return Ok(Self);
        }
        ctx.audit.note(Event::RegistrationRefused { reason: Obstacle::Closed });
        Err(Problem::RegistrationClosed)
    }
}

const BEARER_PROBLEMS: &[ProblemKind] =
    &[ProblemKind::TokenMissing, ProblemKind::TokenInvalid, ProblemKind::Unavailable];

/// Requires a valid access token.
impl Authenticate for Caller {
    const CALLER: endpoint::Caller = endpoint::Caller::Bearer;
    const PROBLEMS: &'static [ProblemKind] = BEARER_PROBLEMS;
    const EVENTS: &'static [EventKind] = &[EventKind::TokenRefused];

    async fn identify(ctx: &mut OpContext<'_>, headers: &HeaderMap) -> Result<Self, Problem> {
        match authorization(headers) {
            Some(Authorization::Bearer(token)) => Ok(authenticate(ctx, token.expose()).await?),
            _ => Err(Problem::TokenMissing),
        }
    }
}

/// Accepts an access token, even an expired one, or none.
#[derive(Debug)]
pub(crate) struct MaybeExpired(pub(crate) Option<Result<Caller, Problem>>);

impl Authenticate for MaybeExpired {
    const CALLER: endpoint::Caller = endpoint::Caller::BearerOrRefreshToken;
    const PROBLEMS: &'static [ProblemKind] = BEARER_PROBLEMS;
    const EVENTS: &'static [EventKind] = &[EventKind::TokenRefused];

    async fn identify(ctx: &mut OpContext<'_>, headers: &HeaderMap) -> Result<Self, Problem> {
        match authorization(headers) {
            Some(Authorization::Bearer(token)) => {
                let caller = authenticate_even_if_expired(ctx, token.expose()).await;
                Ok(Self(Some(caller.map_err(Problem::from))))
            }
            _ => Ok(Self(None)),
        }
    }
}

/// The parsed `Authorization` header, for client credentials.
#[derive(Debug)]
pub(crate) struct ClientCredentials(pub(crate) Option<Authorization>);

impl Authenticate for ClientCredentials {
    const CALLER: endpoint::Caller = endpoint::Caller::Client;
    const PROBLEMS: &'static [ProblemKind] =
        &[ProblemKind::ClientInvalid, ProblemKind::ClientNotAllowed, ProblemKind::Unavailable];

    async fn identify(_: &mut OpContext<'_>, headers: &HeaderMap) -> Result<Self, Problem> {
        Ok(Self(authorization(headers)))
    }
}

impl<I: Input, W: Authenticate> Context for RequestContext<I, W> {
    async fn from_request(request: Request, app: &AppState) -> Result<Self, Problem> {
        let (mut parts, _) = request.into_parts();
        if !app.may_be_audited(&parts.method) {
            return Err(Problem::AuditUnavailable);
        }

        let origin =
            parts.extensions.get::<RequestOrigin>().map_or_else(Origin::http, |origin| (*origin.0).clone());
        let gone = parts.extensions.get::<Gone>().map_or_else(CancellationToken::new, |gone| gone.0.clone());
        let receipts = parts.extensions.get::<Receipts>().cloned().unwrap_or_default();
        let audit = app.0.audit.of(origin).gathering(receipts);
        let mut lease = app.0.requests.lease(gone, audit.clone());
        let now = app.0.clock.now();
        let mut ctx = OpContext { services: &app.0.services, lease: &mut lease, audit: &audit, now };
        let caller = W::identify(&mut ctx, &parts.headers).await?;

        let body = parts.extensions.remove::<ReadBody>().map(|body| body.0).unwrap_or_default();
        let parameters =
            if I::PARAMETERS.is_empty() { Vec::new() } else { path_parameters(&mut parts).await };
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let input = I::read(&Received { headers: parts.headers, body, parameters, query })?;
        Ok(Self { input, caller, now, lease, audit, app: app.clone() })
    }

    fn describe(schemas: &mut SchemaGenerator) -> RequestDescription {
        let body = I::describe(schemas);
        let mut problems = [W::PROBLEMS, I::PROBLEMS].concat();
        if body.is_some() {
            problems.extend(BODY_PROBLEMS);
        }
        RequestDescription { caller: W::CALLER, body, parameters: I::PARAMETERS, problems, events: W::EVENTS }
    }
}

/// The parameters in the path. One that is not UTF-8 is left out.
async fn path_parameters(parts: &mut Parts) -> Vec<(String, String)> {
    let parameters = RawPathParams::from_request_parts(parts, &()).await;
    parameters
        .map(|all| all.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
        .unwrap_or_default()
}

/// Nothing of the request.
#[derive(Debug)]
pub(crate) struct Nothing;

impl Context for Nothing {
    async fn from_request(_: Request, _: &AppState) -> Result<Self, Problem> {
        Ok(Self)
    }
}

/// The degraded components when the server is ready, else the reason why it is not.
#[derive(Debug)]
pub(crate) struct Readiness(pub(crate) Result<Vec<String>, &'static str>);

impl Context for Readiness {
    async fn from_request(_: Request, app: &AppState) -> Result<Self, Problem> {
        let condition = (app.0.health)();
        if condition.stopping {
            return Ok(Self(Err("the server is stopping")));
        }
        let database = app.0.probe.check(app.0.settings.health_timeout).await;
        Ok(Self(database.map(|()| condition.degraded).map_err(store::NotReady::sentence)))
    }
}

/// The metrics page.
#[derive(Debug)]
pub(crate) struct MetricsPage(pub(crate) String);

impl Context for MetricsPage {
    async fn from_request(_: Request, app: &AppState) -> Result<Self, Problem> {
        let inside = &app.0;
        let sources = Sources {
            services: &inside.services,
            store: &inside.store_metrics,
            jobs: &inside.jobs,
            collectors: &inside.collectors,
        };
        Ok(Self(inside.metrics.page(&sources)))
    }
}

/// The OpenAPI document, and the page that shows it.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) openapi: Bytes,
    pub(crate) page: Bytes,
}

impl Context for Document {
    async fn from_request(_: Request, app: &AppState) -> Result<Self, Problem> {
        let documents = &app.0.documents;
        Ok(Self { openapi: documents.openapi.clone(), page: documents.docs.clone() })
    }
}
