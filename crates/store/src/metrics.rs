//! Metrics of an open store's connections and statements.

use std::sync::Arc;

use runtime::metric::HistogramSnapshot;

use crate::pool_times::PoolTimes;
use crate::sqlite::Lane;
use crate::{postgres, sqlite};

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
    /// Connections that the pool may still open.
    pub unopened: u64,
    /// Time spent waiting for a connection, including timeouts.
    pub wait: HistogramSnapshot,
    /// Time for which connections were held.
    pub held: HistogramSnapshot,
}

impl StoreMetrics {
    /// The metrics of each pool.
    pub fn pools(&self) -> Vec<PoolMetrics> {
        let counts = |pool, most: usize, (used, idle): (usize, usize), times: &PoolTimes| PoolMetrics {
            pool,
            used: used as u64,
            idle: idle as u64,
            unopened: most.saturating_sub(used).saturating_sub(idle) as u64,
            wait: times.wait.snapshot(),
            held: times.held.snapshot(),
        };

        match &self.0 {
            MeteredPools::Postgres(pools) => {
                let of = |(name, pool): &(&'static str, Arc<postgres::Pool>)| {
                    counts(name, pool.settings.max, pool.connections(), &pool.times)
                };
                pools.iter().map(of).collect()
            }
            MeteredPools::Sqlite(database) => {
                let readers = |name, lane| {
                    counts(name, database.most_readers(lane), database.readers(lane), database.times(lane))
                };
                vec![
                    readers("requests", Lane::Request),
                    readers("background", Lane::Background),
                    counts("writer", 1, database.writers(), database.writer_times()),
                ]
            }
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
