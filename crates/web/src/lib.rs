//! HTTP: routes requests to the operations of `auth` and writes the responses. The only crate that names
//! axum.
//!
//! A request passes the layers (`layers`), becomes a [`request::RequestContext`] that owns its single lease,
//! and reaches a short handler (`api`). Errors are one closed enum ([`problem`]), written in one place.
//!
//! A handler cannot reach a connection pool, because it cannot name the state that contains it:
//!
//! ```compile_fail,E0603
//! fn handler(_: axum::extract::State<web::request::AppState>) {} // the module `request` is private
//! ```

mod api;
mod endpoint;
mod layers;
mod metrics;
mod openapi;
pub mod problem;
pub mod reference;
mod request;
mod router;

use std::sync::Arc;
use std::time::Duration;

use auth::Services;
use model::Clock;
use protocol::wire::forwarded::{ForwardedHeader, TrustedProxies};
use runtime::metric::{Collector, JobMetrics};
use runtime::{AuditContext, Spawner};
use tokio_util::sync::CancellationToken;

pub use api::ROUTES;
pub use axum::Router;
pub use endpoint::{Caller, Dialect, Endpoint, Group, Listener, Mount, Verb};
pub use layers::ANY_LOCAL_PORT;
pub use openapi::document as openapi_document;
/// The peer of the connection; the listener adds it to every request.
pub use protocol::wire::forwarded::Peer;
pub use request::operation::Route;
pub use router::{Refusal, Routers, routers};

/// Dependencies of the routers.
pub struct WebDeps {
    /// The connection pool for requests.
    pub requests: store::RequestPool,
    /// The health check's own connection.
    pub probe: store::HealthProbe,
    /// The services that operations use.
    pub services: Arc<Services>,
    /// Receives the audit events of requests.
    pub audit: AuditContext,
    /// Metrics of the store.
    pub store_metrics: store::StoreMetrics,
    /// Metrics of the background jobs.
    pub jobs: Arc<JobMetrics>,
    /// Write the metrics of other components.
    pub collectors: Vec<Collector>,
    /// The clock.
    pub clock: Clock,
    /// Spawns the task of each request.
    pub spawner: Spawner,
    /// Cancelled when the listeners close.
    pub stopping: CancellationToken,
    /// Reports whether the server is stopping, and which components are degraded.
    pub health: Arc<dyn Fn() -> ServerHealth + Send + Sync>,
    /// The settings.
    pub settings: Settings,
}

/// Health of the process, without the database.
#[derive(Clone, Debug, Default)]
pub struct ServerHealth {
    /// Whether the server is stopping, or not started yet.
    pub stopping: bool,
    /// Components that work with reduced function.
    pub degraded: Vec<String>,
}

/// HTTP settings.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "an operator switches each of them by itself")]
pub struct Settings {
    /// The URL at which clients reach the server, without a trailing slash.
    pub public_url: String,
    /// Proxies whose forwarding headers are trusted.
    pub trusted_proxies: TrustedProxies,
    /// The header to which they append the address of their peer.
    pub forwarded_header: ForwardedHeader,
    /// Whether they set `X-Request-Id`.
    pub trust_request_id: bool,
    /// Origins whose scripts may call the API.
    pub cors_allowed_origins: Vec<String>,
    /// Whether `Strict-Transport-Security` includes the subdomains of the public URL's host.
    pub hsts_include_subdomains: bool,
    /// Deadline of a request.
    pub request_timeout: Duration,
    /// Deadline of the readiness check.
    pub health_timeout: Duration,
    /// Whether the legacy routes are served.
    pub legacy_enabled: bool,
    /// The date for the `Sunset` header of the legacy routes.
    pub legacy_sunset: Option<model::Now>,
    /// The largest number of concurrent requests.
    pub max_requests: usize,
    /// Whether requests other than reads are refused while the audit trail cannot be written.
    pub audit_required: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            public_url: "http://127.0.0.1:8080".to_owned(),
            trusted_proxies: TrustedProxies::default(),
            forwarded_header: ForwardedHeader::default(),
            trust_request_id: false,
            cors_allowed_origins: Vec::new(),
            hsts_include_subdomains: true,
            request_timeout: Duration::from_secs(5),
            health_timeout: Duration::from_millis(100),
            legacy_enabled: true,
            legacy_sunset: None,
            max_requests: 10_000,
            audit_required: false,
        }
    }
}
