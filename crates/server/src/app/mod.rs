//! The whole application: built by [`App::build`], run by [`App::run`].

pub mod audit_setup;
pub mod background_writer;
pub mod bootstrap;
mod cpu_quota;
mod cryptography;
pub(crate) mod file_owner;
pub mod generated_docs;
pub mod lifecycle;
pub mod listeners;
pub mod logging;
pub mod master_key;
pub(crate) mod open_files;
mod redis;
pub mod reload;
pub(crate) mod service_manager;
mod sinks;
pub mod start_error;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use audit::Auditor;
use auth::Services;
use http::Request;
use jobs::{Registry, RegistrySettings, Report, Runner, Step};
use listener::{Closed, Limits, ListenerConfig, Proxies, RequestBody, Sockets, Spawner, Tls};
use model::{Event, Origin};
use runtime::AuditContext;
use runtime::metric::{Collector, float};
use web::{Peer, Refusal, Router, ServerHealth, WebDeps};

use self::audit_setup::JournalOwner;
use self::bootstrap::{Core, IfMissing, RuntimeDeps};
use self::lifecycle::{Ended, Health, Lifecycle, Phase, Signals, Stage, Tasks};
use self::listeners::BoundListeners;
use self::master_key::MasterKeyError;
use self::open_files::ConnectionLimits;
use self::start_error::StartError;
use crate::config::{Config, ProxyProtocol, secret_file};

/// The built application. Tests use its parts without listeners.
pub struct App {
    /// The router of the public listener.
    pub public: Router,
    /// The router of the operations listener.
    pub operations: Router,
    /// Makes the listeners' responses to what did not become a request.
    pub refusal: Refusal,
    /// The services.
    pub services: Arc<Services>,
    /// The connection pool of jobs and commands.
    pub background: Arc<store::BackgroundPool>,
    /// Counts the database round trips of requests.
    pub meter: store::TripCounter,
    /// Runs the jobs.
    pub runner: Runner,
    /// The registered jobs.
    pub jobs: Registry,
    /// The public URL.
    pub public_url: String,
    /// Whether there are no accounts yet.
    pub is_empty: bool,
    /// The audit context of the server itself.
    pub audit: AuditContext,
    /// The writer of the audit trail.
    pub auditor: Arc<Auditor>,
    /// The metrics of the store.
    pub store_metrics: store::StoreMetrics,
    limits: Limits,
    connections: ConnectionLimits,
    front: Front,
    tasks: Tasks,
}

/// How long the last checkpoint, and its shipment, may take at the end.
const LAST_SHIPMENT: Duration = Duration::from_secs(2);

impl App {
    /// Opens the database (creates an embedded one, and migrates if the configuration allows it), the master
    /// key and the signing keys, and fills the revocation cache. `listening` is the public listener's
    /// address; the public URL is derived from it when none is configured. Tasks are started through `tasks`;
    /// nothing is served yet.
    ///
    /// # Errors
    /// [`StartError`]: one sentence for the operator.
    pub async fn build(
        config: &Config,
        listening: SocketAddr,
        tasks: &Tasks,
        deps: RuntimeDeps,
    ) -> Result<Self, StartError> {
        check_files(config)?;
        let connections = open_files::divide(config, deps.open_files)?;
        let public_url = config.server.public_url_at(listening);
        let spawner = tasks.spawner(Stage::Working);
        let core =
            Core::open(config, &public_url, &deps, Origin::default(), IfMissing::Create, &spawner).await?;
        core.ensure_signing_keys(&deps.clock).await?;
        let is_empty = is_empty(&core).await?;
        note_known(&core, config, &spawner).await;
        let Core { store, services, audit, auditor } = core;
        redis::share(config, &services, tasks)?;
        let (health, report) = (tasks.health().clone(), report(tasks.health()));
        let background = Arc::new(store.background);
        let runner = Runner::new(
            Arc::clone(&background),
            Arc::clone(&services),
            audit.clone(),
            deps.clock.clone(),
            report,
        );
        let server_audit = audit_setup::audit_dir(&config.data_dir, JournalOwner::Server);
        let jobs = Registry::new(RegistrySettings {
            detail_keys: audit_setup::detail_keys(config, &auditor, &deps.rng),
            auditor: Some((Arc::clone(&auditor), server_audit.join("journal"))),
            database: audit_setup::shippers(config, &auditor, &spawner, &deps.rng)?,
            sinks: sinks::shippers(config, &auditor, &tasks.stop().working, &deps.clock)?,
            ..RegistrySettings::from(&config.cleanup)
        });

        // Nothing is served before the revocation cache is filled and the signing keys are loaded.
        jobs.settle(&runner, "poll_revocations").await.map_err(StartError::Job)?;
        let (meter, front) = (store.requests.meter(), Front::public(config));
        let routers = web::routers(WebDeps {
            requests: store.requests,
            probe: store.probe,
            services: Arc::clone(&services),
            audit: audit.clone(),
            store_metrics: store.metrics.clone(),
            jobs: Arc::clone(runner.jobs()),
            collectors: collectors(deps.collectors, &auditor, &front.closed),
            clock: deps.clock,
            spawner: tasks.spawner(Stage::Serving),
            stopping: tasks.stop().serving.clone(),
            health: server_health(health, Arc::clone(&services)),
            settings: config.web(&public_url),
        });
        Ok(Self {
            public: routers.public,
            operations: routers.operations,
            refusal: routers.refusal,
            store_metrics: store.metrics,
            services,
            background,
            meter,
            runner,
            jobs,
            public_url,
            is_empty,
            audit,
            auditor,
            limits: Limits::from(&config.server),
            connections,
            front,
            tasks: tasks.clone(),
        })
    }

    /// Starts the jobs and the listeners, and sets the phase to running.
    pub fn start(self, ports: BoundListeners) {
        let Self {
            public,
            operations,
            refusal,
            runner,
            jobs,
            audit,
            auditor,
            tasks,
            limits,
            connections,
            ..
        } = self;
        let front = self.front;
        note_life(&tasks, &audit);
        watch_audit(&tasks, Arc::clone(&auditor));
        let jobs = Arc::new(jobs);
        ship_the_end(&tasks, auditor, Arc::clone(&jobs), runner.clone());
        for job in jobs.iter() {
            let job = Arc::clone(job);
            let runner = runner.clone();
            let stop = tasks.stop().working.clone();
            tasks.restartable(Stage::Working, job.name(), move || {
                Arc::clone(&job).run(runner.clone(), stop.clone())
            });
        }

        if let Some(tls) = &ports.tls {
            watch_certificate(&tasks, tls.clone());
        }
        let of_public = Limits { connections: connections.public, ..limits };
        let front = Front { tls: ports.tls, ..front };
        start_listener(&tasks, "public listener", ports.public, (public, &refusal), of_public, front);
        if let Some(sockets) = ports.operations {
            let limits = Limits { connections: connections.operations, ..limits };
            let service = (operations, &refusal);
            start_listener(&tasks, "operations listener", sockets, service, limits, Front::operations());
        }
        tasks.health().enter(Phase::Running);
    }

    /// Runs until a signal, or until a critical task has failed; SIGHUP calls `reload`.
    pub async fn run(
        self,
        ports: BoundListeners,
        lifecycle: Lifecycle,
        signals: Signals,
        reload: impl FnMut(),
    ) -> Ended {
        self.start(ports);
        lifecycle.run(signals, reload).await
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("public_url", &self.public_url).finish_non_exhaustive()
    }
}

/// Reads the files that settings name, before anything is created: what cannot start is refused.
///
/// # Errors
/// [`StartError`], as the start itself.
pub(crate) fn check_files(config: &Config) -> Result<(), StartError> {
    config.auth(&config.server.public_url())?;
    let secret = config.tokens.shared_secret()?;
    if let Some(secret) = secret {
        auth::signing_keys::check_shared_secret(secret.expose())
            .map_err(|why| StartError::Setting { key: "tokens.hs256_secret_file", why: why.to_string() })?;
    }
    if let (Some(cert), Some(key)) = (&config.server.tls_cert_file, &config.server.tls_key_file) {
        Tls::load(cert, key, secret_file::read_key).map_err(StartError::Tls)?;
    }
    sinks::check(config)?;
    match master_key::read(&config.master_key_file) {
        Ok(_) => Ok(()),
        Err(MasterKeyError::Missing(_)) if config.database.url.is_embedded() => Ok(()),
        Err(why) => Err(why.into()),
    }
}

/// The health that readiness shows.
fn server_health(health: Health, services: Arc<Services>) -> Arc<dyn Fn() -> ServerHealth + Send + Sync> {
    Arc::new(move || {
        let redis = (services.limits.is_shared() == Some(false)).then_some(redis::REDIS);
        let mut degraded: Vec<_> = health.degraded().into_iter().chain(redis).map(str::to_owned).collect();
        degraded.sort();
        ServerHealth { stopping: health.phase() != Phase::Running, degraded }
    })
}

/// Reports the state of a component to readiness.
fn report(health: &Health) -> Report {
    let health = health.clone();
    Arc::new(move |component, works| {
        if works {
            health.recover(component);
        } else {
            health.degrade(component);
        }
    })
}

/// Tells the trail's voucher which journals and users the database has, for the first checkpoints. What
/// cannot be asked now is told by the shipper's maintenance.
async fn note_known(core: &Core, config: &Config, spawner: &runtime::Spawner) {
    let voucher = core.auditor.voucher();
    let asked = async {
        let audit = store::audit_db::Audit::open(&store::Settings::from(&config.database), spawner)?;
        voucher.seen(&audit.journals().await?);
        let mut lease = core.store.background.lease(core.audit.clone());
        let highest = lease.read().await?.one(store::queries::user::highest()).await?;
        highest.flatten().into_iter().for_each(|number| voucher.user(number));
        Ok::<_, store::Error>(())
    };
    if let Err(why) = asked.await {
        tracing::warn!(%why, "the database cannot be asked which audit journals it has");
    }
}

/// Whether there are no users.
async fn is_empty(core: &Core) -> Result<bool, StartError> {
    let mut lease = core.store.background.lease(core.audit.clone());
    let users = lease.read().await?.all(store::queries::user::page(model::UserId(0), 1)).await?;
    Ok(users.is_empty())
}

/// Records the start of the server, and after all tasks have ended its stop.
fn note_life(tasks: &Tasks, audit: &AuditContext) {
    let version = env!("CARGO_PKG_VERSION");
    audit.note(Event::ServerStarted { version, node: audit_setup::node_name() });
    let audit = audit.clone();
    tasks.at_end(move || audit.note(Event::ServerStopped { version, node: audit_setup::node_name() }));
}

/// Watches the journal while the server runs, and drains it after all tasks have ended.
fn watch_audit(tasks: &Tasks, auditor: Arc<Auditor>) {
    let (health, stop) = (tasks.health().clone(), tasks.stop().working.clone());
    let last = Arc::clone(&auditor);
    tasks.at_end(move || audit_setup::drain(&last));
    tasks.restartable(Stage::Working, "audit watch", move || {
        let watching = audit_setup::watch(Arc::clone(&auditor), health.clone());
        let stop = stop.clone();
        async move {
            stop.run_until_cancelled(watching).await;
            Ok::<_, Infallible>(())
        }
    });
}

/// When requests have ended, signs what they recorded and ships it, so that a trail in the database ends with
/// a signature while the server is stopped. A database that does not answer is not waited for.
fn ship_the_end(tasks: &Tasks, auditor: Arc<Auditor>, jobs: Arc<Registry>, runner: Runner) {
    let stop = tasks.stop().working.clone();
    tasks.spawner(Stage::Working).spawn("last records", async move {
        stop.cancelled().await;
        let signed = audit::blocking(move || auditor.sign_now(LAST_SHIPMENT)).await;
        let shipped = async {
            loop {
                match jobs.step(&runner, "ship_audit").await {
                    Ok(Step::Again) => {}
                    last => break last,
                }
            }
        };
        let shipped = tokio::time::timeout(LAST_SHIPMENT, shipped).await;
        if signed.is_err() || !matches!(shipped, Ok(Ok(_))) {
            tracing::warn!("the last audit events are shipped to the database after the next start");
        }
    });
}

/// `given`, and those that write the metrics of the audit trail and of the public listener.
fn collectors(given: Vec<Collector>, auditor: &Arc<Auditor>, closed: &Closed) -> Vec<Collector> {
    let auditor = Arc::clone(auditor);
    let audit: Collector = Arc::new(move |page| audit::metrics::collect(page, &auditor));
    given.into_iter().chain([audit, connection_metrics(closed.clone())]).collect()
}

/// Reloads the certificate of the public listener when its files change.
fn watch_certificate(tasks: &Tasks, tls: Tls) {
    let stop = tasks.stop().serving.clone();
    tasks.restartable(Stage::Serving, "certificate watch", move || {
        let (tls, stop) = (tls.clone(), stop.clone());
        async move {
            stop.run_until_cancelled(tls.watch()).await;
            Ok::<_, Infallible>(())
        }
    });
}

/// Writes the metrics of the public listener.
fn connection_metrics(closed: Closed) -> Collector {
    Arc::new(move |page| {
        let name = "http_server_connections_closed_total";
        page.family(name, "counter", "Connections that were closed so that others find room.");
        page.sample(name, &[("reason", "idle")], float(closed.idle()));
        page.sample(name, &[("reason", "share")], float(closed.refused()));
    })
}

/// What is in front of a service: the certificate, and what is known of its peers.
struct Front {
    tls: Option<Tls>,
    proxies: Proxies,
    proxy_protocol: bool,
    closed: Closed,
}

impl Front {
    /// Of the public listener.
    fn public(config: &Config) -> Self {
        let trusted = config.server.proxies();
        let proxies =
            Proxies::new(move |address| trusted.contains(address), "list it in server.trusted_proxies");
        let proxy_protocol = config.server.proxy_protocol == ProxyProtocol::V2;
        Self { tls: None, proxies, proxy_protocol, closed: Closed::default() }
    }

    /// Of the operations listener: its peers are the operator's own programs, which have no shares.
    fn operations() -> Self {
        let proxies = Proxies::new(|_| true, "");
        Self { tls: None, proxies, proxy_protocol: false, closed: Closed::default() }
    }
}

fn start_listener(
    tasks: &Tasks,
    name: &'static str,
    sockets: Sockets,
    (service, refusal): (Router, &Refusal),
    limits: Limits,
    front: Front,
) {
    let stop = tasks.stop();
    let refusal = Arc::clone(refusal);

    let config = ListenerConfig {
        service,
        prepare: insert_peer,
        error_response: move |status| refusal(status),
        limits,
        proxies: front.proxies,
        proxy_protocol: front.proxy_protocol,
        closed: front.closed,
        tls: front.tls,
        spawner: Spawner::new(tasks.starter(Stage::Serving)),
        draining: stop.draining.clone(),
        stopping: stop.serving.clone(),
    };
    tasks.critical(Stage::Serving, name, listener::serve(sockets, config));
}

/// Adds the peer to the request, for the layers of `web`.
fn insert_peer(request: &mut Request<RequestBody>, peer: listener::Peer) {
    let peer = match peer {
        listener::Peer::Address(address) => Peer::Address(address.ip()),
        listener::Peer::UnixSocket => Peer::UnixSocket,
        listener::Peer::Unnamed(proxy) => Peer::Unnamed(proxy.map(|address| address.ip())),
    };
    request.extensions_mut().insert(peer);
}
