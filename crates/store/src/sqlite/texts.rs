//! The SQLite text and the durations of each registered statement.

use std::collections::HashMap;
use std::sync::Arc;

use runtime::metric::Histogram;

use crate::pool_times::durations;
use crate::queries::registry;

/// The SQLite text and histogram of every registered statement.
pub(crate) type Texts = Arc<HashMap<&'static str, Text>>;

/// A statement's text and the histogram of its durations.
pub(crate) struct Text {
    pub(super) sql: String,
    pub(super) took: Histogram,
}

impl Text {
    /// A statement with an empty histogram.
    pub(crate) fn new(sql: String) -> Self {
        Self { sql, took: durations() }
    }
}

/// The texts of all registered statements, with empty histograms.
pub(super) fn registered() -> Texts {
    Arc::new(registry().map(|stmt| (stmt.name, Text::new(stmt.sqlite()))).collect())
}
