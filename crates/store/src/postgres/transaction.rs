//! A whole transaction on one connection, retried when PostgreSQL asks for it.

use runtime::audit::PendingAudit;

use super::pooled_connection::{Again, PooledConnection};
use crate::Error;
use crate::trace::Trace;
use crate::tx::{Engine, State, Tx};

/// How often a closure may run in total: PostgreSQL may answer all but the last with 40001 or 40P01.
const RUNS: u32 = 4;

/// Runs `closure` until it commits, fails for good, or was refused [`RUNS`] times. A connection that had died
/// since its last use is replaced once, unless COMMIT was sent. The connection carries the pending audit
/// record: cancellation drops both, and the record then reports whether COMMIT was sent.
pub(crate) async fn transact<R, T, E, F>(
    mut held: PooledConnection,
    announced: Option<PendingAudit>,
    closure: F,
) -> (Option<PooledConnection>, Result<T, E>)
where
    F: AsyncFn(&mut Tx) -> Result<(R, T), E> + Send + Sync,
    R: Trace,
    E: From<Error>,
{
    let mut run = 1;
    let mut renewed = false;
    held.announced = announced.map(Box::new);

    loop {
        if let Err(error) = held.ready().await {
            return (None, Err(error.into()));
        }

        let mut tx = Tx::new(Engine::Postgres(held));
        let mut outcome = closure(&mut tx).await;
        let (engine, state) = tx.into_parts();
        let Engine::Postgres(back) = engine else {
            return (None, Err(Error::Finished.into()));
        };
        held = back;

        match (&outcome, state) {
            (Ok(_), State::Open) => {
                if let Err(error) = held.commit().await {
                    outcome = Err(error.into());
                }
            }
            (Ok(_), State::Poisoned) => outcome = Err(Error::Poisoned.into()),
            (Ok(_), State::Fresh | State::Last) | (Err(_), _) => {}
        }

        held.rollback();

        match held.take_again() {
            Some(Again::Conflict) if outcome.is_err() && run < RUNS => {
                held.pause(run).await;
                run += 1;
            }
            Some(Again::Stale) if outcome.is_err() && !renewed => renewed = true,
            _ => {
                let announced = held.announced.take();
                let value = outcome.map(|(trace, value)| {
                    if let (Some(mut announced), Some(event)) = (announced, trace.into_event()) {
                        announced.committed(event);
                    }
                    value
                });
                return (Some(held), value);
            }
        }
    }
}
