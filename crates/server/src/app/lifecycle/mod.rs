//! Owns all tasks: starts them, stops them in order, and reports those that did not end.
//!
//! Every task of the process is started here, under a name. Shutdown goes through the [`Phase`]s and tells
//! tasks by the tokens of [`Stop`]: tasks of [`Stage::Serving`] end first, those of [`Stage::Working`] after
//! them, so that the journal and the store outlive the requests that need them.

mod health;
mod signals;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use runtime::Spawner;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use health::{Health, Phase};
pub use signals::{Signal, Signals, block_sent_faults, survive_file_size_limit};

/// Initial and maximum delay before a task that ended is restarted.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// How long a restarted task must run until it counts as healthy.
const STEADY: Duration = Duration::from_secs(30);
/// How long tasks have to end after they were told to stop at once.
const LAST_GRACE: Duration = Duration::from_millis(500);

/// The deadlines of the shutdown's steps.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// How long readiness fails before the listeners close (`server.shutdown_delay`).
    pub delay: Duration,
    /// How long requests and connections may take to end.
    pub serving: Duration,
    /// How long the other tasks (journal, shipper, jobs) may take after them.
    pub working: Duration,
}

impl Deadlines {
    /// The given delay, then 20 s and 5 s. With the default delay the sum is within the 30 s that Kubernetes
    /// waits.
    pub fn after(delay: Duration) -> Self {
        Self { delay, serving: Duration::from_secs(20), working: Duration::from_secs(5) }
    }
}

/// The step of the shutdown in which a task ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Listeners, connections and requests end first.
    Serving,
    /// Tasks that requests depend on end after them.
    Working,
}

/// The tokens that tell tasks to end; each implies the ones before it.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Readiness fails and connections are asked to close; new ones are still served.
    pub draining: CancellationToken,
    /// Stop accepting, and finish what has begun.
    pub serving: CancellationToken,
    /// Requests have ended: finish the background work.
    pub working: CancellationToken,
    /// Stop at once.
    pub now: CancellationToken,
}

impl Stop {
    fn of(&self, stage: Stage) -> &CancellationToken {
        match stage {
            Stage::Serving => &self.serving,
            Stage::Working => &self.working,
        }
    }
}

/// The reason why the process stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A signal.
    Signal,
    /// A critical task has ended.
    Failed {
        /// The task.
        name: &'static str,
        /// Its error.
        why: String,
    },
}

/// How the process stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The reason.
    pub cause: Cause,
    /// Whether a second signal cut the shutdown short.
    pub forced: bool,
    /// The tasks that were dropped, and how many of each name.
    pub unfinished: Vec<(&'static str, usize)>,
    /// How many tasks panicked while the process ran.
    pub panics: u64,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Signal => f.write_str("stopped")?,
            Cause::Failed { name, why } => write!(f, "stopped because {name} failed: {why}")?,
        }
        for (at, (name, count)) in self.unfinished.iter().enumerate() {
            write!(f, "{} {count} {name}", if at == 0 { "; not finished:" } else { "," })?;
        }
        Ok(())
    }
}

/// The running tasks, and the panics so far.
#[derive(Default)]
struct TaskTable {
    running: BTreeMap<(Stage, &'static str), usize>,
    panics: BTreeMap<&'static str, u64>,
}

struct Shared {
    table: Mutex<TaskTable>,
    serving: TaskTracker,
    working: TaskTracker,
    stop: Stop,
    health: Health,
    failed: mpsc::Sender<(&'static str, String)>,
    last: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
}

/// The owner of all tasks.
pub struct Lifecycle {
    shared: Arc<Shared>,
    failures: mpsc::Receiver<(&'static str, String)>,
    deadlines: Deadlines,
}

/// Starts tasks; passed to the components while the application is built.
#[derive(Clone)]
pub struct Tasks(Arc<Shared>);

/// Removes a task from the list when it ends, in whatever way.
struct Running {
    shared: Arc<Shared>,
    key: (Stage, &'static str),
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.with_table(|table| {
            if let Some(count) = table.running.get_mut(&self.key) {
                *count -= 1;
                if *count == 0 {
                    table.running.remove(&self.key);
                }
            }
        });
    }
}

impl Shared {
    fn with_table<T>(&self, change: impl FnOnce(&mut TaskTable) -> T) -> T {
        change(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn panicked(&self, name: &'static str, panic: &(dyn Any + Send)) -> String {
        self.with_table(|table| *table.panics.entry(name).or_default() += 1);
        let said = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let said = said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        tracing::error!(task = name, panic = said, "a task panicked");
        format!("panicked: {said}")
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that starts tasks")]
    fn start(
        self: &Arc<Self>,
        stage: Stage,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.with_table(|table| *table.running.entry((stage, name)).or_default() += 1);
        let running = Running { shared: Arc::clone(self), key: (stage, name) };
        let tracker = match stage {
            Stage::Serving => &self.serving,
            Stage::Working => &self.working,
        };
        let now = self.stop.now.clone();
        tokio::spawn(tracker.track_future(async move {
            let ended = now.run_until_cancelled(AssertUnwindSafe(task).catch_unwind()).await;
            if let Some(Err(panic)) = ended {
                running.shared.panicked(name, panic.as_ref());
            }
            drop(running);
        }));
    }
}

impl Tasks {
    /// The tokens that tell tasks to end.
    pub fn stop(&self) -> &Stop {
        &self.0.stop
    }

    /// The state that readiness shows.
    pub fn health(&self) -> &Health {
        &self.0.health
    }

    /// How many tasks panicked, by name.
    pub fn panics(&self) -> BTreeMap<&'static str, u64> {
        self.0.with_table(|table| table.panics.clone())
    }

    /// The running tasks, and how many of each name.
    pub fn running(&self) -> Vec<(&'static str, usize)> {
        self.0.with_table(|table| table.running.iter().map(|((_, name), count)| (*name, *count)).collect())
    }

    /// A spawner for tasks whose end or panic stops nothing else: requests, connections, deliveries.
    pub fn spawner(&self, stage: Stage) -> Spawner {
        Spawner::new(self.starter(stage))
    }

    /// A function that starts tasks like [`Tasks::spawner`], for a library with its own spawner type. The
    /// library boxes the task.
    pub fn starter(
        &self,
        stage: Stage,
    ) -> impl Fn(&'static str, BoxFuture<'static, ()>) + Send + Sync + use<> {
        let shared = Arc::downgrade(&self.0);
        move |name, task| {
            if let Some(shared) = shared.upgrade() {
                shared.start(stage, name, task);
            }
        }
    }

    /// Runs `last` after every task has ended.
    pub fn at_end(&self, last: impl FnOnce() + Send + 'static) {
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(last));
    }

    /// Starts a critical task: when it ends before it is told to, the process stops.
    pub fn critical<E: fmt::Display>(
        &self,
        stage: Stage,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let shared = Arc::clone(&self.0);
        self.0.start(stage, name, async move {
            let ended = AssertUnwindSafe(task).catch_unwind().await;
            let why = match ended {
                Ok(Ok(())) if shared.stop.of(stage).is_cancelled() => return,
                Ok(Ok(())) => "it ended".to_owned(),
                Ok(Err(why)) => why.to_string(),
                Err(panic) => shared.panicked(name, panic.as_ref()),
            };
            tracing::error!(task = name, why, "a critical task ended");
            // A full channel already contains a reason to stop.
            let _ = shared.failed.try_send((name, why));
        });
    }

    /// Starts a task that is restarted, with growing delays, whenever it ends. It is shown as degraded until
    /// it has run for a while.
    pub fn restartable<E, F>(
        &self,
        stage: Stage,
        name: &'static str,
        mut make: impl FnMut() -> F + Send + 'static,
    ) where
        E: fmt::Display + Send,
        F: Future<Output = Result<(), E>> + Send + 'static,
    {
        let shared = Arc::clone(&self.0);
        self.0.start(stage, name, async move {
            let mut pause = BACKOFF.0;
            loop {
                let mut task = std::pin::pin!(AssertUnwindSafe(make()).catch_unwind());
                let ended = tokio::select! {
                    ended = &mut task => ended,
                    () = tokio::time::sleep(STEADY) => {
                        shared.health.recover(name);
                        pause = BACKOFF.0;
                        task.await
                    }
                };

                if shared.stop.of(stage).is_cancelled() {
                    return;
                }
                let why = match ended {
                    Ok(Ok(())) => "it ended".to_owned(),
                    Ok(Err(why)) => why.to_string(),
                    Err(panic) => shared.panicked(name, panic.as_ref()),
                };

                shared.health.degrade(name);
                tracing::warn!(
                    task = name,
                    why,
                    pause = pause.as_secs_f64(),
                    "a task ended and will be restarted"
                );

                if shared.stop.of(stage).run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                    return;
                }
                pause = pause.saturating_mul(2).min(BACKOFF.1);
            }
        });
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tasks").field(&self.running()).finish()
    }
}

impl fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifecycle").field("deadlines", &self.deadlines).finish_non_exhaustive()
    }
}

impl Lifecycle {
    /// A lifecycle without tasks.
    pub fn new(deadlines: Deadlines) -> Self {
        let (failed, failures) = mpsc::channel(1);
        let shared = Shared {
            table: Mutex::default(),
            serving: TaskTracker::new(),
            working: TaskTracker::new(),
            stop: Stop::default(),
            health: Health::default(),
            failed,
            last: Mutex::default(),
        };
        Self { shared: Arc::new(shared), failures, deadlines }
    }

    /// Starts tasks of this lifecycle.
    pub fn tasks(&self) -> Tasks {
        Tasks(Arc::clone(&self.shared))
    }

    /// Runs until a signal or the end of a critical task, then shuts down. SIGHUP calls `reload`.
    pub async fn run(mut self, mut signals: Signals, mut reload: impl FnMut()) -> Ended {
        let cause = loop {
            tokio::select! {
                biased;
                Some((name, why)) = self.failures.recv() => break Cause::Failed { name, why },
                signal = signals.next() => match signal {
                    Signal::Reload => reload(),
                    Signal::Stop => break Cause::Signal,
                },
            }
        };

        // The delay is for the load balancers of a healthy node; a failed node stops without it.
        let delay = if cause == Cause::Signal { self.deadlines.delay } else { Duration::ZERO };
        let forced = tokio::select! {
            biased;
            () = second(&mut signals) => true,
            () = self.shut_down(delay) => false,
        };

        if forced {
            tracing::warn!("a second signal: stopping at once");
        }
        let unfinished = self.tasks().running();
        self.cancel_all();
        let (serving, working) = (&self.shared.serving, &self.shared.working);
        let all = async { tokio::join!(serving.wait(), working.wait()) };

        // A task that does not yield even now ends with the process.
        let _ = tokio::time::timeout(LAST_GRACE, all).await;
        for last in std::mem::take(&mut *self.shared.last.lock().unwrap_or_else(PoisonError::into_inner)) {
            last();
        }
        let panics = self.tasks().panics().values().sum();
        Ended { cause, forced, unfinished, panics }
    }

    async fn shut_down(&self, delay: Duration) {
        let Shared { stop, health, serving, working, .. } = &*self.shared;
        health.enter(Phase::Draining);
        stop.draining.cancel();
        tokio::time::sleep(delay).await;
        stop.serving.cancel();
        serving.close();
        // Tasks that do not end in time are logged and dropped at the end, with all others.
        let _ = tokio::time::timeout(self.deadlines.serving, serving.wait()).await;
        stop.working.cancel();
        working.close();
        let _ = tokio::time::timeout(self.deadlines.working, working.wait()).await;
    }

    fn cancel_all(&self) {
        let Shared { stop, serving, working, .. } = &*self.shared;
        for token in [&stop.draining, &stop.serving, &stop.working, &stop.now] {
            token.cancel();
        }
        serving.close();
        working.close();
    }
}

/// Waits for a signal to stop; ignores reloads.
async fn second(signals: &mut Signals) {
    while signals.next().await != Signal::Stop {}
}
