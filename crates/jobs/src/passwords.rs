//! Stored passwords: which kinds of hashes there are, what they cost here, and better ones for old ones.

use std::time::Duration;

use auth::OpContext;
use auth::password::{keep_rehashed, learn_kinds};

use crate::job::{Job, JobError, Runs, Step};

/// Learns which kinds of hashes users have, so that unknown users look alike, and measures what this node can do.
#[derive(Debug, Default)]
pub struct LearnHashMix;

impl Job for LearnHashMix {
    fn name(&self) -> &'static str {
        "hash kinds"
    }

    fn period(&self) -> Duration {
        Duration::from_mins(1)
    }

    fn runs(&self) -> Runs {
        Runs::EveryNode
    }

    async fn step(&self, ctx: &mut OpContext<'_>) -> Result<Step, JobError> {
        learn_kinds(ctx).await?;
        // Too busy with real logins to measure: they measure as well.
        for (class, capacity) in ctx.services.hasher.measure(ctx.lease.park()).await.unwrap_or_default() {
            let per_second = capacity.round();
            tracing::info!(%class, per_second, "at {class} this node can verify {per_second} logins a second");
        }
        Ok(Step::Idle)
    }
}

/// Stores the hashes that the engine has made anew.
#[derive(Debug, Default)]
pub struct StoreRehashes;

impl Job for StoreRehashes {
    fn name(&self) -> &'static str {
        "rehashes"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn runs(&self) -> Runs {
        Runs::EveryNode
    }

    async fn step(&self, ctx: &mut OpContext<'_>) -> Result<Step, JobError> {
        match ctx.services.hasher.rehashed() {
            None => Ok(Step::Idle),
            Some(rehashed) => {
                keep_rehashed(ctx, rehashed).await?;
                Ok(Step::Again)
            }
        }
    }
}
