//! The context: what one request brings, with the one lease it may use.

use std::convert::Infallible;
use std::future::Future;

use auth::token::{Caller, authenticate, authenticate_even_if_expired};
use auth::{Rooms, Visit};
use axum::extract::{FromRequest, FromRequestParts, Request};
use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;
use model::trail::Receipts;
use model::{Now, Trail};
use protocol::authorization::Authorization;
use store::Lease;
use tokio_util::sync::CancellationToken;

use super::App;
use super::input::{Input, authorization};
use crate::layers::{Gone, ReadBody, RequestOrigin};
use crate::metrics::Sources;
use crate::problem::Problem;

/// One request, read and authenticated. A handler takes exactly one, as its last argument: it consumes the body,
/// so two of them do not compile.
pub(crate) struct Cx<I, W = Anyone> {
    input: I,
    who: W,
    now: Now,
    lease: Lease,
    trail: Trail,
    app: App,
}

impl<I, W> Cx<I, W> {
    /// The input, who calls, and the way into the rooms.
    pub(crate) fn enter(&mut self) -> (&I, &W, Visit<'_>) {
        let visit =
            Visit { rooms: &self.app.0.rooms, lease: &mut self.lease, trail: &self.trail, now: self.now };
        (&self.input, &self.who, visit)
    }

    /// The rooms, for what needs no visit.
    pub(crate) fn rooms(&self) -> &Rooms {
        &self.app.0.rooms
    }
}

/// Who calls, as far as a handler cares.
pub(crate) trait Who: Sized + Send + Sync + 'static {
    /// Finds out, on the request's own lease.
    fn identify(
        visit: &mut Visit<'_>,
        headers: &HeaderMap,
    ) -> impl Future<Output = Result<Self, Problem>> + Send;
}

/// It does not matter.
#[derive(Debug)]
pub(crate) struct Anyone;

impl Who for Anyone {
    async fn identify(_: &mut Visit<'_>, _: &HeaderMap) -> Result<Self, Problem> {
        Ok(Self)
    }
}

/// A valid access token.
impl Who for Caller {
    async fn identify(visit: &mut Visit<'_>, headers: &HeaderMap) -> Result<Self, Problem> {
        match authorization(headers) {
            Some(Authorization::Bearer(token)) => Ok(authenticate(visit, token.expose()).await?),
            _ => Err(Problem::TokenMissing),
        }
    }
}

/// An access token, an expired one too, or nothing.
#[derive(Debug)]
pub(crate) struct MaybeExpired(pub(crate) Option<Result<Caller, Problem>>);

impl Who for MaybeExpired {
    async fn identify(visit: &mut Visit<'_>, headers: &HeaderMap) -> Result<Self, Problem> {
        match authorization(headers) {
            Some(Authorization::Bearer(token)) => {
                let caller = authenticate_even_if_expired(visit, token.expose()).await;
                Ok(Self(Some(caller.map_err(Problem::from))))
            }
            _ => Ok(Self(None)),
        }
    }
}

/// Whether the server is ready, and what of it is degraded; or what is not.
#[derive(Debug)]
pub(crate) struct Readiness(pub(crate) Result<Vec<String>, &'static str>);

impl FromRequestParts<App> for Readiness {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let condition = (app.0.health)();
        if condition.stopping {
            return Ok(Self(Err("the server is stopping")));
        }
        let database = app.0.probe.check(app.0.settings.health_timeout).await;
        Ok(Self(database.map(|()| condition.degraded).map_err(|_| "the database does not answer")))
    }
}

/// The page of metrics.
#[derive(Debug)]
pub(crate) struct MetricsPage(pub(crate) String);

impl FromRequestParts<App> for MetricsPage {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let inside = &app.0;
        let (auditor, store) = (inside.auditor.as_deref(), &inside.store_counts);
        let sources = Sources { rooms: &inside.rooms, auditor, store, jobs: &inside.jobs };
        Ok(Self(inside.metrics.page(&sources)))
    }
}

/// The OpenAPI document.
#[derive(Debug)]
pub(crate) struct Document(pub(crate) Bytes);

impl FromRequestParts<App> for Document {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, app: &App) -> Result<Self, Infallible> {
        Ok(Self(app.0.openapi.clone()))
    }
}

/// The `Authorization` header as it is, for client credentials.
#[derive(Debug)]
pub(crate) struct Presented(pub(crate) Option<Authorization>);

impl Who for Presented {
    async fn identify(_: &mut Visit<'_>, headers: &HeaderMap) -> Result<Self, Problem> {
        Ok(Self(authorization(headers)))
    }
}

impl<I: Input, W: Who> FromRequest<App> for Cx<I, W> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (mut parts, _) = request.into_parts();
        if !app.may_be_audited(&parts.method) {
            return Err(Problem::AuditUnavailable);
        }
        let origin =
            parts.extensions.get::<RequestOrigin>().map(|origin| (*origin.0).clone()).unwrap_or_default();
        let gone = parts.extensions.get::<Gone>().map_or_else(CancellationToken::new, |gone| gone.0.clone());
        let receipts = parts.extensions.get::<Receipts>().cloned().unwrap_or_default();
        let trail = app.0.trail.of(origin).gathering(receipts);
        let mut lease = app.0.front.lease(gone, trail.clone());
        let now = app.0.clock.now();
        let body = parts.extensions.remove::<ReadBody>().map(|body| body.0).unwrap_or_default();
        let mut visit = Visit { rooms: &app.0.rooms, lease: &mut lease, trail: &trail, now };
        let who = W::identify(&mut visit, &parts.headers).await?;
        let input = I::read(&parts.headers, &body)?;
        Ok(Self { input, who, now, lease, trail, app: app.clone() })
    }
}
