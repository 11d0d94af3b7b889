//! Removes rows that are no longer needed, in small batches.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use auth::OpContext;
use auth::login::KNOWN_FOR;
use model::{event, intent};
use store::queries::{known_network, revocation, session};
use tokio::time::Instant;

use crate::job::{Job, JobError, Runs, Step};

/// Lease of the job: much longer than one batch, short enough that another node soon takes over a dead one's
/// work.
const HELD: Duration = Duration::from_mins(1);
/// Most rows of each kind in one batch.
const MOST: i64 = 500;
/// Fewest rows of each kind in one batch.
const FEWEST: i64 = 10;
/// A batch that takes longer halves the next one, so that no batch holds its locks for much longer.
const SLOW: Duration = Duration::from_millis(25);

/// Removes expired sessions, revoked ones whose access tokens have expired, their revocations, and networks
/// from which the user has not logged in for long.
#[derive(Debug)]
pub struct Cleanup {
    interval: Duration,
    rows: AtomicI64,
}

impl Cleanup {
    /// Runs at the start and every `interval`.
    pub fn every(interval: Duration) -> Self {
        Self { interval, rows: AtomicI64::new(MOST) }
    }

    /// The number of rows of each kind in the next batch.
    pub fn batch(&self) -> i64 {
        self.rows.load(Ordering::Relaxed)
    }
}

/// The size of the next batch after one of `rows` that took this long.
fn next_batch(rows: i64, took: Duration) -> i64 {
    let next = if took > SLOW {
        rows / 2
    } else if took < SLOW / 4 {
        rows * 2
    } else {
        rows
    };
    next.clamp(FEWEST, MOST)
}

#[derive(Debug, thiserror::Error)]
enum Batch {
    #[error("no row was expired")]
    Empty,
    #[error(transparent)]
    Failed(#[from] store::Error),
}

impl Job for Cleanup {
    fn name(&self) -> &'static str {
        "cleanup"
    }

    fn period(&self) -> Duration {
        self.interval
    }

    fn runs(&self) -> Runs {
        Runs::OneNode(HELD)
    }

    async fn step(&self, ctx: &mut OpContext<'_>) -> Result<Step, JobError> {
        if !ctx.believes_time() {
            return Ok(Step::Idle);
        }
        let (now, rows) = (ctx.now, self.batch());
        let begun = Instant::now();
        let removed = ctx
            .lease
            .transact(intent::RowsCleaned {}, async move |tx| {
                let revocations = tx.all(revocation::delete_expired(now, rows)).await?;
                let calls = (
                    session::delete_expired(now, rows),
                    session::delete_revoked(now, rows),
                    revocation::note_gone(revocations.iter().copied().max().unwrap_or(0)),
                    known_network::delete_old(now.minus(KNOWN_FOR), rows),
                );
                let (expired, revoked, _, networks) = tx.commit_with(calls).await?;
                let counts = [expired.len(), revoked.len(), revocations.len(), networks.len()];
                let [expired, revoked, revocations, networks] = counts.map(|count| count as u64);
                if expired + revoked + revocations + networks == 0 {
                    return Err(Batch::Empty);
                }
                let event = event::RowsCleaned { sessions: expired + revoked, revocations, networks };
                let most = expired.max(revoked).max(revocations).max(networks);
                Ok((event, i64::try_from(most).is_ok_and(|most| most >= rows)))
            })
            .await;

        self.rows.store(next_batch(rows, begun.elapsed()), Ordering::Relaxed);
        match removed {
            Ok(true) => Ok(Step::Again),
            Ok(false) | Err(Batch::Empty) => Ok(Step::Idle),
            Err(Batch::Failed(error)) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_batch_halves_the_next_and_a_quick_one_doubles_it() {
        let (slow, quick, fair) = (SLOW * 2, SLOW / 10, SLOW / 2);
        assert_eq!(next_batch(500, slow), 250);
        assert_eq!(next_batch(250, fair), 250);
        assert_eq!(next_batch(250, quick), 500);
        assert_eq!(next_batch(500, quick), 500);
        assert_eq!(next_batch(10, slow), 10, "never below the minimum");
    }
}
