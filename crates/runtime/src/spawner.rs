//! How a crate that must start a task does so without owning a runtime.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Starts named tasks that somebody owns. The lifecycle makes one and hands it down; whoever holds it cannot
/// start a task that shutdown does not know of.
#[derive(Clone)]
pub struct Spawner(Arc<dyn Fn(&'static str, Task) + Send + Sync>);

impl Spawner {
    /// A spawner that gives every task and its name to `start`.
    pub fn new(start: impl Fn(&'static str, Task) + Send + Sync + 'static) -> Self {
        Self(Arc::new(start))
    }

    /// Starts `task` under `name`, the word that shutdown uses when it has not ended.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        (self.0)(name, Box::pin(task));
    }
}

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spawner")
    }
}
