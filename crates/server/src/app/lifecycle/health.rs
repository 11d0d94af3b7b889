//! The state of the process in the readiness check.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The phase of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not started yet.
    #[default]
    Starting,
    /// Serving.
    Running,
    /// Shutting down: still serving, but not ready.
    Draining,
}

/// The phase, and the names of components that fail without stopping the server. Clones share their state.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    degraded: BTreeSet<&'static str>,
}

impl Health {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The phase.
    pub fn phase(&self) -> Phase {
        self.with(|state| state.phase)
    }

    /// Advances to `phase`; an earlier phase is ignored.
    pub fn enter(&self, phase: Phase) {
        self.with(|state| state.phase = state.phase.max(phase));
    }

    /// Marks `component` as degraded.
    pub fn degrade(&self, component: &'static str) {
        self.with(|state| state.degraded.insert(component));
    }

    /// Marks `component` as working again.
    pub fn recover(&self, component: &'static str) {
        self.with(|state| state.degraded.remove(component));
    }

    /// The degraded components, ordered by name.
    pub fn degraded(&self) -> Vec<&'static str> {
        self.with(|state| state.degraded.iter().copied().collect())
    }
}
