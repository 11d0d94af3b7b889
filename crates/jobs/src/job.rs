//! What a job is.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use auth::OpContext;
use auth::password::pepper::PepperServiceError;
use auth::signing_keys::SigningKeyError;

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is nothing left to do for now.
    Idle,
    /// There is more to do, at once.
    Again,
}

/// Where a job runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// On every node, each for itself.
    EveryNode,
    /// On one node at a time: whoever holds the job's row in the database, for at most so long after its last step.
    OneNode(Duration),
}

/// Why a step failed. The job goes on with the next one.
#[derive(Debug)]
pub enum JobError {
    /// The database did not answer.
    Store(store::Error),
    /// The signing keys are of no use.
    Keys(SigningKeyError),
    /// The journal of audit events cannot be read or shipped.
    Audit(String),
    /// The pepper is of no use.
    Pepper(PepperServiceError),
    /// There is no job of this name.
    Unknown(&'static str),
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Keys(error) => error.fmt(f),
            Self::Audit(why) => f.write_str(why),
            Self::Pepper(error) => error.fmt(f),
            Self::Unknown(name) => write!(f, "there is no job {name}"),
        }
    }
}

impl std::error::Error for JobError {}

impl From<store::Error> for JobError {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
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

/// Something that is done by itself, in steps.
pub trait Job: Send + Sync + 'static {
    /// Its name: of its row in the database, in the log, and among the degraded components.
    fn name(&self) -> &'static str;

    /// How long it rests when it is idle.
    fn period(&self) -> Duration;

    /// Where it runs.
    fn runs(&self) -> Runs;

    /// Whether readiness names it while it fails.
    fn degrades(&self) -> bool {
        true
    }

    /// One step.
    fn step(&self, ctx: &mut OpContext<'_>) -> impl Future<Output = Result<Step, JobError>> + Send;
}
