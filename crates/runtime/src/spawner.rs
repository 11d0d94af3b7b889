//! Lets a crate start tasks without owning a runtime.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Starts named tasks that the lifecycle owns. The lifecycle makes the spawner and passes it down, so every
/// task is known at shutdown.
#[derive(Clone)]
pub struct Spawner(Arc<dyn Fn(&'static str, Task) + Send + Sync>);

impl Spawner {
    /// A spawner that gives every task and its name to `start`.
    pub fn new(start: impl Fn(&'static str, Task) + Send + Sync + 'static) -> Self {
        Self(Arc::new(start))
    }

    /// Starts `task` under `name`, which shutdown logs when the task has not ended.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        (self.0)(name, Box::pin(task));
    }
}

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spawner")
    }
}
