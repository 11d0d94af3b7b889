//! Resolves the intents that killed processes left in the audit trail.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use audit::Auditor;
use auth::OpContext;
use auth::reconcile::{Outcome, outcome_of};

use crate::job::{Job, JobError, Runs, Step};

/// Between two steps; one that finds nothing unresolved asks nothing.
const PERIOD: Duration = Duration::from_secs(1);

/// Resolves what is left of processes that were killed. An intent whose event is in the journal, at `directory`, has
/// ended; for every other one the database is asked. The event of what was committed is recorded as it would have been,
/// at the time of the intent; [`model::Event::OutcomeUnknown`] where the database does not tell; nothing where it was
/// rolled back. Returns how many stay unresolved: a transaction may outlive its process for a while, and until then the
/// lack of a trace proves nothing.
///
/// # Errors
/// [`JobError`]; what is not resolved then stays unresolved.
pub async fn reconcile(
    ctx: &mut OpContext<'_>,
    auditor: &Auditor,
    directory: &Path,
) -> Result<usize, JobError> {
    if auditor.unresolved().is_empty() {
        return Ok(0);
    }
    auditor.end_recorded_intents(directory)?;

    let outlives = ctx.lease.outlives();
    let (mut remaining, mut committed, mut unknown) = (0, 0_usize, 0_usize);
    for intent in auditor.unresolved() {
        match outcome_of(ctx, &intent).await? {
            Outcome::Committed(event) => {
                committed += 1;
                auditor.resolve(&intent, &event);
            }
            Outcome::RolledBack if ctx.now.since(intent.at) < outlives => remaining += 1,
            Outcome::RolledBack => auditor.discard(&intent),
            Outcome::Unknown => {
                unknown += 1;
                auditor.resolve(&intent, &intent.intent.unknown());
            }
        }
    }

    if committed + unknown > 0 {
        tracing::warn!(committed, unknown, "intents of a killed process were resolved");
    }
    Ok(remaining)
}

/// Resolves what processes before this one had announced in this node's journal. It is done at the start; this goes on
/// where the database did not answer then, or where a transaction may have outlived its process.
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
        "reconcile_intents"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    fn runs(&self) -> Runs {
        Runs::EveryNode
    }

    async fn step(&self, ctx: &mut OpContext<'_>) -> Result<Step, JobError> {
        reconcile(ctx, &self.auditor, &self.journal).await?;
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
