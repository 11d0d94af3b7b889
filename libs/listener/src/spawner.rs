//! How the listener starts tasks on the caller's runtime.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Starts named tasks by a function of the caller, who can so count them and end them. Clones share the
/// function.
#[derive(Clone)]
pub struct Spawner(Arc<dyn Fn(&'static str, Task) + Send + Sync>);

impl Spawner {
    /// A spawner that gives each task and its name to `start`. A task's name is `connection`, or `stream` for
    /// a stream of HTTP/2.
    pub fn new(
        start: impl Fn(&'static str, Pin<Box<dyn Future<Output = ()> + Send>>) + Send + Sync + 'static,
    ) -> Self {
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

/// hyper starts a task for each stream of HTTP/2.
impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Spawner {
    fn execute(&self, task: F) {
        self.spawn("stream", task);
    }
}
