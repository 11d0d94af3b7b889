//! The view of revocations: every node reads which sessions have ended, four times a second.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use auth::password::pepper;
use auth::{OpContext, signing_keys};
use model::SessionId;
use protocol::wire::algorithm::Algorithm;
use store::queries::revocation;
use tokio::time::Instant;
use uuid::Uuid;

use crate::job::{Job, JobError, Runs, Step};

/// Four polls make the second within which a revocation is seen.
const PERIOD: Duration = Duration::from_millis(250);
/// Revocations read at once.
const PAGE: i64 = 1000;

/// Follows the revocations, the signing keys and the peppers of the database into memory.
#[derive(Debug, Default)]
pub struct PollRevocations(Mutex<Place>);

/// How far this node has read.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    head: i64,
    number: i64,
    session: Option<SessionId>,
    keys: Option<i64>,
}

impl PollRevocations {
    fn place(&self) -> Place {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, change: impl FnOnce(&mut Place)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    async fn follow(&self, ctx: &mut OpContext<'_>) -> Result<i64, store::Error> {
        let asked = Instant::now();
        let mut read = ctx.lease.read().await?;
        let heads = read.all(revocation::heads()).await?;
        let of = |name| heads.iter().find(|(known, _)| known == name).map_or(0, |(_, head)| *head);
        let (head, keys) = (of("revocations"), of("keys"));
        let mut place = self.place();
        if head < place.head {
            // The database is an older one than it was, after a failover say: what it has since been told is read anew.
            tracing::warn!(head, known = place.head, "revocations went backwards and are read again");
            (place.number, place.session) = (0, None);
        }
        let mut is_last = head == place.head;
        while !is_last {
            let session = place.session.unwrap_or(SessionId(Uuid::nil()));
            let page = read.all(revocation::after(place.number, session, PAGE)).await?;
            ctx.services.revocations.extend(&page);
            if let Some(last) = page.last() {
                (place.number, place.session) = (last.number, Some(last.session));
            }
            is_last = i64::try_from(page.len()).is_ok_and(|rows| rows < PAGE);
        }
        place.head = head;
        self.put(|known| *known = place);
        ctx.services.revocations.seen(asked, ctx.now);
        Ok(keys)
    }
}

impl Job for PollRevocations {
    fn name(&self) -> &'static str {
        "poll_revocations"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    fn runs(&self) -> Runs {
        Runs::EveryNode
    }

    async fn step(&self, ctx: &mut OpContext<'_>) -> Result<Step, JobError> {
        let followed = self.follow(ctx).await;
        ctx.services.outage.note(&followed);
        let keys = followed?;
        if self.place().keys != Some(keys) {
            pepper::load(ctx).await?;
            // The one key of HS256 is in a file; nothing in the database says anything of it.
            if ctx.services.settings.algorithm != Algorithm::Hs256 {
                signing_keys::load(ctx).await?;
            }
            self.put(|place| place.keys = Some(keys));
        }
        Ok(Step::Idle)
    }
}
