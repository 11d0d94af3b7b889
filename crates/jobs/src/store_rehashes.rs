//! Stores password hashes that were upgraded to the current scheme.

use std::time::Duration;

use auth::OpContext;
use auth::password::keep_rehashed;

use crate::job::{Job, JobError, Runs, Step};

/// Stores the hashes that the hashing engine has upgraded.
#[derive(Debug, Default)]
pub struct StoreRehashes;

impl Job for StoreRehashes {
    fn name(&self) -> &'static str {
        "store_rehashes"
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
