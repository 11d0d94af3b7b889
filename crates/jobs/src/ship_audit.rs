//! Ships the journals of the audit trail: each shipper is a job.

use std::time::Duration;

use audit::ship::{Progress, ShipContext, ShipError, Shipper};
use audit::sinks::Sink;
use auth::OpContext;

use crate::job::{Job, JobError, Runs, Step};

impl<S: Sink> Job for Shipper<S> {
    fn name(&self) -> &'static str {
        Shipper::name(self)
    }

    fn period(&self) -> Duration {
        Shipper::period(self)
    }

    fn runs(&self) -> Runs {
        Runs::EveryNode
    }

    fn degrades(&self) -> bool {
        Shipper::degrades(self)
    }

    async fn step(&self, ctx: &mut OpContext<'_>) -> Result<Step, JobError> {
        let may_remove = ctx.believes_time();
        let mut ship =
            ShipContext { lease: &mut *ctx.lease, rng: &ctx.services.rng, now: ctx.now, may_remove };
        match Shipper::step(self, &mut ship).await? {
            Progress::Idle => Ok(Step::Idle),
            Progress::More => Ok(Step::Again),
        }
    }
}

impl From<ShipError> for JobError {
    fn from(error: ShipError) -> Self {
        match error {
            ShipError::Store(error) => Self::Store(error),
            ShipError::Other(why) => Self::Audit(why),
        }
    }
}
