//! Metrics of connections and statements. Counting takes no lock.

use std::collections::HashMap;
use std::sync::Arc;

use runtime::metric::{Histogram, HistogramSnapshot};

use crate::sqlite::Lane;
use crate::statement::registry;
use crate::{postgres, sqlite};

/// Upper bounds of the buckets for waits, holds and statements, in seconds.
const BOUNDS: &[f64] =
    &[0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// An empty histogram of durations.
pub(crate) fn durations() -> Histogram {
    Histogram::new(BOUNDS)
}

/// How long callers of one pool waited for connections and held them.
#[derive(Debug)]
pub(crate) struct PoolTimes {
    pub(crate) wait: Histogram,
    pub(crate) held: Histogram,
}

impl Default for PoolTimes {
    fn default() -> Self {
        Self { wait: durations(), held: durations() }
    }
}

/// How long each registered statement took, by its name.
pub(crate) type StatementTimes = HashMap<&'static str, Histogram>;

/// An empty histogram for every registered statement.
pub(crate) fn statement_times() -> Arc<StatementTimes> {
    Arc::new(registry().map(|stmt| (stmt.name, durations())).collect())
}

/// Metrics of an open store.
#[derive(Clone)]
pub struct StoreMetrics(pub(crate) MeteredPools);

#[derive(Clone)]
pub(crate) enum MeteredPools {
    /// Each pool with its name; all pools share one map of statements.
    Postgres(Vec<(&'static str, Arc<postgres::Pool>)>),
    Sqlite(Arc<sqlite::Database>),
}

/// The current metrics of one pool.
#[derive(Clone, Debug)]
pub struct PoolMetrics {
    /// `requests`, `background`, and on PostgreSQL `probe` for the health check. On SQLite the first two
    /// count readers, and `writer` is the one thread that writes for both.
    pub pool: &'static str,
    /// Connections in use.
    pub used: u64,
    /// Idle connections.
    pub idle: u64,
    /// Time spent waiting for a connection, including timeouts.
    pub wait: HistogramSnapshot,
    /// Time for which connections were held.
    pub held: HistogramSnapshot,
}

impl StoreMetrics {
    /// The metrics of each pool.
    pub fn pools(&self) -> Vec<PoolMetrics> {
        let counts = |pool, (used, idle): (usize, usize), times: &PoolTimes| PoolMetrics {
            pool,
            used: used as u64,
            idle: idle as u64,
            wait: times.wait.snapshot(),
            held: times.held.snapshot(),
        };
        match &self.0 {
            MeteredPools::Postgres(pools) => {
                pools.iter().map(|(name, pool)| counts(name, pool.connections(), &pool.times)).collect()
            }
            MeteredPools::Sqlite(database) => vec![
                counts("requests", database.readers(Lane::Request), database.times(Lane::Request)),
                counts("background", database.readers(Lane::Background), database.times(Lane::Background)),
                counts("writer", database.writers(), database.writer_times()),
            ],
        }
    }

    /// The durations of each registered statement that has run, from sending it to its answer. Statements of
    /// one batch include the wait for each other.
    pub fn statements(&self) -> Vec<(&'static str, HistogramSnapshot)> {
        let mut all: Vec<_> = match &self.0 {
            MeteredPools::Postgres(pools) => {
                let times = pools.first().map(|(_, pool)| &pool.settings.statements);
                times
                    .into_iter()
                    .flat_map(|times| times.iter())
                    .map(|(name, took)| (*name, took.snapshot()))
                    .collect()
            }
            MeteredPools::Sqlite(database) => database.statement_times().collect(),
        };
        all.retain(|(_, took)| took.count > 0);
        all.sort_unstable_by_key(|(name, _)| *name);
        all
    }
}
