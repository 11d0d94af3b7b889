//! What killed processes have left of the audit trail is settled.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use auth::OpContext;
use auth::audit::{Auditor, settle};

use crate::job::{Job, JobError, Runs, Step};

/// Between two looks; one that finds nothing asks nobody.
const PERIOD: Duration = Duration::from_secs(1);

/// Finds out how it went what processes before this one had announced in this node's journal. It is done at the start;
/// this goes on where the database did not answer then, or where a transaction may have outlived its process.
pub struct ReconcileIntents {
    auditor: Arc<Auditor>,
    journal: PathBuf,
}

impl ReconcileIntents {
    /// For the journal of events in this directory, and the intents beside it.
    pub fn new(auditor: Arc<Auditor>, journal: PathBuf) -> Self {
        Self { auditor, journal }
    }
}

impl Job for ReconcileIntents {
    fn name(&self) -> &'static str {
        "audit settling"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    fn runs(&self) -> Runs {
        Runs::EveryNode
    }

    async fn step(&self, ctx: &mut OpContext<'_>) -> Result<Step, JobError> {
        settle(ctx, &self.auditor, &self.journal).await?;
        Ok(Step::Idle)
    }
}

impl std::fmt::Debug for ReconcileIntents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settling").field("journal", &self.journal).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
