//! Histograms of how long connections and statements take. Counting takes no lock.

use std::collections::HashMap;
use std::sync::Arc;

use runtime::metric::Histogram;

use crate::queries::registry;

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
