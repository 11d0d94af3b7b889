//! The lease: one request's place for one connection, and the proof that it is parked.

use std::sync::Arc;
use std::time::Duration;

use model::{Event, Intent};
use runtime::{AuditContext, Parked, PendingAudit, ReleasesConnection};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::statement::{Batch, Call};
use crate::tx::Tx;
use crate::{Error, postgres, sqlite};

/// Which engine, and which of its two lanes.
#[derive(Clone)]
pub(crate) enum Backend {
    Postgres(Arc<postgres::Pool>),
    Sqlite(Arc<sqlite::Database>, sqlite::Lane),
}

/// A connection in hand.
pub(crate) enum LeasedConnection {
    Postgres(postgres::PooledConnection),
    Sqlite(sqlite::Reader),
}

/// Longest that a transaction waits until what it is about to do is written: a disk that is slow holds nobody for
/// longer than this.
pub(crate) const ANNOUNCED_WITHIN: Duration = Duration::from_millis(50);
/// How long a transaction may go on at PostgreSQL when the process that sent it was killed: the server only sees that
/// when it answers. Twice the longest that a client waits for a statement, by default.
const OUTLIVES: Duration = Duration::from_secs(10);

/// Why a transaction leaves no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unaudited {
    /// The lease of a job is bookkeeping: the job's own writes leave events.
    JobLease,
    /// Keys of audit details are of the audit trail itself.
    DetailKeys,
}

/// What a committed transaction leaves in the audit trail.
pub(crate) trait Trace: Send + 'static {
    /// Its event; none for a write that leaves none.
    fn into_event(self) -> Option<Event>;
}

impl Trace for Event {
    fn into_event(self) -> Option<Event> {
        Some(self)
    }
}

impl Trace for Unaudited {
    fn into_event(self) -> Option<Event> {
        match self {
            Self::JobLease | Self::DetailKeys => None,
        }
    }
}

/// One request's, job's or command's only way to the database. It is lazy: nothing is taken before the first
/// [`Lease::read`] or [`Lease::transact`], and it never takes a second connection.
///
/// Every access borrows the lease mutably, so two of them cannot overlap, and [`Lease::park`] gives the
/// connection back: whatever is slow asks for the [`Parked`] that only `park` makes.
///
/// ```compile_fail,E0499
/// # async fn slow(_: runtime::Parked<'_>) {}
/// async fn hashing_while_reading(lease: &mut store::Lease) -> Result<(), store::Error> {
///     let mut read = lease.read().await?;
///     slow(lease.park()).await;               // error: `*lease` is borrowed by `read`
///     read.one(store::queries::realm::find()).await?;
///     Ok(())
/// }
/// ```
///
/// Nor is the lease to be had inside a transaction:
///
/// ```compile_fail
/// # async fn slow(_: runtime::Parked<'_>) {}
/// async fn hashing_in_a_transaction(
///     lease: &mut store::Lease,
///     intent: model::Intent,
///     event: model::Event,
/// ) -> Result<(), store::Error> {
///     lease
///         .transact(intent, async move |_| {
///             slow(lease.park()).await;       // error: `lease` is in use, and not the closure's to have
///             Ok((event.clone(), ()))
///         })
///         .await
/// }
/// ```
pub struct Lease {
    backend: Backend,
    held: Option<LeasedConnection>,
    gone: CancellationToken,
    trail: AuditContext,
}

impl Lease {
    pub(crate) fn new(backend: Backend, gone: CancellationToken, trail: AuditContext) -> Self {
        Self { backend, held: None, gone, trail }
    }

    /// Takes the connection, if it is not in hand, and gives statements that read. No BEGIN is sent.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when no connection came within the acquire deadline.
    pub async fn read(&mut self) -> Result<Read<'_>, Error> {
        let held = match self.held.take() {
            Some(held) => held,
            None => match &self.backend {
                Backend::Postgres(pool) => LeasedConnection::Postgres(pool.acquire().await?),
                Backend::Sqlite(database, lane) => LeasedConnection::Sqlite(database.reader(*lane).await?),
            },
        };
        Ok(Read(self.held.insert(held)))
    }

    /// Announces `intent`, runs a whole write as one transaction, and notes its event once it is committed. So a
    /// process that is killed in between leaves word of what it was about to do. Where nobody hears whether it was
    /// committed, or whoever waited for that has gone, [`Event::OutcomeUnknown`] is noted instead.
    ///
    /// The closure succeeds only with an event and a value; an error, a drop or a panic rolls back. It may run
    /// up to four times, so it must not do anything but run statements of its `Tx`; SQLite refuses a closure
    /// that awaits something else with [`Error::Slow`].
    ///
    /// # Errors
    /// What the closure returned, or an [`Error`] of the store turned into it.
    pub async fn transact<T, E, F>(&mut self, intent: Intent, closure: F) -> Result<T, E>
    where
        F: AsyncFn(&mut Tx) -> Result<(Event, T), E> + Send + Sync + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let announced = self.trail.announce(intent);
        self.write(Some(announced), closure).await
    }

    /// How long a transaction may go on when the process that sent it is dead.
    pub fn outlives(&self) -> Duration {
        match &self.backend {
            Backend::Postgres(_) => OUTLIVES,
            Backend::Sqlite(..) => Duration::ZERO,
        }
    }

    /// Runs a whole write as one transaction that leaves no event, and says why. Only this crate writes so, for the
    /// closed list of [`Unaudited`].
    ///
    /// # Errors
    /// As for [`Lease::transact`].
    pub(crate) async fn write_unaudited<T, E, F>(&mut self, closure: F) -> Result<T, E>
    where
        F: AsyncFn(&mut Tx) -> Result<(Unaudited, T), E> + Send + Sync + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.write(None, closure).await
    }

    async fn write<R, T, E, F>(&mut self, mut announced: Option<PendingAudit>, closure: F) -> Result<T, E>
    where
        F: AsyncFn(&mut Tx) -> Result<(R, T), E> + Send + Sync + 'static,
        R: Trace,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        match &self.backend {
            Backend::Postgres(pool) => {
                if let Some(written) = announced.as_mut().and_then(PendingAudit::written) {
                    let _ = timeout(ANNOUNCED_WITHIN, written).await;
                }
                let held = match self.held.take() {
                    Some(LeasedConnection::Postgres(held)) => held,
                    _ => pool.acquire().await?,
                };
                let (held, outcome) = postgres::transact(held, announced, closure).await;
                self.held = held.map(LeasedConnection::Postgres);
                outcome
            }
            Backend::Sqlite(database, lane) => {
                self.held = None;
                // The writer waits before it commits, once for all whom it commits together.
                database.transact(*lane, announced, closure).await
            }
        }
    }

    /// Gives the connection back and proves it: what takes a [`Parked`] may be slow.
    pub fn park(&mut self) -> Parked<'_> {
        Parked::new(self)
    }
}

impl ReleasesConnection for Lease {
    fn release(&mut self) {
        self.held = None;
    }

    fn gone(&self) -> &CancellationToken {
        &self.gone
    }
}

/// Statements that read, on the lease's connection.
pub struct Read<'lease>(&'lease mut LeasedConnection);

impl Read<'_> {
    /// All rows of a call.
    ///
    /// # Errors
    /// [`Error::Unavailable`] past the statement deadline, [`Error::Corrupt`] for a row that cannot be read.
    pub async fn all<T>(&mut self, call: Call<T>) -> Result<Vec<T>, Error> {
        let mut rows = match self.0 {
            LeasedConnection::Postgres(held) => held.run(vec![call.raw]).await?,
            LeasedConnection::Sqlite(reader) => reader.run(&[call.raw])?,
        };
        Call::rows(call.decode, rows.pop().unwrap_or_default())
    }

    /// The first row of a call, if there is one.
    pub async fn one<T>(&mut self, call: Call<T>) -> Result<Option<T>, Error> {
        Ok(self.all(call).await?.into_iter().next())
    }

    /// Several independent calls in one round trip.
    pub async fn batch<B: Batch>(&mut self, batch: B) -> Result<B::Out, Error> {
        let (calls, decode) = batch.split();
        let rows = match self.0 {
            LeasedConnection::Postgres(held) => held.run(calls.0).await?,
            LeasedConnection::Sqlite(reader) => reader.run(&calls.0)?,
        };
        decode(crate::statement::Rows(rows))
    }
}
