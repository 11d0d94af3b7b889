//! Seals stored password hashes again with the newest pepper, in small batches.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use auth::OpContext;
use auth::password::pepper::{self, Place};

use crate::job::{Job, JobError, Runs, Step};

/// Lease of the job: much longer than one batch, short enough that another node soon takes over a dead one's
/// work.
const HELD: Duration = Duration::from_mins(1);

/// Seals the hashes that lack the newest pepper again, and removes a pepper that no hash uses.
#[derive(Debug, Default)]
pub struct RepepperHashes(Mutex<Place>);

impl Job for RepepperHashes {
    fn name(&self) -> &'static str {
        "repepper_hashes"
    }

    fn period(&self) -> Duration {
        Duration::from_mins(1)
    }

    fn runs(&self) -> Runs {
        Runs::OneNode(HELD)
    }

    async fn step(&self, ctx: &mut OpContext<'_>) -> Result<Step, JobError> {
        let place = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = pepper::step(ctx, place).await?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = next.unwrap_or_default();
        Ok(if next.is_some() { Step::Again } else { Step::Idle })
    }
}
