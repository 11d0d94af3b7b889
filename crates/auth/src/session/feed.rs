//! The feed of revocations, for applications that verify access tokens offline.
//!
//! An application reads the whole list once and then only what came after the newest number that it has. It
//! may wait for the next one: no connection is held meanwhile, and the node's own poll of revocations ends
//! the wait.

use std::future::Future;
use std::time::Duration;

use model::SessionId;
use store::queries::revocation::{self, Heads, Revocation};
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;
use uuid::Uuid;

use crate::OpContext;

/// Largest number of revocations of one answer.
pub const PAGE: usize = 1000;
/// How long an answer waits at most for a revocation.
pub const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How many calls wait at the same time on one node.
const WAITERS: usize = 256;

/// Why the feed does not answer.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// Revocations after the given number are no longer there, or the database never had that number: the
    /// application reads the whole list again.
    #[error("the number is not one of the present list")]
    Gone,
    /// Too many calls wait already.
    #[error("too many calls wait for revocations")]
    TooManyWait,
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// What the node's poll has seen, for the calls that wait.
#[derive(Debug)]
pub struct FeedSignal {
    seen: watch::Sender<Seen>,
    waiters: Semaphore,
}

/// The newest number, and how often the database turned out to be another or older than before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    head: i64,
    restarts: u64,
}

impl Default for FeedSignal {
    fn default() -> Self {
        Self { seen: watch::Sender::default(), waiters: Semaphore::new(WAITERS) }
    }
}

impl FeedSignal {
    /// How many calls wait now.
    pub fn waiting(&self) -> usize {
        WAITERS.saturating_sub(self.waiters.available_permits())
    }

    /// Ends the waits for numbers up to `head`; all of them if the list begins anew.
    pub fn saw(&self, head: i64, restarts: bool) {
        self.seen.send_if_modified(|seen| {
            let now = Seen { head, restarts: seen.restarts + u64::from(restarts) };
            std::mem::replace(seen, now) != now
        });
    }
}

/// A part of the list, in commit order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedPage {
    /// The revocations after the given number.
    pub revocations: Vec<Revocation>,
    /// The number after which the next call reads.
    pub next: i64,
    /// The newest number. Once `next` has reached it, the application has the whole list.
    pub newest: i64,
    /// The realm's epoch. Access tokens of an older one are refused.
    pub epoch: i64,
}

/// Reads the revocations after a number; from the beginning without one, or after 0. With a number, waits
/// up to `wait` (at most [`LONGEST_WAIT`]) for the next one if there is none, until the server is `stopping`.
///
/// # Errors
/// [`FeedError`].
pub async fn read(
    ctx: &mut OpContext<'_>,
    after: Option<i64>,
    wait: Duration,
    stopping: impl Future<Output = ()> + Send,
) -> Result<FeedPage, FeedError> {
    let feed = &ctx.services.feed;
    let mut seen = feed.seen.subscribe();
    let restarts = seen.borrow_and_update().restarts;
    let page = page(ctx, after.unwrap_or(0)).await?;
    let Some(after) = after.filter(|after| *after == page.next && !wait.is_zero()) else { return Ok(page) };

    let permit = feed.waiters.try_acquire().map_err(|_| FeedError::TooManyWait)?;
    let parked = ctx.lease.park();
    tokio::select! {
        _ = seen.wait_for(|seen| seen.head > after || seen.restarts != restarts) => {}
        () = sleep(wait.min(LONGEST_WAIT)) => {}
        () = stopping => {}
        () = parked.gone().cancelled() => {}
    }
    drop(permit);
    // Read again also when nothing came, so that an answer always says what the database has.
    self::page(ctx, after).await
}

async fn page(ctx: &mut OpContext<'_>, after: i64) -> Result<FeedPage, FeedError> {
    let (first, last) = (SessionId(Uuid::nil()), SessionId(Uuid::max()));
    let most = i64::try_from(PAGE + 1).unwrap_or(i64::MAX);
    // The counters come first: every revocation up to the newest number is visible to what follows.
    let calls = (revocation::heads(), revocation::after(0, first, 1), revocation::after(after, last, most));
    let (heads, oldest, mut revocations) = ctx.lease.read().await?.batch(calls).await?;
    let heads = Heads::of(&heads);
    if is_gone(after, &heads, oldest.first().map(|oldest| oldest.number)) {
        return Err(FeedError::Gone);
    }

    let newest = revocations.last().map_or(heads.revocations, |last| last.number.max(heads.revocations));
    let next = if revocations.len() > PAGE { cut(&mut revocations)? } else { newest };
    Ok(FeedPage { revocations, next, newest, epoch: heads.epoch })
}

/// Whether a reader that has everything up to `after` may miss something: its number is of a list that was
/// lost, or of before a recovery, or a cleanup has removed later ones. A number of the present list never is,
/// so that reading page by page comes to an end.
fn is_gone(after: i64, heads: &Heads, oldest: Option<i64>) -> bool {
    let before_oldest = oldest.map_or(heads.revocations, |oldest| oldest - 1);
    after != 0 && (after > heads.revocations || after < heads.revocations_gone.min(before_oldest))
}

/// Ends a full page before the last number, of which it may lack sessions; returns the number before it.
fn cut(revocations: &mut Vec<Revocation>) -> Result<i64, store::Error> {
    let last = revocations.last().map_or(0, |last| last.number);
    revocations.retain(|one| one.number != last);
    let kept = revocations.last().map(|kept| kept.number);
    kept.ok_or_else(|| store::Error::Corrupt(format!("the revocation {last} has more than {PAGE} sessions")))
}

#[cfg(test)]
mod tests {
    use model::Now;

    use super::*;

    fn heads(revocations: i64, revocations_gone: i64) -> Heads {
        Heads { revocations, revocations_gone, ..Heads::default() }
    }

    #[test]
    fn a_number_is_gone_when_later_ones_were_removed_or_it_was_never_there() {
        for (after, newest, removed, oldest, gone) in [
            (0, 9, 9, None, false),
            (5, 9, 0, Some(1), false),
            (9, 9, 9, None, false),
            (8, 9, 9, None, true),
            (10, 9, 0, Some(1), true),
            (3, 9, 4, Some(5), true),
            (4, 9, 4, Some(5), false),
        ] {
            assert_eq!(is_gone(after, &heads(newest, removed), oldest), gone, "{after} of {newest}");
        }
        assert!(!is_gone(5, &heads(9, 0), Some(8)), "numbers without a session are no loss");
        assert!(!is_gone(2, &heads(9, 7), Some(1)), "a page that is still there is followed by the next");
    }

    #[test]
    fn a_full_page_ends_with_a_whole_number() {
        let now = Now::from_seconds(0);
        let of = |number| {
            let session = SessionId(Uuid::from_u128(7));
            Revocation { number, session, expires_at: now, revoked_at: now }
        };
        let mut page = vec![of(1), of(2), of(2), of(3), of(3)];
        assert_eq!(cut(&mut page).unwrap(), 2);
        assert_eq!(page.iter().map(|one| one.number).collect::<Vec<_>>(), [1, 2, 2]);
        assert!(cut(&mut vec![of(1), of(1)]).is_err());
    }
}
