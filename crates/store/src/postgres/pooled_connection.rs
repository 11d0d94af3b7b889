//! An acquired connection: its round trips, and how their failures are classified.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::join_all;
use runtime::audit::PendingAudit;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::error::SqlState;

use super::connection::{Conn, Fault};
use super::error::{is_fatal, is_of_defaults, is_stale, loses_statements, sort, wants_retry};
use super::pool::Pool;
use crate::Error;
use crate::fault_injection::{Failure, Site, ask};
use crate::pool_times::StatementTimes;
use crate::second_acquire_check::Entry;
use crate::statement::RawCall;
use crate::value::Row;

/// An acquired connection. Dropping it returns it to the pool, or closes it when its state is unknown.
pub(crate) struct PooledConnection {
    conn: Option<Conn>,
    pool: Arc<Pool>,
    /// It was in use before the current work: the server may have closed it since.
    old: bool,
    in_flight: bool,
    in_transaction: bool,
    again: Option<Again>,
    /// The audit record of the current transaction.
    pub(super) announced: Option<Box<PendingAudit>>,
    since: Instant,
    _permit: OwnedSemaphorePermit,
    _entry: Option<Entry>,
}

/// Why failed work may run again from its beginning; nothing of it was committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Again {
    /// PostgreSQL reported a conflict.
    Conflict,
    /// The pooled connection had died since its last use.
    Stale,
}

/// The content of one round trip.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trip {
    /// Read statements outside a transaction.
    Read,
    /// Read statements in a transaction that states what they need.
    StatedRead,
    /// Statements of a transaction that continues.
    Inner { begin: bool },
    /// The end of a transaction.
    Last { begin: bool },
    /// A single statement as its own transaction.
    Alone,
}

impl Trip {
    fn begins(self) -> bool {
        matches!(self, Self::StatedRead | Self::Inner { begin: true } | Self::Last { begin: true })
    }

    fn commits(self) -> bool {
        matches!(self, Self::StatedRead | Self::Last { .. })
    }

    /// Whether its statements rely on the defaults of the server, database and role.
    fn states_nothing(self) -> bool {
        matches!(self, Self::Read | Self::Alone)
    }

    /// Whether the transaction may be committed although the answer is lost.
    fn decides(self) -> bool {
        matches!(self, Self::Last { .. } | Self::Alone)
    }
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Vec<Row>, Fault>> + Send + 'a>>;

impl PooledConnection {
    pub(super) fn new(
        conn: Conn,
        pooled: bool,
        pool: Arc<Pool>,
        permit: OwnedSemaphorePermit,
        entry: Option<Entry>,
    ) -> Self {
        Self {
            conn: Some(conn),
            pool,
            old: pooled,
            in_flight: false,
            in_transaction: false,
            again: None,
            announced: None,
            since: Instant::now(),
            _permit: permit,
            _entry: entry,
        }
    }

    /// Ensures a usable connection: replaces one that was lost, or that has a cancelled statement in flight.
    pub(crate) async fn ready(&mut self) -> Result<(), Error> {
        self.again = None;
        if self.in_flight {
            self.discard();
        }
        if self.conn.as_ref().is_some_and(|conn| !conn.client.is_closed()) {
            return Ok(());
        }
        self.discard();
        let deadline = Instant::now() + self.pool.settings.acquire_timeout;
        self.conn = Some(self.pool.open(deadline).await?);
        self.old = false;
        Ok(())
    }

    /// Runs calls outside a transaction in one round trip; once more if the connection had died since its
    /// last use, or if a default of the server stopped them.
    pub(crate) async fn run(&mut self, calls: Vec<RawCall>) -> Result<Vec<Vec<Row>>, Error> {
        self.ready().await?;
        let outcome = self.trip(&calls, self.read()).await;
        if self.take_again().is_none() {
            return outcome;
        }
        self.ready().await?;
        self.trip(&calls, self.read()).await
    }

    fn read(&self) -> Trip {
        if self.pool.states_all() { Trip::StatedRead } else { Trip::Read }
    }

    /// Runs calls of a transaction in one round trip, with BEGIN before or COMMIT after them. A single call
    /// that is both first and last is its own transaction.
    pub(crate) async fn step(
        &mut self,
        calls: Vec<RawCall>,
        begin: bool,
        last: bool,
    ) -> Result<Vec<Vec<Row>>, Error> {
        let trip = match (begin, last) {
            (true, true) if calls.len() == 1 && !self.pool.states_all() => Trip::Alone,
            (_, true) => Trip::Last { begin },
            (_, false) => Trip::Inner { begin },
        };
        self.trip(&calls, trip).await
    }

    /// Sends COMMIT and waits for its answer.
    pub(crate) async fn commit(&mut self) -> Result<(), Error> {
        self.trip(&[], Trip::Last { begin: false }).await.map(|_| ())
    }

    /// Sends ROLLBACK; the server answers the next statement after it.
    pub(crate) fn rollback(&mut self) {
        if self.in_flight {
            self.discard();
        }
        if !std::mem::take(&mut self.in_transaction) {
            return;
        }
        if let Some(conn) = &self.conn {
            // The first poll sends; the answer is not awaited.
            let _ = conn.client.batch_execute("ROLLBACK").now_or_never();
        }
    }

    /// Whether, and why, the failed work may run again; clears the answer.
    pub(crate) fn take_again(&mut self) -> Option<Again> {
        self.again.take()
    }

    /// Waits before retry `run`.
    pub(crate) async fn pause(&self, run: u32) {
        tokio::time::sleep(self.pool.pause(run)).await;
    }

    async fn trip(&mut self, calls: &[RawCall], trip: Trip) -> Result<Vec<Vec<Row>>, Error> {
        let deadline = Instant::now() + self.pool.settings.statement_timeout;
        self.complete(calls, deadline).await?;
        let Some(conn) = &self.conn else {
            return Err(Error::Unavailable("the connection was lost".into()));
        };
        conn.check(calls)?;

        let fault = ask(self.pool.settings.faults.as_ref(), Site::Trip);
        if fault == Some(Failure::Before) {
            return Err(self.late());
        }

        self.in_flight = true;
        self.in_transaction |= trip.begins();
        if let Some(announced) = self.announced.as_mut().filter(|_| trip.decides()) {
            announced.sent();
        }
        self.pool.count_trip();

        let mut answers: Vec<Answer<'_>> = Vec::with_capacity(calls.len() + 2);
        if trip.begins() {
            let begin = if trip == Trip::StatedRead { &self.pool.begin_read } else { &self.pool.begin };
            answers.push(Box::pin(conn.simple(begin)));
        }
        let (sent, times) = (Instant::now(), &self.pool.settings.statements);
        answers.extend(calls.iter().map(|call| Box::pin(timed(conn, call, sent, times)) as Answer<'_>));
        if trip.commits() {
            answers.push(Box::pin(conn.simple("COMMIT")));
        }

        let answered = timeout_at(deadline, join_all(answers)).await;
        let Some(outcomes) = answered.ok().filter(|_| fault.is_none()) else {
            let late = self.late();
            return Err(if trip.decides() { Error::OutcomeUnknown } else { late });
        };

        self.in_flight = false;
        let settled = self.settle(calls, trip, outcomes);
        if settled.is_ok() && trip.decides() && self.pool.settings.serves_requests {
            self.pool.settings.last_write.answered();
        }
        // A corrupt row may be committed; a refused statement is not.
        let in_doubt = matches!(settled, Err(Error::OutcomeUnknown | Error::Corrupt(_)));
        if let Some(announced) = self.announced.as_mut().filter(|_| !in_doubt) {
            announced.rolled_back();
        }
        settled
    }

    /// Marks the outcome as unknown: the final answer cannot be decoded, and the transaction may be
    /// committed.
    pub(crate) fn doubt(&mut self) {
        if let Some(announced) = &mut self.announced {
            announced.sent();
        }
    }

    /// Prepares the statements that were left out when the connection was opened, before anything else is
    /// sent.
    async fn complete(&mut self, calls: &[RawCall], deadline: Instant) -> Result<(), Error> {
        let Some(conn) = &mut self.conn else { return Ok(()) };
        self.in_flight = true;
        let Ok(completed) = timeout_at(deadline, conn.complete(calls)).await else {
            return Err(self.late());
        };
        self.in_flight = false;
        match completed {
            Ok(false) => Ok(()),
            Ok(true) => {
                self.pool.count_trip();
                Ok(())
            }
            Err(error) => Err(self.failed(Trip::Inner { begin: false }, false, &error)),
        }
    }

    /// Discards the connection. `in_flight` stays set, so its running statement is cancelled.
    fn late(&mut self) -> Error {
        self.discard();
        self.unanswered();
        Error::Unavailable("a statement took longer than its deadline".into())
    }

    fn settle(
        &mut self,
        calls: &[RawCall],
        trip: Trip,
        outcomes: Vec<Result<Vec<Row>, Fault>>,
    ) -> Result<Vec<Vec<Row>>, Error> {
        let begins = usize::from(trip.begins());
        let answers = outcomes.len();
        let mut rows = Vec::with_capacity(answers);

        for (index, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(some) => rows.push(some),
                Err(Fault::Rows(error)) => return Err(error),
                Err(Fault::Driver(error)) => {
                    let decisive = trip.decides() && index + 1 == answers;
                    let call = index.checked_sub(begins).and_then(|at| calls.get(at));
                    let failed = self.failed(trip, decisive, &error);
                    return Err(match call {
                        Some(call) => failed.of(call.stmt.name),
                        None => failed,
                    });
                }
            }
        }

        self.old = true;
        if trip.commits() {
            self.in_transaction = false;
        }
        Ok(rows.into_iter().skip(begins).take(calls.len()).collect())
    }

    /// Classifies a failed answer and decides what happens to the connection. `decisive` marks the answer
    /// that decides whether the transaction is committed: the one to COMMIT, or to its only statement.
    fn failed(&mut self, trip: Trip, decisive: bool, error: &tokio_postgres::Error) -> Error {
        let refused = error.as_db_error();
        // A refusal before COMMIT means not committed; a missing answer means unknown.
        let unknown = match refused {
            None => trip.decides(),
            Some(_) => decisive && is_fatal(error),
        };
        let lost = loses_statements(error) && self.pool.settings.prepared.are_lost(error);
        if is_stale(error) || lost {
            if (self.old || lost) && !unknown {
                self.again = Some(Again::Stale);
            }
            self.discard();
        } else if trip.states_nothing() && is_of_defaults(error) {
            self.pool.state_all(error);
            self.again = Some(Again::Conflict);
        } else if wants_retry(error) {
            self.again = Some(Again::Conflict);
        }

        if let Some(refused) = refused.filter(|refused| *refused.code() == SqlState::DISK_FULL) {
            self.pool.settings.last_write.failed(refused.message());
        }
        if unknown {
            self.unanswered();
            return Error::OutcomeUnknown;
        }
        sort(error)
    }

    fn unanswered(&self) {
        if self.pool.settings.serves_requests {
            self.pool.settings.last_write.unanswered();
        }
    }

    fn discard(&mut self) {
        let in_flight = std::mem::take(&mut self.in_flight);
        self.in_transaction = false;
        if let Some(conn) = self.conn.take().filter(|conn| in_flight && !conn.client.is_closed()) {
            conn.cancel(&self.pool.settings.spawner);
        }
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        self.rollback();
        if let Some(conn) = self.conn.take() {
            self.pool.give_back(conn);
        }
        self.pool.times.held.observe(self.since.elapsed());
    }
}

/// Runs one call and records how long its answer took.
async fn timed(
    conn: &Conn,
    call: &RawCall,
    sent: Instant,
    times: &StatementTimes,
) -> Result<Vec<Row>, Fault> {
    let outcome = conn.call(call).await;
    if let Some(took) = times.get(call.stmt.name) {
        took.observe(sent.elapsed());
    }
    outcome
}
