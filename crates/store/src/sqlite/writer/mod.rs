//! The writer: one thread, one connection, and group commit.
//!
//! A write is one job. A group contains the jobs that queued up during the previous COMMIT, at most
//! [`GROUP`], so a single writer never waits for others. Each job runs in its own savepoint. Its success is
//! answered after COMMIT; so is a failure that may reveal uncommitted changes of earlier members.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use model::Event;
use runtime::audit::{PendingAudit, Receipt};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::connection::Connection;
use crate::Error;
use crate::pool_times::PoolTimes;
use crate::trace::{ANNOUNCED_WITHIN, Trace};
use crate::tx::{Engine, State, Tx};

/// The two lanes of the writer: requests first, then background work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lane {
    Request,
    Background,
}

/// Most jobs in one COMMIT.
const GROUP: usize = 256;
/// Jobs of the request lane in a row before one of the background lane runs, so that the latter never
/// starves.
const REQUESTS_IN_A_ROW: usize = 64;

/// Access to the writer's thread, which ends after this is dropped and its queue is empty.
pub(crate) struct Writer {
    queue: Arc<Queue>,
    times: Arc<PoolTimes>,
}

#[derive(Default)]
struct Queue {
    lanes: Mutex<Lanes>,
    filled: Condvar,
    busy: AtomicBool,
}

#[derive(Default)]
struct Lanes {
    request: VecDeque<Box<dyn Job>>,
    background: VecDeque<Box<dyn Job>>,
    /// Jobs of the request lane since the last background job.
    requests_in_a_row: usize,
    closed: bool,
}

/// One write, of any type.
trait Job: Send {
    /// Whether a caller still waits for it.
    fn is_wanted(&self) -> bool;
    /// Starts it, once; false when no caller waits for it.
    fn take(&mut self) -> bool;
    /// Runs the closure on the connection, inside a savepoint; true when it succeeds.
    fn run(&mut self, connection: Connection) -> (Connection, bool);
    /// Returns, once, the receipt that its intent is written.
    fn announcement(&mut self) -> Option<Receipt>;
    /// Answers with its outcome, or with the error that prevented the commit.
    fn settle(self: Box<Self>, failure: Option<Error>);
}

/// Decides whether the writer starts a job before its caller's deadline withdraws it.
#[derive(Clone, Default)]
pub(crate) struct Claim(Arc<AtomicBool>);

impl Claim {
    /// Withdraws the job; true when it has not started and never will.
    pub(crate) fn withdraw(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// The outcome of a write. Dropping the [`PendingAudit`] reports it to the audit trail: the caller drops it,
/// or the writer when no caller waits.
type Outcome<T, E> = (Option<PendingAudit>, Result<T, E>);
type Answer<T, E> = oneshot::Receiver<Outcome<T, E>>;

impl Writer {
    /// Starts the thread. Needs a Tokio runtime, so that a closure that awaits a timer returns `Pending` and
    /// is refused instead of panicking.
    pub(crate) fn start(connection: Connection) -> Result<Self, Error> {
        let queue = Arc::<Queue>::default();
        let shared = Ended(Arc::clone(&queue));
        let runtime = tokio::runtime::Handle::try_current().ok();
        thread::Builder::new()
            .name("sqlite writer".into())
            .spawn(move || {
                let _inside = runtime.as_ref().map(tokio::runtime::Handle::enter);
                work(&shared.0, connection);
            })
            .map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(Self { queue, times: Arc::default() })
    }

    /// Whether the thread accepts jobs.
    pub(crate) fn lives(&self) -> bool {
        !self.queue.lanes().closed
    }

    /// Whether it runs a group.
    pub(crate) fn is_busy(&self) -> bool {
        self.queue.busy.load(Ordering::Relaxed)
    }

    /// How long writes waited for their start, and how long they took from there to their answer.
    pub(crate) fn times(&self) -> &PoolTimes {
        &self.times
    }

    /// Queues a write; the receiver gets its answer, or closes when the thread has ended.
    pub(crate) fn submit<R, T, E, F>(
        &self,
        lane: Lane,
        announced: Option<PendingAudit>,
        closure: F,
    ) -> (Answer<T, E>, Claim)
    where
        F: AsyncFn(&mut Tx) -> Result<(R, T), E> + Send + 'static,
        R: Trace,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let claim = Claim::default();
        let times = Arc::clone(&self.times);
        let job = Box::new(Write::new(closure, announced, reply, claim.clone(), times));

        let mut lanes = self.queue.lanes();
        match lane {
            _ if lanes.closed => {}
            Lane::Request => lanes.request.push_back(job),
            Lane::Background => lanes.background.push_back(job),
        }
        drop(lanes);
        self.queue.filled.notify_one();
        (answer, claim)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.lanes().closed = true;
        self.queue.filled.notify_one();
    }
}

/// Closes the queue when the thread ends, also by a panic, and thereby answers all waiting callers.
struct Ended(Arc<Queue>);

impl Drop for Ended {
    fn drop(&mut self) {
        let mut lanes = self.0.lanes();
        lanes.closed = true;
        let left = (std::mem::take(&mut lanes.request), std::mem::take(&mut lanes.background));
        drop(lanes);
        drop(left);
    }
}

impl Queue {
    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next job; `None` after the [`Writer`] was dropped.
    fn wait(&self) -> Option<Box<dyn Job>> {
        let mut lanes = self.lanes();
        loop {
            if let Some(job) = lanes.pop() {
                return Some(job);
            }
            if lanes.closed {
                return None;
            }
            lanes = self.filled.wait(lanes).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Returns the next job, if one is queued.
    fn poll(&self) -> Option<Box<dyn Job>> {
        self.lanes().pop()
    }
}

impl Lanes {
    fn pop(&mut self) -> Option<Box<dyn Job>> {
        let background_turn = self.requests_in_a_row >= REQUESTS_IN_A_ROW && !self.background.is_empty();
        let first = if background_turn { None } else { self.request.pop_front() };
        if let Some(job) = first {
            self.requests_in_a_row = self.requests_in_a_row.saturating_add(1);
            return Some(job);
        }
        self.requests_in_a_row = 0;
        self.background.pop_front()
    }
}

fn work(queue: &Queue, mut connection: Connection) {
    while let Some(first) = queue.wait() {
        // After a timeout on a locked file the caller is gone; starting its job would delay the next one as
        // long.
        if first.is_wanted() {
            queue.busy.store(true, Ordering::Relaxed);
            connection = group(connection, first, || queue.poll());
            queue.busy.store(false, Ordering::Relaxed);
        }
    }
}

fn begin(connection: &Connection) -> Result<(), Error> {
    if connection.in_transaction() {
        let _ = connection.execute("ROLLBACK");
    }
    connection.execute("BEGIN IMMEDIATE")
}

/// Runs `first` and the jobs of `more` as one COMMIT. If the group is lost, its members run again one by one.
fn group(
    mut connection: Connection,
    first: Box<dyn Job>,
    mut more: impl FnMut() -> Option<Box<dyn Job>>,
) -> Connection {
    if let Err(error) = begin(&connection) {
        first.settle(Some(error));
        return connection;
    }

    let mut members: Vec<Box<dyn Job>> = Vec::new();
    let mut announcements = Announcements::default();
    let mut next = Some(first);
    // Failed jobs count too: any number of them must not delay the others' COMMIT indefinitely.
    for _ in 0..GROUP {
        let Some(mut job) = next else { break };
        if job.take() {
            announcements.add(job.announcement());
            let (back, member) = savepoint(connection, job);
            connection = back;
            match member {
                // It failed on committed data, so its answer need not wait.
                Some((job, false)) if members.is_empty() => job.settle(None),
                // Its failure may reveal changes of earlier members, so it is answered after their COMMIT.
                member => members.extend(member.map(|(job, _)| job)),
            }
            if !connection.in_transaction() {
                // SQLite rolled back the whole transaction (disk full, I/O error): the group is lost.
                announcements.wait();
                return one_by_one(connection, members);
            }
        }
        next = if members.len() < GROUP { more() } else { None };
    }

    announcements.wait();

    match connection.execute("COMMIT") {
        Ok(()) => {
            for job in members {
                job.settle(None);
            }
            connection
        }
        Err(error) => {
            tracing::warn!(%error, members = members.len(), "a group of writes could not be committed");
            let _ = connection.execute("ROLLBACK");
            one_by_one(connection, members)
        }
    }
}

/// The receipts of the members' intents that are not written yet: COMMIT waits for them, at most
/// [`ANNOUNCED_WITHIN`].
struct Announcements {
    waker: Waker,
    unwritten: Vec<Receipt>,
}

impl Default for Announcements {
    fn default() -> Self {
        Self { waker: Waker::from(Arc::new(Wakes(thread::current()))), unwritten: Vec::new() }
    }
}

impl Announcements {
    /// Polls a receipt, so that the intent is written while its transaction runs.
    fn add(&mut self, written: Option<Receipt>) {
        let Some(mut written) = written else { return };
        if written.as_mut().poll(&mut Context::from_waker(&self.waker)).is_pending() {
            self.unwritten.push(written);
        }
    }

    fn wait(mut self) {
        let until = Instant::now() + ANNOUNCED_WITHIN;
        for written in &mut self.unwritten {
            while written.as_mut().poll(&mut Context::from_waker(&self.waker)).is_pending() {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return;
                }
                thread::park_timeout(left);
            }
        }
    }
}

/// Unparks a thread.
struct Wakes(Thread);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A job that has run, and whether it succeeded.
type Ran = (Box<dyn Job>, bool);

/// Runs one job in a savepoint and returns it; a failed job is rolled back. When the savepoint cannot be
/// ended, the job is answered and the whole transaction is rolled back, which the caller detects.
fn savepoint(mut connection: Connection, mut job: Box<dyn Job>) -> (Connection, Option<Ran>) {
    if let Err(error) = connection.execute("SAVEPOINT job") {
        job.settle(Some(error));
        return (connection, None);
    }
    let good;
    (connection, good) = job.run(connection);
    let mut ended = Ok(());
    if connection.in_transaction() {
        let undone = if good { Ok(()) } else { connection.execute("ROLLBACK TO job") };
        ended = undone.and_then(|()| connection.execute("RELEASE job"));
    }
    if let Err(error) = ended {
        let _ = connection.execute("ROLLBACK");
        job.settle(Some(error));
        return (connection, None);
    }
    (connection, Some((job, good)))
}

/// Runs the members of a lost group one by one, after their intents were written.
fn one_by_one(mut connection: Connection, members: Vec<Box<dyn Job>>) -> Connection {
    for job in members {
        if let Err(error) = begin(&connection) {
            job.settle(Some(error));
            continue;
        }
        let (back, member) = savepoint(connection, job);
        connection = back;
        let open = connection.in_transaction();
        match member {
            Some((job, false)) => job.settle(None),
            Some((job, true)) if open => {
                let committed = connection.execute("COMMIT");
                job.settle(committed.err());
            }
            Some((job, true)) => job.settle(Some(Error::Unavailable("SQLite rolled the write back".into()))),
            None => {}
        }
        if connection.in_transaction() {
            let _ = connection.execute("ROLLBACK");
        }
    }
    connection
}

struct Write<F, R, T, E> {
    closure: F,
    trace: PhantomData<fn() -> R>,
    announced: Option<PendingAudit>,
    outcome: Option<Result<(Option<Event>, T), E>>,
    reply: oneshot::Sender<Outcome<T, E>>,
    claim: Claim,
    times: Arc<PoolTimes>,
    queued: Instant,
    begun: Option<Instant>,
}

impl<F, R, T, E> Write<F, R, T, E> {
    fn new(
        closure: F,
        announced: Option<PendingAudit>,
        reply: oneshot::Sender<Outcome<T, E>>,
        claim: Claim,
        times: Arc<PoolTimes>,
    ) -> Self {
        Self {
            closure,
            trace: PhantomData,
            announced,
            outcome: None,
            reply,
            claim,
            times,
            queued: Instant::now(),
            begun: None,
        }
    }
}

impl<F, R, T, E> Job for Write<F, R, T, E>
where
    F: AsyncFn(&mut Tx) -> Result<(R, T), E> + Send,
    R: Trace,
    T: Send,
    E: From<Error> + Send,
{
    fn is_wanted(&self) -> bool {
        !self.reply.is_closed() && !self.claim.0.load(Ordering::Acquire)
    }

    fn take(&mut self) -> bool {
        if self.begun.is_none() && !self.reply.is_closed() && self.claim.withdraw() {
            let now = Instant::now();
            self.times.wait.observe(now - self.queued);
            self.begun = Some(now);
        }
        self.begun.is_some()
    }

    fn run(&mut self, connection: Connection) -> (Connection, bool) {
        let mut tx = Tx::new(Engine::Sqlite(connection));
        if let Some(announced) = &mut self.announced {
            announced.sent();
        }
        // Every statement completes inline, so `Pending` means that the closure awaits something else.
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let running = pin!((self.closure)(&mut tx));
            let polled = running.poll(&mut Context::from_waker(Waker::noop()));
            polled.map_ok(|(trace, value)| (trace.into_event(), value))
        }));

        let (engine, state) = tx.into_parts();
        let outcome = match polled {
            Ok(Poll::Ready(Ok(_))) if state == State::Poisoned => Err(Error::Poisoned.into()),
            Ok(Poll::Ready(outcome)) => outcome,
            Ok(Poll::Pending) => Err(Error::Slow.into()),
            Err(_) => Err(Error::Database("a transaction panicked".into()).into()),
        };

        let good = outcome.is_ok();
        if let Some(announced) = self.announced.as_mut().filter(|_| !good) {
            announced.rolled_back();
        }
        self.outcome = Some(outcome);

        match engine {
            Engine::Sqlite(connection) => (connection, good),
            Engine::Postgres(_) => unreachable!("a job of the SQLite writer was given its connection"),
        }
    }

    fn announcement(&mut self) -> Option<Receipt> {
        self.announced.as_mut().and_then(PendingAudit::written)
    }

    fn settle(self: Box<Self>, failure: Option<Error>) {
        if let Some(begun) = self.begun {
            self.times.held.observe(begun.elapsed());
        }
        let Self { mut announced, outcome, reply, .. } = *self;
        let outcome = match (failure, outcome) {
            (Some(error), _) => Err(error.into()),
            (None, Some(outcome)) => outcome,
            (None, None) => Err(Error::Unavailable("the write did not run".into()).into()),
        };
        let (event, outcome) = match outcome {
            Ok((event, value)) => (event, Ok(value)),
            Err(error) => (None, Err(error)),
        };
        if let Some(announced) = &mut announced {
            match event {
                Some(event) => announced.committed(event),
                None => announced.rolled_back(),
            }
        }
        let _ = reply.send((announced, outcome));
    }
}

#[cfg(test)]
mod tests;
