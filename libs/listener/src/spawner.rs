//! Starts tasks on the caller's runtime.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A task that the listener starts.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Starts named tasks by a function of the caller, who can so count, trace and abort them. Clones share the
/// function.
#[derive(Clone)]
pub struct Spawner(Arc<dyn Fn(&'static str, Task) + Send + Sync>);

impl Spawner {
    /// Makes a spawner that passes each task and its name to `start`. The name is `connection` for a
    /// connection and `stream` for a stream of HTTP/2.
    pub fn new(start: impl Fn(&'static str, Task) + Send + Sync + 'static) -> Self {
        Self(Arc::new(start))
    }

    pub(super) fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        (self.0)(name, Box::pin(task));
    }
}

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spawner")
    }
}

/// hyper starts one task for each stream of HTTP/2.
impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Spawner {
    fn execute(&self, task: F) {
        self.spawn("stream", task);
    }
}
