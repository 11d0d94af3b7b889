//! The list of all jobs: the server starts them, and tests step them by name.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use audit::Auditor;
use audit::ship::{Shipper, ShipperSettings};
use audit::sinks::{Database, RemoteSink};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::runner::until_idle;
use crate::{
    Cleanup, Job, JobError, KeepClock, KeysOnDisk, LearnHashMix, PollRevocations, PurgeErasedKeys,
    ReconcileIntents, RecordRepeated, RepepperHashes, RotateSigningKeys, Runner, Step, StoreLogins,
    StoreRehashes, WatchLogins,
};

/// The settings of the jobs.
pub struct RegistrySettings {
    /// How often expired and revoked rows, and keys of erased users, are removed.
    pub cleanup_interval: Duration,
    /// The files of detail keys in this data directory.
    pub detail_keys: Vec<KeysOnDisk>,
    /// The recorder of events and the directory of its journal; `None` where events are not recorded in a
    /// journal.
    pub auditor: Option<(Arc<Auditor>, PathBuf)>,
    /// Shippers from journals to the database.
    pub database: Vec<(ShipperSettings, Database)>,
    /// Shippers from journals to remote sinks.
    pub sinks: Vec<(ShipperSettings, RemoteSink)>,
}

impl Default for RegistrySettings {
    /// The jobs of a server without a journal.
    fn default() -> Self {
        Self {
            cleanup_interval: Duration::from_hours(1),
            detail_keys: Vec::new(),
            auditor: None,
            database: Vec::new(),
            sinks: Vec::new(),
        }
    }
}

/// Every job of this server.
#[derive(Clone)]
pub struct Registry(Vec<Arc<dyn AnyJob>>);

impl Registry {
    /// Creates every job, in the order in which the server starts them.
    pub fn new(settings: RegistrySettings) -> Self {
        let RegistrySettings { cleanup_interval, detail_keys, auditor, database, sinks } = settings;
        let mut jobs: Vec<Arc<dyn AnyJob>> = vec![
            Arc::new(PollRevocations::default()),
            Arc::new(KeepClock),
            Arc::new(RotateSigningKeys),
            Arc::new(Cleanup::every(cleanup_interval)),
            Arc::new(PurgeErasedKeys::every(cleanup_interval, detail_keys)),
            Arc::new(LearnHashMix),
            Arc::new(StoreRehashes),
            Arc::new(StoreLogins),
            Arc::new(WatchLogins),
            Arc::new(RepepperHashes::default()),
        ];

        if let Some((auditor, journal)) = auditor {
            jobs.push(Arc::new(RecordRepeated::new(Arc::clone(&auditor))));
            jobs.push(Arc::new(ReconcileIntents::new(auditor, journal)));
        }
        jobs.extend(
            database
                .into_iter()
                .map(|(settings, sink)| -> Arc<dyn AnyJob> { Arc::new(Shipper::new(settings, sink)) }),
        );
        jobs.extend(
            sinks
                .into_iter()
                .map(|(settings, sink)| -> Arc<dyn AnyJob> { Arc::new(Shipper::new(settings, sink)) }),
        );
        Self(jobs)
    }

    /// Iterates over every job.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn AnyJob>> {
        self.0.iter()
    }

    /// Runs one step of the job with this name.
    ///
    /// # Errors
    /// The error of the step; [`JobError::Unknown`] where no job has this name.
    pub async fn step(&self, runner: &Runner, name: &'static str) -> Result<Step, JobError> {
        self.find(name)?.step(runner).await
    }

    /// Steps the job with this name until it is idle.
    ///
    /// # Errors
    /// The error of the first failing step; [`JobError::Unknown`] where no job has this name.
    pub async fn settle(&self, runner: &Runner, name: &'static str) -> Result<(), JobError> {
        let job = self.find(name)?;
        until_idle(async || job.step(runner).await).await
    }

    fn find(&self, name: &'static str) -> Result<&Arc<dyn AnyJob>, JobError> {
        self.iter().find(|job| job.name() == name).ok_or(JobError::Unknown(name))
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|job| job.name())).finish()
    }
}

/// A job of any type.
pub trait AnyJob: Send + Sync {
    /// Its name, see [`Job::name`].
    fn name(&self) -> &'static str;

    /// Runs one step, see [`Runner::step`].
    fn step<'a>(&'a self, runner: &'a Runner) -> BoxFuture<'a, Result<Step, JobError>>;

    /// Steps the job at its period until `stop`, see [`Runner::run`].
    fn run(
        self: Arc<Self>,
        runner: Runner,
        stop: CancellationToken,
    ) -> BoxFuture<'static, Result<(), Infallible>>;
}

impl<J: Job> AnyJob for J {
    fn name(&self) -> &'static str {
        Job::name(self)
    }

    fn step<'a>(&'a self, runner: &'a Runner) -> BoxFuture<'a, Result<Step, JobError>> {
        runner.step(self).boxed()
    }

    fn run(
        self: Arc<Self>,
        runner: Runner,
        stop: CancellationToken,
    ) -> BoxFuture<'static, Result<(), Infallible>> {
        runner.run(self, stop).boxed()
    }
}
