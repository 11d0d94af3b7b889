//! Steps the jobs.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use auth::account::OUTDATED;
use auth::clock_watch::CLOCK;
use auth::{OpContext, Services};
use model::{Clock, Origin};
use runtime::AuditContext;
use runtime::metric::{JobMetrics, RunOutcome};
use store::BackgroundPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::job::{Job, JobError, Runs, Step};

/// Receives the name of a component and whether it works.
pub type Report = Arc<dyn Fn(&'static str, bool) + Send + Sync>;

/// First pause after a failed step, unless the job's period is shorter; it doubles with each further failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause after a failed step.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// Shortest pause between two steps of a job that is called.
const CALLS: Duration = Duration::from_millis(20);

/// Steps jobs, each on a separate lease from the background pool.
#[derive(Clone)]
pub struct Runner {
    background: Arc<BackgroundPool>,
    services: Arc<Services>,
    audit: AuditContext,
    clock: Clock,
    node: Uuid,
    report: Report,
    clock_is_believed: Arc<AtomicBool>,
    jobs: Arc<JobMetrics>,
}

impl Runner {
    /// Creates a runner for this node; `report` receives the health of the jobs.
    pub fn new(
        background: Arc<BackgroundPool>,
        services: Arc<Services>,
        audit: AuditContext,
        clock: Clock,
        report: Report,
    ) -> Self {
        let node = Uuid::from_bytes(services.rng.bytes());
        let clock_is_believed = Arc::new(AtomicBool::new(true));
        Self { background, services, audit, clock, node, report, clock_is_believed, jobs: Arc::default() }
    }

    /// Runs one step of `job`; returns `Idle` without running it while another node holds the job.
    ///
    /// # Errors
    /// The error of the step.
    pub async fn step<J: Job>(&self, job: &J) -> Result<Step, JobError> {
        let stepped = self.try_step(job).await;
        let how = match &stepped {
            Ok(Some(_)) => RunOutcome::Done,
            Ok(None) => RunOutcome::Elsewhere,
            Err(_) => RunOutcome::Failed,
        };
        self.jobs.ran(job.name(), how, self.clock.now());
        self.report_conditions();
        stepped.map(|step| step.unwrap_or(Step::Idle))
    }

    /// Reports what the jobs have found out, which readiness names.
    fn report_conditions(&self) {
        if self.services.outdated.is_found() {
            (self.report)(OUTDATED, false);
        }
        let is_believed = self.services.clock_watch.is_believed();
        if self.clock_is_believed.swap(is_believed, Ordering::Relaxed) != is_believed {
            (self.report)(CLOCK, is_believed);
        }
    }

    /// The metrics of the jobs: every step counts as a run.
    pub fn jobs(&self) -> &Arc<JobMetrics> {
        &self.jobs
    }

    /// Runs one step; `None` while another node holds the job.
    async fn try_step<J: Job>(&self, job: &J) -> Result<Option<Step>, JobError> {
        let audit = self.audit.of(Origin::job(job.name()));
        let mut lease = self.background.lease(audit.clone());
        let now = self.clock.now();
        if let Runs::OneNode(held) = job.runs()
            && !lease.claim_job(job.name(), self.node, now.plus(held), now).await?
        {
            return Ok(None);
        }
        let mut ctx = OpContext { services: &self.services, lease: &mut lease, audit: &audit, now };
        let stepped = job.step(&mut ctx).await.map(Some);
        if matches!(job.runs(), Runs::OneNode(_)) && !matches!(stepped, Ok(Some(Step::Again))) {
            let released = lease.release_job(job.name(), self.node).await;
            // A lease that is not released expires; the step's own error is more useful.
            return stepped.and_then(|step| released.map(|()| step).map_err(JobError::from));
        }
        stepped
    }

    /// Steps `job` until it is idle.
    ///
    /// # Errors
    /// The error of the first failing step.
    pub async fn settle<J: Job>(&self, job: &J) -> Result<(), JobError> {
        until_idle(async || self.step(job).await).await
    }

    /// Steps `job` at its period until `stop`. A step that has started is finished; a failed one is retried.
    ///
    /// # Errors
    /// Never.
    pub async fn run<J: Job>(self, job: Arc<J>, stop: CancellationToken) -> Result<(), Infallible> {
        let mut failures = 0;
        while !stop.is_cancelled() {
            let rest = match self.step(&*job).await {
                Ok(step) => {
                    self.succeeded(&*job, &mut failures);
                    if step == Step::Again { Duration::ZERO } else { job.period() }
                }
                Err(error) => {
                    self.failed(&*job, &mut failures, &error);
                    pause(failures).min(job.period())
                }
            };

            let slept = async {
                if rest.is_zero() {
                    tokio::task::yield_now().await;
                } else {
                    let called = async {
                        tokio::time::sleep(CALLS).await;
                        job.called(&self.services).await;
                    };
                    let _ = tokio::time::timeout(rest, called).await;
                }
            };
            if stop.run_until_cancelled(slept).await.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn succeeded<J: Job>(&self, job: &J, failures: &mut u32) {
        if *failures > 0 {
            tracing::info!(job = job.name(), failures = *failures, "a job works again");
            if job.degrades() {
                (self.report)(job.name(), true);
            }
        }
        *failures = 0;
    }

    /// Logs and reports an outage once, regardless of its length.
    fn failed<J: Job>(&self, job: &J, failures: &mut u32, error: &JobError) {
        if *failures == 0 {
            tracing::warn!(job = job.name(), %error, "a job failed and will be tried again");
            if job.degrades() {
                (self.report)(job.name(), false);
            }
        }
        *failures = failures.saturating_add(1);
    }
}

/// Repeats `step` until there is nothing left to do.
pub(crate) async fn until_idle(step: impl AsyncFn() -> Result<Step, JobError>) -> Result<(), JobError> {
    while step().await? == Step::Again {
        // Other tasks that wait for the database go first.
        tokio::task::yield_now().await;
    }
    Ok(())
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").field("node", &self.node).finish_non_exhaustive()
    }
}

fn pause(failures: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
    FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_to_a_minute() {
        let seconds: Vec<_> =
            [1, 2, 3, 7, 100].into_iter().map(|failures| pause(failures).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 60, 60]);
    }
}
