//! Unique names: for databases, schemas and key prefixes on a shared server.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

static CALLS: AtomicU64 = AtomicU64::new(0);

/// A number that differs from call to call and from process to process. Not for secrets.
pub(crate) fn number() -> u64 {
    RandomState::new().hash_one((std::process::id(), CALLS.fetch_add(1, Ordering::Relaxed)))
}

/// A name such as `gw_1f0c…`, valid as an SQL identifier and for a Redis key prefix.
pub fn name(prefix: &str) -> String {
    format!("{prefix}_{:016x}", number())
}

#[cfg(test)]
mod tests {
    #[test]
    fn random_names_differ() {
        let names: std::collections::HashSet<String> = (0..1000).map(|_| super::name("gw")).collect();
        assert_eq!(names.len(), 1000);
    }
}
