//! Reports attacks on many accounts.

use std::time::Duration;

use auth::OpContext;

use crate::job::{Job, JobError, Runs, Step};

/// Records what the failed logins of this node look like.
#[derive(Debug, Default)]
pub struct WatchLogins;

impl Job for WatchLogins {
    fn name(&self) -> &'static str {
        "watch_logins"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn runs(&self) -> Runs {
        Runs::EveryNode
    }

    async fn step(&self, ctx: &mut OpContext<'_>) -> Result<Step, JobError> {
        for event in ctx.services.limits.attacks.reports() {
            tracing::warn!(?event, "failed logins look like an attack on many accounts");
            ctx.audit.note(event);
        }
        Ok(Step::Idle)
    }
}
