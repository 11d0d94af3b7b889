//! The lease: a request's access to one connection, and the proof that the connection is parked.

use std::sync::Arc;
use std::time::Duration;

use model::intent::Announced;
use model::{Now, SessionId, UserKey};
use runtime::{AuditContext, Parked, PendingAudit, ReleasesConnection};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::queries::audit_key::AuditKey;
use crate::queries::known_network::{self, SeenNetwork};
use crate::queries::{audit_key, credential, job, master_key, pepper, revocation, session, signing_key};
use crate::statement::{Batch, Call};
use crate::trace::{ANNOUNCED_WITHIN, Trace, Unaudited};
use crate::tx::Tx;
use crate::{Error, postgres, sqlite};

/// The engine and, on SQLite, the lane.
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

/// How long a transaction may run on at PostgreSQL after the sending process was killed: the server notices
/// that only when it answers. Twice the default of the longest wait for a statement.
const OUTLIVES: Duration = Duration::from_secs(10);

/// The only access of a request, job or command to the database. It is lazy: it takes no connection before
/// the first [`Lease::read`] or [`Lease::transact`], and it never takes a second one.
///
/// Every access borrows the lease mutably, so two accesses cannot overlap. [`Lease::park`] gives the
/// connection back: slow work requires the [`Parked`] that only `park` creates.
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
/// The lease is not available inside a transaction either:
///
/// ```compile_fail
/// # async fn slow(_: runtime::Parked<'_>) {}
/// async fn hashing_in_a_transaction(
///     lease: &mut store::Lease,
///     realm: uuid::Uuid,
/// ) -> Result<(), store::Error> {
///     lease
///         .transact(model::intent::RealmOpened {}, async move |_| {
///             slow(lease.park()).await;       // error: the closure cannot use `lease`
///             Ok((model::event::RealmOpened { realm }, ()))
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

    /// Uses a connection that was acquired elsewhere.
    pub(crate) fn hold(&mut self, held: postgres::PooledConnection) {
        self.held = Some(LeasedConnection::Postgres(held));
    }

    /// Takes a connection unless the lease holds one, and returns access to read statements. Sends no BEGIN.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when no connection is free within the acquire timeout.
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

    /// Announces `intent`, runs a whole write as one transaction, and records its event after the commit: an
    /// event of the kind that the intent determines. A
    /// process that is killed in between leaves the intent in the journal. [`Event::OutcomeUnknown`] is
    /// recorded instead when the answer to COMMIT is lost or the caller is cancelled while it waits for it.
    ///
    /// The closure succeeds only with an event and a value; an error, a drop or a panic rolls back. It may
    /// run up to four times, so it must only run statements of its `Tx`; SQLite refuses a closure that awaits
    /// something else with [`Error::Slow`].
    ///
    /// # Errors
    /// The closure's error, or an [`Error`] of the store converted to it.
    pub async fn transact<I, T, E, F>(&mut self, intent: I, closure: F) -> Result<T, E>
    where
        I: Announced,
        F: AsyncFn(&mut Tx) -> Result<(I::Event, T), E> + Send + Sync + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let announced = self.trail.announce(intent.intent());
        self.write(Some(announced), closure).await
    }

    /// How long a transaction may run on after the sending process was killed.
    pub fn outlives(&self) -> Duration {
        match &self.backend {
            Backend::Postgres(_) => OUTLIVES,
            Backend::Sqlite(..) => Duration::ZERO,
        }
    }

    /// Claims the job `name` for `holder` until `until`; false while another node holds it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] as for [`Lease::transact`].
    pub async fn claim_job(
        &mut self,
        name: &'static str,
        holder: Uuid,
        until: Now,
        now: Now,
    ) -> Result<bool, Error> {
        // Owned: with a borrowed name the compiler does not see that the future is `Send`.
        let name = name.to_owned();
        self.write_unaudited(async move |tx| {
            let (claimed,) = tx.commit_with((job::claim(&name, holder, until, now),)).await?;
            Ok((Unaudited::JobLease, !claimed.is_empty()))
        })
        .await
    }

    /// Releases the job `name`, if `holder` has it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] as for [`Lease::transact`].
    pub async fn release_job(&mut self, name: &'static str, holder: Uuid) -> Result<(), Error> {
        let name = name.to_owned();
        self.write_unaudited(async move |tx| {
            tx.commit_with((job::release(&name, holder),)).await?;
            Ok((Unaudited::JobLease, ()))
        })
        .await
    }

    /// Records that one client used generation `shared` of a session again, see
    /// [`crate::queries::session::shared`]; false when `newest` is not its newest generation any more.
    ///
    /// # Errors
    /// [`Error::Unavailable`] as for [`Lease::transact`].
    pub async fn share_session(
        &mut self,
        id: SessionId,
        newest: i64,
        shared: i64,
        tokens_end: Now,
    ) -> Result<bool, Error> {
        self.write_unaudited(async move |tx| {
            let (done,) = tx.commit_with((session::shared(id, newest, shared, tokens_end),)).await?;
            Ok((Unaudited::SharedSession, !done.is_empty()))
        })
        .await
    }

    /// Adds failed logins to those of users, and records networks from which users have logged in.
    ///
    /// # Errors
    /// [`Error::Unavailable`] as for [`Lease::transact`].
    pub async fn keep_logins(
        &mut self,
        failures: Vec<(UserKey, i64)>,
        seen: Vec<SeenNetwork>,
    ) -> Result<(), Error> {
        self.write_unaudited(async move |tx| {
            tx.commit_with((credential::add_failures(&failures), known_network::record(&seen))).await?;
            Ok((Unaudited::Logins, ()))
        })
        .await
    }

    /// Stores the time of a node whose clock is believed.
    ///
    /// # Errors
    /// [`Error::Unavailable`] as for [`Lease::transact`].
    pub async fn keep_clock(&mut self, now: Now) -> Result<(), Error> {
        self.write_unaudited(async move |tx| {
            tx.commit_with((revocation::keep_clock(now),)).await?;
            Ok((Unaudited::Clock, ()))
        })
        .await
    }

    /// Sets times of signing keys and peppers that lie in the future to `now`: a wrong clock has stored them.
    ///
    /// # Errors
    /// [`Error::Unavailable`] as for [`Lease::transact`].
    pub async fn correct_times_of_keys(&mut self, now: Now, limit: Now) -> Result<(), Error> {
        self.write_unaudited(async move |tx| {
            tx.commit_with((signing_key::correct_times(now, limit), pepper::correct_times(now))).await?;
            Ok((Unaudited::Clock, ()))
        })
        .await
    }

    /// Inserts keys of audit details at `now` in one transaction and returns how many are new; keys of erased
    /// users are left out.
    ///
    /// # Errors
    /// [`Error::Unavailable`] as for [`Lease::transact`].
    pub async fn keep_audit_keys(&mut self, keys: Vec<AuditKey>, now: Now) -> Result<usize, Error> {
        self.write_unaudited(async move |tx| {
            let (kept,) = tx.commit_with((audit_key::insert(&keys, now),)).await?;
            Ok((Unaudited::DetailKeys, kept.len()))
        })
        .await
    }

    /// Stores detail keys, by id, as sealed again by a master key, in one transaction; returns how many are
    /// still there.
    ///
    /// # Errors
    /// [`Error::Unavailable`] as for [`Lease::transact`].
    pub async fn reseal_audit_keys(
        &mut self,
        keys: Vec<(Vec<u8>, Vec<u8>)>,
        master_key: &str,
    ) -> Result<usize, Error> {
        let master_key = master_key.to_owned();
        self.write_unaudited(async move |tx| {
            let (kept,) = tx.commit_with((audit_key::reseal(&keys, &master_key),)).await?;
            Ok((Unaudited::DetailKeys, kept.len()))
        })
        .await
    }

    /// Notes that a line of the master key file is the first again.
    ///
    /// # Errors
    /// [`Error::Unavailable`] as for [`Lease::transact`].
    pub async fn return_to_master_key(&mut self, key_id: &str) -> Result<(), Error> {
        let key_id = key_id.to_owned();
        self.write_unaudited(async move |tx| {
            tx.commit_with((master_key::return_to(&key_id),)).await?;
            Ok((Unaudited::CheckpointKeys, ()))
        })
        .await
    }

    /// Stores by which statement another line of the master key file vouches for the checkpoint key of this
    /// one, unless there is one.
    ///
    /// # Errors
    /// [`Error::Unavailable`] as for [`Lease::transact`].
    pub async fn vouch_for_master_key(&mut self, key_id: &str, succession: Vec<u8>) -> Result<(), Error> {
        let key_id = key_id.to_owned();
        self.write_unaudited(async move |tx| {
            tx.commit_with((master_key::vouch(&key_id, &succession),)).await?;
            Ok((Unaudited::CheckpointKeys, ()))
        })
        .await
    }

    /// Runs a whole write as one transaction that leaves no event, for a reason from the closed list
    /// [`Unaudited`].
    pub(crate) async fn write_unaudited<T, F>(&mut self, closure: F) -> Result<T, Error>
    where
        F: AsyncFn(&mut Tx) -> Result<(Unaudited, T), Error> + Send + Sync + 'static,
        T: Send + 'static,
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
                // The writer waits before COMMIT, once for all members of the group.
                database.transact(*lane, announced, closure).await
            }
        }
    }

    /// Gives the connection back and returns the proof, which slow work requires.
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

/// Read statements on the lease's connection.
pub struct Read<'lease>(&'lease mut LeasedConnection);

impl Read<'_> {
    /// Returns all rows of a call.
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

    /// Returns the first row of a call, if any.
    pub async fn one<T>(&mut self, call: Call<T>) -> Result<Option<T>, Error> {
        Ok(self.all(call).await?.into_iter().next())
    }

    /// Runs several independent calls in one round trip.
    pub async fn batch<B: Batch>(&mut self, batch: B) -> Result<B::Out, Error> {
        let (calls, decode) = batch.split();
        let rows = match self.0 {
            LeasedConnection::Postgres(held) => held.run(calls.0).await?,
            LeasedConnection::Sqlite(reader) => reader.run(&calls.0)?,
        };
        decode(crate::statement::Rows(rows))
    }
}
