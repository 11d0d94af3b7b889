//! The realm's epoch: the time of the last recovery of its database from an older state. Access tokens of an
//! older epoch are refused: what ended them may be lost.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use model::Now;

/// How long after a recovery a session accepts a refresh token that the database does not know.
const ADOPTION: Duration = Duration::from_hours(24);

/// The epoch that this node has read last: seconds since 1970; 0 for a database that was never recovered.
#[derive(Debug, Default)]
pub struct Epoch(AtomicI64);

impl Epoch {
    /// The epoch, for new access tokens.
    pub fn current(&self) -> i64 {
        self.0.load(Ordering::Acquire)
    }

    /// Whether tokens of `epoch` are accepted. A higher one comes from a node that has seen it sooner.
    pub fn accepts(&self, epoch: i64) -> bool {
        epoch >= self.current()
    }

    /// Stores the epoch that was read from the database.
    pub(crate) fn set(&self, epoch: i64) {
        let known = self.0.swap(epoch, Ordering::AcqRel);
        if known != epoch && known != 0 {
            tracing::warn!(known, epoch, "the database was recovered; access tokens of before are refused");
        }
    }

    /// The epoch, while sessions accept refresh tokens of the lost state: 24 hours from the recovery.
    pub(crate) fn adopting(&self, now: Now) -> Option<i64> {
        let epoch = self.current();
        let began = Now::from_seconds(epoch);
        // A wrong clock may have made an epoch that lies far ahead.
        let is_near = began > now.minus(ADOPTION) && began < now.plus(ADOPTION);
        (epoch > 0 && is_near).then_some(epoch)
    }
}
