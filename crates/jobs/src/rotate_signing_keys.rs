//! Rotates the signing keys on schedule.

use std::time::Duration;

use auth::OpContext;
use auth::signing_keys::{self, Rotated};

use crate::job::{Job, JobError, Runs, Step};

/// A key that an operator has published signs within this time after it is due.
const PERIOD: Duration = Duration::from_mins(1);
/// Lease of the job: longer than it takes to create a key, short enough that another node soon takes over a
/// dead one's work.
const HELD: Duration = Duration::from_mins(1);

/// Publishes the next key, activates it when it is due, and removes keys whose tokens have expired.
#[derive(Debug, Default)]
pub struct RotateSigningKeys;

impl Job for RotateSigningKeys {
    fn name(&self) -> &'static str {
        "rotate_signing_keys"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    fn runs(&self) -> Runs {
        Runs::OneNode(HELD)
    }

    async fn step(&self, ctx: &mut OpContext<'_>) -> Result<Step, JobError> {
        Ok(match signing_keys::step(ctx).await? {
            Rotated::Nothing => Step::Idle,
            Rotated::Activated(_) | Rotated::Published(_) | Rotated::Removed(_) => Step::Again,
        })
    }
}
