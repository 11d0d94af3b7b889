//! Injected failures: tests make each round trip fail in turn.

use std::fmt;
use std::sync::Arc;

use crate::Error;

/// A point that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// A connection, or a slot at the writer, is acquired.
    Acquire,
    /// Statements are sent, together with COMMIT for the last ones of a transaction.
    Trip,
}

/// The effect of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The failure comes first: nothing was done.
    Before,
    /// The work was done, and the answer was lost.
    After,
}

/// Decides at every site whether it fails.
#[derive(Clone)]
pub struct Faults(Arc<dyn Fn(Site) -> Option<Failure> + Send + Sync>);

impl Faults {
    /// Calls `ask` at every site.
    pub fn new(ask: impl Fn(Site) -> Option<Failure> + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faults")
    }
}

/// The failure to inject at this site; `None` without `faults`.
pub(crate) fn ask(faults: Option<&Faults>, site: Site) -> Option<Failure> {
    faults.and_then(|faults| (faults.0)(site))
}

/// Fails an acquire. Both kinds of failure act alike, because an acquire has no answer to lose.
pub(crate) fn acquire(faults: Option<&Faults>) -> Result<(), Error> {
    match ask(faults, Site::Acquire) {
        None => Ok(()),
        Some(_) => Err(Error::Unavailable("no connection came free within the deadline".into())),
    }
}
