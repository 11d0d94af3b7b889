//! The trait of a job.

use std::future::Future;
use std::time::Duration;

use auth::password::pepper::PepperServiceError;
use auth::signing_keys::SigningKeyError;
use auth::{OpContext, Services};

/// The outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing is left to do until the next run.
    Idle,
    /// There is more to do at once.
    Again,
}

/// The nodes that run a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// Every node runs it independently.
    EveryNode,
    /// One node at a time: the holder of the job's lease in the database, which expires this long after its
    /// last step.
    OneNode(Duration),
}

/// Why a step failed. The job continues with the next step.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The signing keys cannot be used.
    #[error(transparent)]
    Keys(SigningKeyError),
    /// The journal of audit events cannot be read or shipped.
    #[error("{0}")]
    Audit(String),
    /// The pepper cannot be used.
    #[error(transparent)]
    Pepper(PepperServiceError),
    /// There is no job of this name.
    #[error("there is no job {0}")]
    Unknown(&'static str),
}

impl From<SigningKeyError> for JobError {
    fn from(error: SigningKeyError) -> Self {
        match error {
            SigningKeyError::Store(error) => Self::Store(error),
            other => Self::Keys(other),
        }
    }
}

impl From<std::io::Error> for JobError {
    fn from(error: std::io::Error) -> Self {
        Self::Audit(error.to_string())
    }
}

impl From<journal::ReadError> for JobError {
    fn from(error: journal::ReadError) -> Self {
        Self::Audit(error.to_string())
    }
}

impl From<PepperServiceError> for JobError {
    fn from(error: PepperServiceError) -> Self {
        match error {
            PepperServiceError::Store(error) => Self::Store(error),
            other => Self::Pepper(other),
        }
    }
}

/// Background work that runs periodically, in steps.
pub trait Job: Send + Sync + 'static {
    /// Its name, used for its lease in the database, in logs, and among the degraded components.
    fn name(&self) -> &'static str;

    /// How long it pauses after an idle step.
    fn period(&self) -> Duration;

    /// The nodes that run it.
    fn runs(&self) -> Runs;

    /// Whether readiness lists it while it fails.
    fn degrades(&self) -> bool {
        true
    }

    /// Ends when there is something to do before the period is over.
    fn called(&self, _services: &Services) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Runs one step.
    fn step(&self, ctx: &mut OpContext<'_>) -> impl Future<Output = Result<Step, JobError>> + Send;
}
