//! Statements inside a transaction.

use crate::Error;
use crate::postgres::pooled_connection::PooledConnection;
use crate::sqlite::connection::Connection;
use crate::statement::{Batch, Call, RawCall, Rows};
use crate::value::Row;

/// An open transaction, passed to the closure of [`crate::Lease::transact`].
///
/// The first failing statement poisons it: no later statement runs and nothing is committed, on both engines.
/// Conflicts are detected with `ON CONFLICT … RETURNING`, never by catching an error.
pub struct Tx {
    engine: Engine,
    state: State,
}

pub(crate) enum Engine {
    Postgres(PooledConnection),
    Sqlite(Connection),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// Nothing was sent.
    Fresh,
    /// BEGIN was sent.
    Open,
    /// The last statements were sent, with COMMIT on PostgreSQL.
    Last,
    /// A statement failed.
    Poisoned,
}

impl Tx {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine, state: State::Fresh }
    }

    pub(crate) fn into_parts(self) -> (Engine, State) {
        (self.engine, self.state)
    }

    /// Returns all rows of a call. On PostgreSQL, BEGIN travels with the first call.
    pub async fn all<T>(&mut self, call: Call<T>) -> Result<Vec<T>, Error> {
        let mut rows = self.run(vec![call.raw], false).await?;
        self.guard(Call::rows(call.decode, rows.pop().unwrap_or_default()))
    }

    /// Returns the first row of a call, if any.
    pub async fn one<T>(&mut self, call: Call<T>) -> Result<Option<T>, Error> {
        Ok(self.all(call).await?.into_iter().next())
    }

    /// Runs several calls in order, in one round trip.
    pub async fn batch<B: Batch>(&mut self, batch: B) -> Result<B::Out, Error> {
        let (calls, decode) = batch.split();
        let rows = self.run(calls.0, false).await?;
        self.guard(decode(Rows(rows)))
    }

    /// Runs the last calls of the transaction: on PostgreSQL, COMMIT travels with them.
    ///
    /// The caller sees their rows after the commit, so none of them may change anything if the closure then
    /// fails: the first call carries the precondition, the others depend on its effect.
    pub async fn commit_with<B: Batch>(&mut self, batch: B) -> Result<B::Out, Error> {
        let (calls, decode) = batch.split();
        let rows = self.run(calls.0, true).await?;
        let decoded = decode(Rows(rows));
        if let (Err(_), Engine::Postgres(held)) = (&decoded, &mut self.engine) {
            held.doubt();
        }
        decoded
    }

    async fn run(&mut self, calls: Vec<RawCall>, last: bool) -> Result<Vec<Vec<Row>>, Error> {
        match self.state {
            State::Poisoned => return Err(Error::Poisoned),
            State::Last => return Err(Error::Finished),
            State::Fresh | State::Open => {}
        }
        let begin = self.state == State::Fresh;
        // A cancelled or failed statement leaves the transaction poisoned; only success resets that.
        self.state = State::Poisoned;
        let rows = match &mut self.engine {
            Engine::Postgres(held) => held.step(calls, begin, last).await?,
            Engine::Sqlite(connection) => connection.run(&calls)?,
        };
        self.state = if last { State::Last } else { State::Open };
        Ok(rows)
    }

    fn guard<T>(&mut self, outcome: Result<T, Error>) -> Result<T, Error> {
        if outcome.is_err() {
            self.state = State::Poisoned;
        }
        outcome
    }
}
