//! Health checks, and the metrics page.

use http::header;
use schemars::JsonSchema;
use serde::Serialize;

use super::page::Page;
use crate::endpoint::{Endpoint, Group, Listener, Mount, Verb};
use crate::problem::{Problem, ProblemKind};
use crate::request::context::{MetricsPage, Nothing, Readiness};
use crate::request::input::Json;
use crate::request::operation::Operation;

/// The result of a health check.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Health")]
pub(crate) struct HealthBody {
    /// `alive`, `started` or `ready`.
    status: &'static str,
    /// Components that work with reduced function; absent when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    degraded: Vec<String>,
}

impl HealthBody {
    fn new(status: &'static str) -> Json<Self> {
        Json(Self { status, degraded: Vec::new() })
    }
}

const fn health(operation: &'static str, summary: &'static str) -> Endpoint {
    Endpoint::new(Verb::Get, Group::Health, operation, summary).unlimited()
}

/// Always succeeds: the process answers.
pub(crate) struct Liveness;

impl Operation for Liveness {
    const ENDPOINT: Endpoint = health("liveness", "Whether the process answers.")
        .at(&[Mount::on("/health/liveness", Listener::Both)]);

    type Context = Nothing;
    type Answer = Json<HealthBody>;

    async fn handle(_: Nothing) -> Result<Self::Answer, Problem> {
        Ok(HealthBody::new("alive"))
    }
}

/// Whether the server can serve requests now.
pub(crate) struct Ready;

impl Operation for Ready {
    const ENDPOINT: Endpoint =
        health("readiness", "Whether the server can serve requests; 503 when it cannot.")
            .at(&[Mount::on("/health/readiness", Listener::Both)])
            .or(&[ProblemKind::Unavailable])
            .round_trips(1);

    type Context = Readiness;
    type Answer = Json<HealthBody>;

    async fn handle(Readiness(readiness): Readiness) -> Result<Self::Answer, Problem> {
        let degraded = readiness.map_err(|detail| Problem::Unavailable(Some(detail)))?;
        Ok(Json(HealthBody { status: "ready", degraded }))
    }
}

/// Always succeeds: the listener opens only after the start is complete.
pub(crate) struct Startup;

impl Operation for Startup {
    const ENDPOINT: Endpoint = health("startup", "Whether the server has started.")
        .at(&[Mount::on("/health/startup", Listener::Both)]);

    type Context = Nothing;
    type Answer = Json<HealthBody>;

    async fn handle(_: Nothing) -> Result<Self::Answer, Problem> {
        Ok(HealthBody::new("started"))
    }
}

/// The metrics, on the operations listener only.
pub(crate) struct Metrics;

impl Operation for Metrics {
    const ENDPOINT: Endpoint = Endpoint::new(Verb::Get, Group::About, "metrics", "Metrics for Prometheus.")
        .at(&[Mount::on("/metrics", Listener::Operations)])
        .unlimited()
        .undocumented();

    type Context = MetricsPage;
    type Answer = Page;

    async fn handle(page: MetricsPage) -> Result<Page, Problem> {
        let kind = (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
        Ok(Page { headers: vec![kind], body: page.0.into() })
    }
}
