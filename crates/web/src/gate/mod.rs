//! The gate: the only place that holds the front door of the store. Handlers are outside of it and cannot name it.

pub(crate) mod cx;
pub(crate) mod input;
mod router;
mod table;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use auth::Rooms;
use auth::audit::{self, Auditor};
use model::metric::Jobs;
use model::{Clock, Spawner, Trail};
use protocol::forwarded::TrustedProxies;

use crate::metrics::Metrics;

pub use router::{Routers, routers};
pub use table::Route;

/// The address at the other end of the connection; the listener puts it into every request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// What the doors are made of.
pub struct Doors {
    /// The front door of the store.
    pub front: store::Front,
    /// The health check's own connection.
    pub probe: store::Probe,
    /// The rooms.
    pub rooms: Arc<Rooms>,
    /// Where requests say what happened.
    pub trail: Trail,
    /// What writes the trail, for its metrics.
    pub auditor: Option<Arc<Auditor>>,
    /// What the store counts, for the metrics.
    pub store_counts: store::Counts,
    /// How the jobs ran, for the metrics.
    pub jobs: Arc<Jobs>,
    /// The time.
    pub clock: Clock,
    /// Starts the task of each request.
    pub spawner: Spawner,
    /// Says whether the server is ready, and what is degraded.
    pub health: Arc<dyn Fn() -> Condition + Send + Sync>,
    /// The settings.
    pub settings: Settings,
}

/// How the process is, besides the database.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    /// It is on its way down, or not up yet.
    pub stopping: bool,
    /// Components that work less well than they should.
    pub degraded: Vec<String>,
}

/// What the configuration says about the doors.
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

/// The router's state. Its name does not leave the gate.
#[derive(Clone)]
pub(in crate::gate) struct App(Arc<Inside>);

impl App {
    /// Whether a request of this method may go on: it leaves no event, or its events can be written.
    fn may_be_audited(&self, method: &http::Method) -> bool {
        let failing = || {
            self.0.auditor.as_ref().is_some_and(|auditor| auditor.condition() == audit::Condition::Failing)
        };
        method.is_safe() || !self.0.settings.audit_required || !failing()
    }
}

pub(in crate::gate) struct Inside {
    front: store::Front,
    probe: store::Probe,
    rooms: Arc<Rooms>,
    trail: Trail,
    auditor: Option<Arc<Auditor>>,
    clock: Clock,
    health: Arc<dyn Fn() -> Condition + Send + Sync>,
    settings: Settings,
    openapi: bytes::Bytes,
    metrics: Arc<Metrics>,
    store_counts: store::Counts,
    jobs: Arc<Jobs>,
}
