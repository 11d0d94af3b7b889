//! Resolves the intents that killed processes left in the audit trail.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use audit::Auditor;
use auth::OpContext;
use auth::reconcile::{Outcome, outcome_of};

use crate::job::{Job, JobError, Runs, Step};

/// Pause between two steps; a step without unresolved intents makes no query.
const PERIOD: Duration = Duration::from_secs(1);

/// Resolves the intents left by killed processes. An intent whose event is in the journal at `directory` is
/// done; for every other one the database is queried. A committed intent records its event with the time of
/// the intent; [`model::Event::OutcomeUnknown`] is recorded where the database does not show the outcome;
/// nothing is recorded after a rollback. Returns the number of intents that stay unresolved: a transaction
/// may run on for a while after its process was killed, and until then a missing effect proves nothing.
///
/// # Errors
/// [`JobError`]; the remaining intents stay unresolved.
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
    let mut remaining = 0;
    let mut committed = 0_usize;
    let mut unknown = 0_usize;
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

/// Resolves the intents that earlier processes announced in this node's journal. The server does so at
/// startup; this job continues where the database did not answer, or where a transaction may have outlived
/// its process.
pub struct ReconcileIntents {
    auditor: Arc<Auditor>,
    journal: PathBuf,
}

impl ReconcileIntents {
    /// Creates the job for the journal of events in this directory and its intents.
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
        f.debug_struct("ReconcileIntents").field("journal", &self.journal).finish_non_exhaustive()
    }
}
