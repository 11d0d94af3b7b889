//! The revocation cache: every node polls the ended sessions, four times a second and when another node says
//! that there are some.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use auth::password::pepper;
use auth::{OpContext, Services, clock_watch, signing_keys};
use model::SessionId;
use protocol::wire::algorithm::Algorithm;
use store::queries::revocation;
use tokio::time::Instant;
use uuid::Uuid;

use crate::job::{Job, JobError, Runs, Step};

/// A revocation must be visible within a second; this allows four polls.
const PERIOD: Duration = Duration::from_millis(250);
/// Revocations per read.
const PAGE: i64 = 1000;

/// Copies revocations, signing keys and peppers from the database into memory.
#[derive(Debug, Default)]
pub struct PollRevocations(Mutex<Position>);

/// The last position that this node has read.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    head: i64,
    number: i64,
    session: Option<SessionId>,
    keys: Option<i64>,
    epoch: Option<i64>,
}

impl PollRevocations {
    fn position(&self) -> Position {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, change: impl FnOnce(&mut Position)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    async fn follow(&self, ctx: &mut OpContext<'_>) -> Result<i64, store::Error> {
        let asked = Instant::now();
        let heads = clock_watch::heads(ctx).await?;
        let (head, keys) = (heads.revocations, heads.keys);
        let mut read = ctx.lease.read().await?;

        let mut position = self.position();
        let is_other = position.epoch.is_some_and(|epoch| epoch != heads.epoch) || {
            // An older database may have reached the same number by other sessions since.
            let is_kept = position.session.is_some() && position.number > heads.revocations_gone;
            is_kept && read.one(revocation::last_at(position.number)).await? != position.session
        };
        let restarts = head < position.head || is_other;
        if restarts {
            // The database is older than before, for example after a failover: read all revocations again.
            tracing::warn!(head, known = position.head, "the database was older; revocations are read again");
            position.number = 0;
            position.session = None;
        }

        let mut is_last = head == position.head && !is_other;
        while !is_last {
            let session = position.session.unwrap_or(SessionId(Uuid::nil()));
            let page = read.all(revocation::after(position.number, session, PAGE)).await?;
            ctx.services.revocations.extend(&page, &ctx.services.clock);
            if let Some(last) = page.last() {
                position.number = last.number;
                position.session = Some(last.session);
            }
            is_last = i64::try_from(page.len()).is_ok_and(|rows| rows < PAGE);
        }

        position.head = head;
        position.epoch = Some(heads.epoch);
        self.put(|known| *known = position);
        ctx.services.revocations.seen(asked, &ctx.services.clock);
        ctx.services.feed.saw(head, restarts);
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

    async fn called(&self, services: &Services) {
        services.revocations.news().await;
    }

    async fn step(&self, ctx: &mut OpContext<'_>) -> Result<Step, JobError> {
        let followed = self.follow(ctx).await;
        ctx.services.outage.note(&followed);
        let keys = followed?;
        if self.position().keys != Some(keys) {
            pepper::load(ctx).await?;
            // The key of HS256 is in a file; the database has no key of it.
            if ctx.services.settings.algorithm != Algorithm::Hs256 {
                signing_keys::load(ctx).await?;
            }
            self.put(|position| position.keys = Some(keys));
        }
        Ok(Step::Idle)
    }
}
