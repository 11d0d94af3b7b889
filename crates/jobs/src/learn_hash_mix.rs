//! Learns which kinds of password hashes are stored, and their cost on this node.

use std::time::Duration;

use auth::OpContext;
use auth::password::learn_kinds;

use crate::job::{Job, JobError, Runs, Step};

/// Learns the kinds of stored hashes, so that a login of an unknown user costs the same as a real one, and
/// measures this node's hashing capacity.
#[derive(Debug, Default)]
pub struct LearnHashMix;

impl Job for LearnHashMix {
    fn name(&self) -> &'static str {
        "learn_hash_mix"
    }

    fn period(&self) -> Duration {
        Duration::from_mins(1)
    }

    fn runs(&self) -> Runs {
        Runs::EveryNode
    }

    async fn step(&self, ctx: &mut OpContext<'_>) -> Result<Step, JobError> {
        learn_kinds(ctx).await?;
        // `None` while real logins occupy the workers; those logins are measured too.
        for (class, capacity) in ctx.services.hasher.measure(ctx.lease.park()).await.unwrap_or_default() {
            let per_second = capacity.round();
            tracing::info!(
                %class,
                per_second,
                "at {class} this node can verify {per_second} logins a second"
            );
        }
        Ok(Step::Idle)
    }
}
