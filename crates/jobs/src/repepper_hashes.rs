//! Stored password hashes move on to the newest pepper, a few at a time.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use auth::OpContext;
use auth::password::pepper::{self, Place};

use crate::job::{Job, JobError, Runs, Step};

/// Longer than one batch may take by far, shorter than anybody minds when a node dies.
const HELD: Duration = Duration::from_mins(1);

/// Seals hashes that are not sealed with the newest pepper, and removes a pepper when no hash needs it any more.
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
