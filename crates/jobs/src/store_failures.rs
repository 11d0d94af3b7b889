//! Stores failed logins, so that all nodes count them.

use std::time::Duration;

use auth::OpContext;

use crate::job::{Job, JobError, Runs, Step};

/// Most users in one write.
const BATCH: usize = 500;

/// Stores the failed logins of accounts that have not been stored yet.
#[derive(Debug, Default)]
pub struct StoreFailures;

impl Job for StoreFailures {
    fn name(&self) -> &'static str {
        "store_failures"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn runs(&self) -> Runs {
        Runs::EveryNode
    }

    async fn step(&self, ctx: &mut OpContext<'_>) -> Result<Step, JobError> {
        let waiting = &ctx.services.limits.failures;
        let some = waiting.some(BATCH);
        if some.is_empty() {
            return Ok(Step::Idle);
        }
        ctx.lease.add_failures(some.clone()).await?;
        waiting.stored(&some);
        Ok(Step::Again)
    }
}
