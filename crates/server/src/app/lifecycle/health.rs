//! What readiness shows of the process itself.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not everything is up yet.
    #[default]
    Starting,
    /// Serving.
    Running,
    /// On the way down: still serving, but asking to be left alone.
    Draining,
}

/// The phase, and the names of components that do not work but can be done without. Clones share their state.
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

    /// Goes on to `phase`; never back.
    pub fn enter(&self, phase: Phase) {
        self.with(|state| state.phase = state.phase.max(phase));
    }

    /// Notes that `component` does not work for now.
    pub fn degrade(&self, component: &'static str) {
        self.with(|state| state.degraded.insert(component));
    }

    /// Notes that `component` works again.
    pub fn recover(&self, component: &'static str) {
        self.with(|state| state.degraded.remove(component));
    }

    /// The components that do not work, in order of their names.
    pub fn degraded(&self) -> Vec<&'static str> {
        self.with(|state| state.degraded.iter().copied().collect())
    }
}
