//! The revocation cache: the sessions that have ended, in memory on every node.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use model::{Clock, Now, SessionId};
use store::queries::revocation::Revocation;
use store::queries::session::Ended;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A cache younger than this is trusted without asking the database.
pub const FRESH: Duration = Duration::from_secs(1);

/// Known sessions that have ended and may still have valid access tokens.
#[derive(Debug, Default)]
pub struct RevocationCache {
    /// Until when each is kept, by monotonic time: a wall clock that jumps forgets none.
    ended: RwLock<HashMap<SessionId, Duration>>,
    place: Mutex<Place>,
    /// This node has ended sessions.
    added: Notify,
    /// Another node says that it has.
    news: Notify,
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
    pub(crate) fn add(&self, sessions: &[Ended], clock: &Clock, now: Now) {
        if sessions.is_empty() {
            return;
        }
        let begun = clock.monotonic();
        let mut ended = self.ended.write().unwrap_or_else(PoisonError::into_inner);
        ended.extend(sessions.iter().map(|one| (one.session, kept_until(begun, one.expires_at, now))));
        drop(ended);
        self.added.notify_one();
    }

    /// Ends when this node has ended sessions since the last call.
    pub async fn added(&self) {
        self.added.notified().await;
    }

    /// Notes that a node has ended sessions.
    pub fn note_news(&self) {
        self.news.notify_one();
    }

    /// Ends when a node has ended sessions since the last call.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// The position after which the next poll reads.
    pub fn after(&self) -> (i64, SessionId) {
        let place = self.place();
        (place.number, place.session.unwrap_or(SessionId(uuid::Uuid::nil())))
    }

    /// Adds the rows that a poll has read.
    pub fn extend(&self, read: &[Revocation], clock: &Clock) {
        let Some(last) = read.last() else { return };
        let begun = clock.monotonic();
        let mut ended = self.ended.write().unwrap_or_else(PoisonError::into_inner);
        // From the time of the revocation, by the clock that wrote both times: this node's may be wrong.
        ended.extend(read.iter().map(|one| (one.session, kept_until(begun, one.expires_at, one.revoked_at))));
        drop(ended);
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        place.number = last.number;
        place.session = Some(last.session);
    }

    /// Records that the cache was complete when a poll began at `asked`, and drops entries whose tokens have
    /// expired.
    pub fn seen(&self, asked: Instant, clock: &Clock) {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).seen = Some(asked);
        let now = clock.monotonic();
        let mut ended = self.ended.write().unwrap_or_else(PoisonError::into_inner);
        ended.retain(|_, kept_until| *kept_until > now);
    }

    fn place(&self) -> Place {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Until when a session that was ended at `revoked_at` is kept, when it is added at `begun`.
fn kept_until(begun: Duration, expires_at: Now, revoked_at: Now) -> Duration {
    begun.saturating_add(expires_at.since(revoked_at))
}
