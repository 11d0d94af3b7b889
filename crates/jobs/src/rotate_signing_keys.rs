//! Signing keys move on by schedule.

use std::time::Duration;

use auth::OpContext;
use auth::signing_keys::{self, Rotated};

use crate::job::{Job, JobError, Runs, Step};

const PERIOD: Duration = Duration::from_hours(1);
/// Longer than it takes to make a key, shorter than anybody minds when a node dies while it does.
const HELD: Duration = Duration::from_mins(1);

/// Publishes the next key, lets it sign when it is time, removes those whose tokens have expired.
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
