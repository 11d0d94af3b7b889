//! The revocation cache: the sessions that have ended, in memory on every node.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use model::{Now, SessionId};
use store::queries::revocation::Revocation;
use tokio::time::Instant;

/// A cache younger than this is trusted without asking the database.
pub const FRESH: Duration = Duration::from_secs(1);

/// Known sessions that have ended and may still have valid access tokens.
#[derive(Debug, Default)]
pub struct RevocationCache {
    ended: RwLock<HashMap<SessionId, Now>>,
    place: Mutex<Place>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    number: i64,
    session: Option<SessionId>,
    seen: Option<Instant>,
}

impl RevocationCache {
    /// Whether the session is known to have ended.
    pub fn has(&self, session: SessionId) -> bool {
        self.ended.read().unwrap_or_else(PoisonError::into_inner).contains_key(&session)
    }

    /// Age of the cache; None before it is first filled.
    pub fn age(&self) -> Option<Duration> {
        self.place().seen.map(|at| at.elapsed())
    }

    /// Adds sessions that this node has ended: it refuses them at once.
    pub(crate) fn add(&self, sessions: &[SessionId], expires_at: Now) {
        if sessions.is_empty() {
            return;
        }
        let mut ended = self.ended.write().unwrap_or_else(PoisonError::into_inner);
        ended.extend(sessions.iter().map(|session| (*session, expires_at)));
    }

    /// The position after which the next poll reads.
    pub fn after(&self) -> (i64, SessionId) {
        let place = self.place();
        (place.number, place.session.unwrap_or(SessionId(uuid::Uuid::nil())))
    }

    /// Adds the rows that a poll has read.
    pub fn extend(&self, read: &[Revocation]) {
        let Some(last) = read.last() else { return };
        let mut ended = self.ended.write().unwrap_or_else(PoisonError::into_inner);
        ended.extend(read.iter().map(|revocation| (revocation.session, revocation.expires_at)));
        drop(ended);
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        place.number = last.number;
        place.session = Some(last.session);
    }

    /// Records that the cache was complete when a poll began at `asked`, and drops entries whose tokens have
    /// expired.
    pub fn seen(&self, asked: Instant, now: Now) {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).seen = Some(asked);
        let mut ended = self.ended.write().unwrap_or_else(PoisonError::into_inner);
        ended.retain(|_, expires_at| *expires_at > now);
    }

    fn place(&self) -> Place {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
