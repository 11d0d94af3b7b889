//! Extracts what a handler receives: the context with its single lease, the caller, the input.
//!
//! The fields of [`AppState`] are private to this module, so that no handler reaches the pool in it.

pub(crate) mod context;
pub(crate) mod form;
pub(crate) mod input;
pub(crate) mod operation;

use std::sync::Arc;

use auth::Services;
use bytes::Bytes;
use model::Clock;
use runtime::AuditContext;
use runtime::metric::{Collector, JobMetrics};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::{ServerHealth, Settings, WebDeps};

/// The router's state. Outside this module only `router` names it, which `cargo xtask tidy` checks.
#[derive(Clone)]
pub(crate) struct AppState(Arc<SharedState>);

impl AppState {
    /// The state of both routers.
    pub(crate) fn new(deps: WebDeps, metrics: Arc<Metrics>, documents: Documents) -> Self {
        Self(Arc::new(SharedState {
            requests: deps.requests,
            probe: deps.probe,
            services: deps.services,
            audit: deps.audit,
            clock: deps.clock,
            health: deps.health,
            settings: deps.settings,
            stopping: deps.stopping,
            documents,
            metrics,
            store_metrics: deps.store_metrics,
            jobs: deps.jobs,
            collectors: deps.collectors,
        }))
    }

    /// Whether a request of this method may run: it records no event, or events can be written.
    fn may_be_audited(&self, method: &http::Method) -> bool {
        method.is_safe() || !self.0.settings.audit_required || self.0.audit.can_record()
    }
}

/// The documents that are made at the start.
pub(crate) struct Documents {
    /// The OpenAPI document.
    pub(crate) openapi: Bytes,
    /// The page that shows it.
    pub(crate) docs: Bytes,
}

struct SharedState {
    requests: store::RequestPool,
    probe: store::HealthProbe,
    services: Arc<Services>,
    audit: AuditContext,
    clock: Clock,
    health: Arc<dyn Fn() -> ServerHealth + Send + Sync>,
    settings: Settings,
    stopping: CancellationToken,
    documents: Documents,
    metrics: Arc<Metrics>,
    store_metrics: store::StoreMetrics,
    jobs: Arc<JobMetrics>,
    collectors: Vec<Collector>,
}
