//! Trips that fail on purpose, for tests that have each of them fail in turn.

use std::fmt;
use std::sync::Arc;

use crate::Error;

/// Where something can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// A connection, or a place at the writer, is asked for.
    Acquire,
    /// Statements are on their way, and with the last ones of a transaction its end.
    Trip,
}

/// How it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing of it was done.
    Before,
    /// It was done, and the answer was lost.
    After,
}

/// Asked at every site whether it fails this time.
#[derive(Clone)]
pub struct Faults(Arc<dyn Fn(Site) -> Option<Failure> + Send + Sync>);

impl Faults {
    /// Has `ask` decide.
    pub fn new(ask: impl Fn(Site) -> Option<Failure> + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faults")
    }
}

/// What is to fail here, in settings that mostly say nothing of it.
pub(crate) fn ask(faults: Option<&Faults>, site: Site) -> Option<Failure> {
    faults.and_then(|faults| (faults.0)(site))
}

/// An acquire that is to fail has no answer to lose.
pub(crate) fn acquire(faults: Option<&Faults>) -> Result<(), Error> {
    match ask(faults, Site::Acquire) {
        None => Ok(()),
        Some(_) => Err(Error::Unavailable("no connection came free within the deadline".into())),
    }
}
