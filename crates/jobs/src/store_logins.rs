//! Stores what logins have left, so that all nodes know it.

use std::time::Duration;

use auth::OpContext;

use crate::job::{Job, JobError, Runs, Step};

/// Most users, and most networks, in one write.
const BATCH: usize = 500;

/// Stores failed logins, and networks from which users have logged in.
#[derive(Debug, Default)]
pub struct StoreLogins;

impl Job for StoreLogins {
    fn name(&self) -> &'static str {
        "store_logins"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn runs(&self) -> Runs {
        Runs::EveryNode
    }

    async fn step(&self, ctx: &mut OpContext<'_>) -> Result<Step, JobError> {
        let unstored = &ctx.services.limits.unstored;
        let (failures, networks) = unstored.some(BATCH);
        if failures.is_empty() && networks.is_empty() {
            return Ok(Step::Idle);
        }
        ctx.lease.keep_logins(failures.clone(), networks.clone()).await?;
        unstored.stored(&failures, &networks);
        Ok(Step::Again)
    }
}
