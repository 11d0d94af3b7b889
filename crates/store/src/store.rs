//! Opens the database: one pool for requests, one for background work, and a health probe.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::Now;
use runtime::{AuditContext, Spawner};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::fault_injection::Faults;
use crate::health::{HealthProbe, LastWrite};
use crate::lease::Backend;
use crate::metrics::{MeteredPools, StoreMetrics};
use crate::migrate::Step;
use crate::pool_times::statement_times;
use crate::postgres::{PostgresEnvironment, PreparedStatements};
use crate::second_acquire_check::SecondAcquireCheck;
use crate::{Error, Lease, postgres, sqlite};

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
        /// Certificates (PEM) of the authorities that may issue the server's; `sslrootcert` of the URL wins.
        tls_ca_file: Option<PathBuf>,
        /// What the URL may leave open.
        environment: PostgresEnvironment,
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
    /// Checks a URL of PostgreSQL and the files that it names, without connecting.
    ///
    /// # Errors
    /// What is wrong, for the operator.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres { .. } => postgres::Address::of(self).map(|_| ()).map_err(|error| {
                let why = error.to_string();
                why.strip_prefix("database.url: ").map(str::to_owned).unwrap_or(why)
            }),
        }
    }

    /// The file of the private key that a URL of PostgreSQL names (`sslkey`).
    pub fn key_file(&self) -> Option<PathBuf> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres { url, .. } => postgres::key_file(url),
        }
    }

    /// A database of PostgreSQL, with the default schema and the protection that the URL says.
    pub fn postgres(url: &str) -> Self {
        Self::Postgres {
            url: url.to_owned(),
            schema: SCHEMA.to_owned(),
            tls_ca_file: None,
            environment: PostgresEnvironment::default(),
        }
    }
}

/// The settings of the store.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The location of the database.
    pub location: Location,
    /// Connections that are opened at the start and kept open when idle, on PostgreSQL.
    pub pool_min: usize,
    /// Most concurrent connections for requests.
    pub pool_max: usize,
    /// How long a connection above `pool_min` may be idle before it is closed, on PostgreSQL.
    pub pool_idle: Duration,
    /// Longest wait for a connection.
    pub acquire_timeout: Duration,
    /// Longest wait for the answer to one round trip; on SQLite, the longest run of one statement.
    pub statement_timeout: Duration,
    /// How statements are sent to PostgreSQL.
    pub prepared_statements: PreparedStatements,
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
            pool_idle: Duration::from_secs(20),
            acquire_timeout: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(2),
            prepared_statements: PreparedStatements::default(),
            forbid_second_acquire: false,
            faults: None,
        }
    }
}

/// Connections of the background pool: for jobs, such as polling revocations and cleanup, and for commands.
pub(crate) const BACKGROUND: usize = 2;

/// The pool for requests.
pub struct RequestPool(Backend);

/// The pool for jobs and commands: separate connections on PostgreSQL, the background lane on SQLite.
pub struct BackgroundPool {
    backend: Backend,
    /// The pool for requests, on PostgreSQL: jobs run all the time, and close its idle connections.
    requests: Option<Arc<postgres::Pool>>,
}

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
        if let Some(requests) = &self.requests {
            requests.shrink();
        }
        Lease::new(self.backend.clone(), CancellationToken::new(), trail)
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
            let last_write = LastWrite::default();
            let database = sqlite::Database::open(
                path,
                sqlite::Settings {
                    acquire_timeout: settings.acquire_timeout,
                    statement_timeout: settings.statement_timeout,
                    request: settings.pool_max,
                    background: BACKGROUND,
                    holders,
                    faults: settings.faults.clone(),
                    last_write: last_write.clone(),
                },
            )?;
            let background = Backend::Sqlite(database.clone(), sqlite::Lane::Background);
            let probe = HealthProbe::new(background.clone(), None, last_write, spawner.clone(), settings);

            let metrics = StoreMetrics(MeteredPools::Sqlite(database.clone()));
            let requests = RequestPool(Backend::Sqlite(database, sqlite::Lane::Request));
            let background = BackgroundPool { backend: background, requests: None };
            Ok(Store { requests, background, probe, metrics })
        }
        Location::Postgres { .. } => open_postgres(settings, spawner, &holders).await,
    }
}

async fn open_postgres(
    settings: &Settings,
    spawner: &Spawner,
    holders: &SecondAcquireCheck,
) -> Result<Store, Error> {
    let last_write = LastWrite::default();
    let address = postgres::Address::of(&settings.location)?;
    let prepared = ready(&address, settings, spawner).await?;
    let shared = postgres::PoolSettings {
        address,
        prepared,
        states_all: Arc::default(),
        min: settings.pool_min,
        max: settings.pool_max,
        idle: settings.pool_idle,
        last_write: last_write.clone(),
        serves_requests: false,
        acquire_timeout: settings.acquire_timeout,
        statement_timeout: settings.statement_timeout,
        holders: holders.clone(),
        spawner: spawner.clone(),
        statements: statement_times(),
        faults: settings.faults.clone(),
    };

    let requests = postgres::Pool::new(postgres::PoolSettings { serves_requests: true, ..shared.clone() });
    requests.warm().await?;

    let (min, max) = (BACKGROUND, BACKGROUND);
    let background = postgres::Pool::new(postgres::PoolSettings { min, max, ..shared.clone() });

    // Open from the start, so that a full server does not keep the probe out.
    let probe = postgres::Pool::new(postgres::PoolSettings {
        states_all: Arc::default(),
        min: 1,
        max: 1,
        holders: SecondAcquireCheck::new(false),
        ..shared
    });
    if let Err(error) = probe.warm().await {
        tracing::warn!(%error, "the health probe has no connection yet");
    }

    let pools = [("requests", &requests), ("background", &background), ("probe", &probe)];
    let metrics =
        StoreMetrics(MeteredPools::Postgres(pools.map(|(name, pool)| (name, Arc::clone(pool))).to_vec()));
    let (backend, asked_too) = (Backend::Postgres(probe), Some(Arc::clone(&requests)));
    Ok(Store {
        background: BackgroundPool {
            backend: Backend::Postgres(background),
            requests: Some(Arc::clone(&requests)),
        },
        requests: RequestPool(Backend::Postgres(requests)),
        probe: HealthProbe::new(backend, asked_too, last_write, spawner.clone(), settings),
        metrics,
    })
}

/// Checks a migrated database of PostgreSQL, and determines how statements are sent to it.
async fn ready(
    address: &postgres::Address,
    settings: &Settings,
    spawner: &Spawner,
) -> Result<postgres::Prepared, Error> {
    let looking = async {
        let conn = postgres::Conn::bare(address, spawner).await?;
        let found = postgres::check(&conn, address, settings.pool_max).await?;
        for why in address.warnings.iter().chain(&found) {
            tracing::warn!(%why, "the database needs attention");
        }
        postgres::Prepared::determine(settings.prepared_statements, address, &conn, spawner).await
    };
    let late = || Error::Unavailable("the server does not answer in time".into());
    timeout(CHECKS, looking).await.unwrap_or_else(|_| Err(late()))
}

/// Longest wait for the checks of a database before it is used.
const CHECKS: Duration = Duration::from_secs(15);

/// Waits until a server of PostgreSQL can be reached: in a container beside others, or after a power failure,
/// it may start later than this process. `wait` bounds it. What does not change by itself, such as a wrong
/// password, is not waited for. SQLite is there.
///
/// # Errors
/// [`Error::Unreached`], [`Error::Refused`].
pub async fn reach(settings: &Settings, spawner: &Spawner, wait: Duration) -> Result<(), Error> {
    if matches!(settings.location, Location::Sqlite(_)) {
        return Ok(());
    }
    let address = postgres::Address::of(&settings.location)?;
    let begun = Instant::now();
    let mut is_told = false;
    loop {
        let why = match postgres::Conn::bare(&address, spawner).await {
            Ok(_) if is_told => {
                tracing::warn!("the database can be reached now");
                return Ok(());
            }
            Err(Error::Unreached { why, may_come: true, .. }) if begun.elapsed() < wait => why,
            reached => return reached.map(drop),
        };
        if !is_told {
            tracing::warn!(%why, "the database cannot be reached yet, and is waited for up to {wait:?}");
            is_told = true;
        }
        tokio::time::sleep(REACH_AGAIN.min(wait.saturating_sub(begun.elapsed()))).await;
    }
}

/// Time between two attempts to reach a server.
const REACH_AGAIN: Duration = Duration::from_millis(500);

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

/// Removes the file of an embedded database that was made for a realm which never began, where a start failed
/// after it had made it; returns whether it did. Another process may have begun a realm meanwhile.
pub fn remove_unused(path: &Path) -> bool {
    sqlite::remove_unused(path)
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
            let address = postgres::Address::of(&settings.location)?;
            postgres::migrate(&address, now, spawner, apply).await
        }
    }
}
