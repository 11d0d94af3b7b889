//! Records events that were only counted, when their minute is over.

use std::sync::Arc;
use std::time::Duration;

use audit::Auditor;
use auth::OpContext;

use crate::job::{Job, JobError, Runs, Step};

/// Records the repeated events of minutes that are over.
#[derive(Debug)]
pub struct RecordRepeated(Arc<Auditor>);

impl RecordRepeated {
    /// Records into this journal.
    pub fn new(auditor: Arc<Auditor>) -> Self {
        Self(auditor)
    }
}

impl Job for RecordRepeated {
    fn name(&self) -> &'static str {
        "record_repeated"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn runs(&self) -> Runs {
        Runs::EveryNode
    }

    async fn step(&self, ctx: &mut OpContext<'_>) -> Result<Step, JobError> {
        self.0.record_repeated(ctx.now);
        Ok(Step::Idle)
    }
}
