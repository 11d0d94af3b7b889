//! Stores the time of a node whose clock is believed, with which every start compares its own.

use std::time::Duration;

use auth::OpContext;

use crate::job::{Job, JobError, Runs, Step};

/// How old the stored time may be, and how far ahead.
const PERIOD: Duration = Duration::from_mins(1);

/// Stores the time unless another node has just done so.
#[derive(Debug)]
pub struct KeepClock;

impl Job for KeepClock {
    fn name(&self) -> &'static str {
        "keep_clock"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    fn runs(&self) -> Runs {
        Runs::EveryNode
    }

    async fn step(&self, ctx: &mut OpContext<'_>) -> Result<Step, JobError> {
        let watch = &ctx.services.clock_watch;
        let is_stored = watch
            .newest()
            .is_some_and(|newest| ctx.now.since(newest) < PERIOD / 2 && newest.since(ctx.now) < PERIOD / 2);
        if ctx.believes_time() && !is_stored {
            ctx.lease.keep_clock(ctx.now).await?;
        }
        Ok(Step::Idle)
    }
}
