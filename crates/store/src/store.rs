//! Opens the database: one pool for requests, one for background work, and a health probe.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use model::Now;
use runtime::{AuditContext, NoopRecorder, Spawner};
use tokio::sync::{Mutex, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::fault_injection::Faults;
use crate::lease::Backend;
use crate::metrics::{MeteredPools, StoreMetrics};
use crate::migrate::Step;
use crate::pool_times::statement_times;
use crate::postgres::tls::Tls;
use crate::second_acquire_check::SecondAcquireCheck;
use crate::{Error, Lease, postgres, queries, sqlite};

/// The location of the database.
#[derive(Clone, Debug)]
pub enum Location {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// One schema of one PostgreSQL database.
    Postgres {
        /// `postgres://user:password@host:port/database?…`
        url: String,
        /// The schema's name, unquoted.
        schema: String,
        /// CA certificates (PEM) to verify the server with; without them TLS is off.
        tls_ca_file: Option<PathBuf>,
    },
}

/// The schema of PostgreSQL in which Gatewright's tables are, unless another one is set.
pub const SCHEMA: &str = "gatewright";

impl Default for Location {
    /// The embedded database of the default data directory.
    fn default() -> Self {
        Self::Sqlite(PathBuf::from("./gatewright-data/gatewright.db"))
    }
}

impl Location {
    /// A database of PostgreSQL, with the default schema and without TLS.
    pub fn postgres(url: &str) -> Self {
        Self::Postgres { url: url.to_owned(), schema: SCHEMA.to_owned(), tls_ca_file: None }
    }
}

/// The settings of the store.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The location of the database.
    pub location: Location,
    /// Connections opened at startup, on PostgreSQL.
    pub pool_min: usize,
    /// Most concurrent connections for requests.
    pub pool_max: usize,
    /// Longest wait for a connection.
    pub acquire_timeout: Duration,
    /// Longest wait for the answer to one round trip; on SQLite, the longest run of one statement.
    pub statement_timeout: Duration,
    /// Panics with the first acquire's backtrace when a task takes a second connection. For tests.
    pub forbid_second_acquire: bool,
    /// Makes round trips fail. For tests.
    pub faults: Option<Faults>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            location: Location::default(),
            pool_min: 5,
            pool_max: 50,
            acquire_timeout: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(2),
            forbid_second_acquire: false,
            faults: None,
        }
    }
}

/// Connections of the background pool: for jobs, such as polling revocations and cleanup, and for commands.
const BACKGROUND: usize = 2;

/// The pool for requests.
pub struct RequestPool(Backend);

/// The pool for jobs and commands: separate connections on PostgreSQL, the background lane on SQLite.
pub struct BackgroundPool(Backend);

impl RequestPool {
    /// Creates a lease for one request; it takes no connection yet.
    pub fn lease(&self, gone: CancellationToken, trail: AuditContext) -> Lease {
        Lease::new(self.0.clone(), gone, trail)
    }

    /// Counts the round trips of this pool; the budget of each route is given in round trips.
    pub fn meter(&self) -> TripCounter {
        TripCounter(self.0.clone())
    }
}

/// Counts round trips.
pub struct TripCounter(Backend);

impl TripCounter {
    /// Round trips so far.
    pub fn trips(&self) -> u64 {
        match &self.0 {
            Backend::Postgres(pool) => pool.trips(),
            Backend::Sqlite(database, _) => database.trips(),
        }
    }
}

impl BackgroundPool {
    /// Creates a lease for one step of a job or one command.
    pub fn lease(&self, trail: AuditContext) -> Lease {
        Lease::new(self.0.clone(), CancellationToken::new(), trail)
    }
}

/// An open database.
pub struct Store {
    /// The pool for requests.
    pub requests: RequestPool,
    /// The pool for jobs and commands.
    pub background: BackgroundPool,
    /// The health probe.
    pub probe: HealthProbe,
    /// The metrics of all pools.
    pub metrics: StoreMetrics,
}

/// Opens a migrated database.
///
/// # Errors
/// [`Error::Refused`] when migrations are pending or the settings are invalid; [`Error::Unavailable`] when
/// the server cannot be reached.
pub async fn open(settings: &Settings, spawner: &Spawner) -> Result<Store, Error> {
    let pending = pending(settings, spawner).await?;
    if let Some(step) = pending.first() {
        return Err(Error::Refused(format!(
            "the database needs migration {}{}; run `gatewright migrate`, or set database.auto_migrate = \
             true",
            step.name,
            if pending.len() > 1 { format!(" and {} more", pending.len() - 1) } else { String::new() }
        )));
    }

    let holders = SecondAcquireCheck::new(settings.forbid_second_acquire);
    match &settings.location {
        Location::Sqlite(path) => {
            let database = sqlite::Database::open(
                path,
                sqlite::Settings {
                    acquire_timeout: settings.acquire_timeout,
                    statement_timeout: settings.statement_timeout,
                    request: settings.pool_max,
                    background: BACKGROUND,
                    holders,
                    faults: settings.faults.clone(),
                },
            )?;
            let background = Backend::Sqlite(database.clone(), sqlite::Lane::Background);
            let probe = HealthProbe::new(background.clone(), spawner.clone(), settings);

            let metrics = StoreMetrics(MeteredPools::Sqlite(database.clone()));
            let requests = RequestPool(Backend::Sqlite(database, sqlite::Lane::Request));
            Ok(Store { requests, background: BackgroundPool(background), probe, metrics })
        }
        Location::Postgres { .. } => {
            let (config, tls, schema) = postgres_parts(&settings.location)?;
            let statements = statement_times();
            let pool = |max, holders: &SecondAcquireCheck| {
                postgres::Pool::new(postgres::PoolSettings {
                    config: config.clone(),
                    tls: tls.clone(),
                    schema: schema.clone(),
                    max,
                    acquire_timeout: settings.acquire_timeout,
                    statement_timeout: settings.statement_timeout,
                    holders: holders.clone(),
                    spawner: spawner.clone(),
                    statements: Arc::clone(&statements),
                    faults: settings.faults.clone(),
                })
            };

            let requests = pool(settings.pool_max, &holders);
            requests.warm(settings.pool_min).await?;

            let (background, probe) = (pool(BACKGROUND, &holders), pool(1, &SecondAcquireCheck::new(false)));
            let pools = [("requests", &requests), ("background", &background), ("probe", &probe)];
            let metrics = StoreMetrics(MeteredPools::Postgres(
                pools.map(|(name, pool)| (name, Arc::clone(pool))).to_vec(),
            ));
            Ok(Store {
                requests: RequestPool(Backend::Postgres(requests)),
                background: BackgroundPool(Backend::Postgres(background)),
                probe: HealthProbe::new(Backend::Postgres(probe), spawner.clone(), settings),
                metrics,
            })
        }
    }
}

/// Applies the pending migrations and returns them.
///
/// # Errors
/// [`Error::Refused`] for a schema or file of another program or a newer version; [`Error::Unavailable`] when
/// the database cannot be reached.
pub async fn migrate(settings: &Settings, now: Now, spawner: &Spawner) -> Result<Vec<Step>, Error> {
    run_migrations(settings, now, spawner, true).await
}

/// Returns the migrations that [`migrate`] would apply.
pub async fn pending(settings: &Settings, spawner: &Spawner) -> Result<Vec<Step>, Error> {
    run_migrations(settings, Now::from_micros(0), spawner, false).await
}

async fn run_migrations(
    settings: &Settings,
    now: Now,
    spawner: &Spawner,
    apply: bool,
) -> Result<Vec<Step>, Error> {
    match &settings.location {
        Location::Sqlite(path) => sqlite::migrate(path, now, apply),
        Location::Postgres { .. } => {
            let (config, tls, schema) = postgres_parts(&settings.location)?;
            postgres::migrate(&config, &tls, &schema, now, spawner, apply).await
        }
    }
}

pub(crate) fn postgres_parts(location: &Location) -> Result<(tokio_postgres::Config, Tls, String), Error> {
    let Location::Postgres { url, schema, tls_ca_file } = location else {
        return Err(Error::Refused("this is no PostgreSQL database".into()));
    };
    let mut config: tokio_postgres::Config =
        url.parse().map_err(|error| Error::Refused(format!("database.url: {error}")))?;
    config.application_name("gatewright").connect_timeout(Duration::from_secs(5));
    config.keepalives_idle(Duration::from_secs(30)).keepalives_interval(Duration::from_secs(10));
    config.keepalives_retries(3);
    let tls = match tls_ca_file {
        Some(path) => {
            config.ssl_mode(tokio_postgres::config::SslMode::Require);
            Tls::with_ca_file(path)?
        }
        None if config.get_ssl_mode() == tokio_postgres::config::SslMode::Require => {
            return Err(Error::Refused("sslmode=require needs database.tls_ca_file".into()));
        }
        None => {
            config.ssl_mode(tokio_postgres::config::SslMode::Disable);
            Tls::none()
        }
    };
    Ok((config, tls, format!("\"{}\"", schema.replace('"', "\"\""))))
}

/// The shared answer of one query.
type SharedCheck = Shared<BoxFuture<'static, Result<(), String>>>;

/// Checks the database with a real query on a separate connection; concurrent checks share one query.
pub struct HealthProbe {
    backend: Backend,
    spawner: Spawner,
    deadline: Duration,
    running: Mutex<Option<SharedCheck>>,
}

impl HealthProbe {
    fn new(backend: Backend, spawner: Spawner, settings: &Settings) -> Self {
        let deadline = settings.acquire_timeout + settings.statement_timeout;
        Self { backend, spawner, deadline, running: Mutex::default() }
    }

    /// Checks that the database answers within `patience`.
    ///
    /// # Errors
    /// A sentence for the operator, without details of the database.
    pub async fn check(&self, patience: Duration) -> Result<(), String> {
        let running = self.join().await;
        timeout(patience, running).await.unwrap_or_else(|_| Err("it does not answer in time".into()))
    }

    async fn join(&self) -> SharedCheck {
        let mut running = self.running.lock().await;
        if let Some(current) = running.as_ref().filter(|current| current.peek().is_none()) {
            return current.clone();
        }
        let (reply, answer) = oneshot::channel();
        let (backend, deadline) = (self.backend.clone(), self.deadline);
        self.spawner.spawn("health probe", async move {
            let asked = timeout(deadline, ask(backend)).await;
            let _ = reply.send(asked.unwrap_or_else(|_| Err("it does not answer in time".into())));
        });
        let next =
            async move { answer.await.unwrap_or_else(|_| Err("the probe ended".into())) }.boxed().shared();
        *running = Some(next.clone());
        next
    }
}

async fn ask(backend: Backend) -> Result<(), String> {
    let writes = match &backend {
        Backend::Postgres(_) => true,
        Backend::Sqlite(database, _) => database.writes(),
    };
    if !writes {
        return Err("its writer has ended; restart this process".into());
    }
    let trail = AuditContext::new(Arc::new(NoopRecorder), model::Clock::system(), model::Origin::default());
    let mut lease = Lease::new(backend, CancellationToken::new(), trail);
    let asked = async {
        let mut read = lease.read().await?;
        read.one(queries::realm::find()).await
    };
    asked.await.map(|_| ()).map_err(|error| {
        tracing::debug!(%error, "the health probe failed");
        "it cannot be reached".into()
    })
}
