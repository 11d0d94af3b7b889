//! HTTP: requests in, operations of `auth`, answers out. The only crate that names axum.
//!
//! A request comes through the layers (`layers`), becomes a [`request::RequestContext`] that owns its one lease, and meets
//! a handler of a few lines (`api`). Errors are one closed list ([`problem`]), written in one place.
//!
//! A handler cannot reach a pool, because it cannot name the state that holds one:
//!
//! ```compile_fail,E0603
//! fn handler(_: axum::extract::State<web::request::AppState>) {} // the module `request` is private
//! ```

mod api;
mod layers;
mod metrics;
mod openapi;
pub mod problem;
mod request;
mod route_table;
mod router;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use auth::Services;
use model::Clock;
use protocol::wire::forwarded::TrustedProxies;
use runtime::metric::{Collector, JobMetrics};
use runtime::{AuditContext, Spawner};

pub use axum::Router;
pub use layers::refusal;
pub use openapi::document as openapi_document;
pub use route_table::Route;
pub use router::{Routers, routers};

/// The address at the other end of the connection; the listener puts it into every request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// What the routers are made of.
pub struct WebDeps {
    /// The connections for requests.
    pub requests: store::RequestPool,
    /// The health check's own connection.
    pub probe: store::HealthProbe,
    /// What the operations need.
    pub services: Arc<Services>,
    /// Where requests say what happened.
    pub audit: AuditContext,
    /// What the store counts, for the metrics.
    pub store_metrics: store::StoreMetrics,
    /// How the jobs ran, for the metrics.
    pub jobs: Arc<JobMetrics>,
    /// What writes the metrics of other parts.
    pub collectors: Vec<Collector>,
    /// The time.
    pub clock: Clock,
    /// Starts the task of each request.
    pub spawner: Spawner,
    /// Says whether the server is ready, and what is degraded.
    pub health: Arc<dyn Fn() -> ServerHealth + Send + Sync>,
    /// The settings.
    pub settings: Settings,
}

/// How the process is, besides the database.
#[derive(Clone, Debug, Default)]
pub struct ServerHealth {
    /// It is on its way down, or not up yet.
    pub stopping: bool,
    /// Components that work less well than they should.
    pub degraded: Vec<String>,
}

/// What the configuration says about HTTP.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The URL that clients use, without a slash at its end.
    pub public_url: String,
    /// Proxies whose forwarding headers are believed.
    pub trusted_proxies: TrustedProxies,
    /// Origins that scripts may call from.
    pub cors_allowed_origins: Vec<String>,
    /// Longest time for an answer.
    pub request_timeout: Duration,
    /// Longest wait of the readiness check.
    pub health_timeout: Duration,
    /// Whether the old routes answer.
    pub legacy_enabled: bool,
    /// When they will not any more.
    pub legacy_sunset: Option<model::Now>,
    /// The largest number of requests at once.
    pub max_requests: usize,
    /// Whether what would leave an event is refused while events cannot be written.
    pub audit_required: bool,
}
