//! Removes the keys of erased users from this node's key files. The node that erases a user removes the keys
//! in the database and in its own file; this job covers the files of the other nodes.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use audit::blocking;
use audit::ship::{KeyFilePosition, read_keys};
use auth::OpContext;
use model::{Now, UserUuid};
use store::queries::audit_key;
use tokio::sync::Mutex;

use crate::job::{Job, JobError, Runs, Step};

/// How often the job checks whether a sweep is due or unfinished.
const PERIOD: Duration = Duration::from_mins(1);
/// Keys that one step looks up in the database.
const KEYS: usize = 500;
/// Erased users collected before their keys are destroyed, since each time rewrites the file.
const FOUND: usize = 10_000;

/// Destroys the keys of these users in a file and returns their number. Blocks the thread.
pub type Destroy = Arc<dyn Fn(&HashSet<UserUuid>) -> io::Result<usize> + Send + Sync>;

/// A file of detail keys.
pub struct KeysOnDisk {
    /// Its path; the file may be missing.
    pub path: PathBuf,
    /// Destroys keys in it. [`io::ErrorKind::WouldBlock`] means that another process is writing the file.
    pub destroy: Destroy,
}

/// Compares the key files with the users and destroys the keys of erased users.
pub struct PurgeErasedKeys {
    files: Vec<KeysOnDisk>,
    interval: Duration,
    sweep: Mutex<Sweep>,
}

/// The progress of a sweep.
#[derive(Default)]
struct Sweep {
    due: Option<Now>,
    /// The index of the current file.
    file: usize,
    position: KeyFilePosition,
    /// The users whose keys are to be destroyed in the current file.
    found: HashSet<UserUuid>,
}

impl PurgeErasedKeys {
    /// Sweeps at the start and every `interval`.
    pub fn every(interval: Duration, files: Vec<KeysOnDisk>) -> Self {
        Self { files, interval, sweep: Mutex::default() }
    }

    /// Looks up the next keys of a file; true at its end.
    async fn look(
        &self,
        sweep: &mut Sweep,
        file: &KeysOnDisk,
        ctx: &mut OpContext<'_>,
    ) -> Result<bool, JobError> {
        let (path, position) = (file.path.clone(), sweep.position);
        let read = blocking(move || read_keys(&path, position, KEYS)).await?;
        let (next, lines) = read.map_err(|error| failed(file, &error))?;

        // Details without a known user are stored under the nil UUID.
        let users: HashSet<UserUuid> =
            lines.iter().map(|line| line.user).filter(|user| !user.0.is_nil()).collect();

        if !users.is_empty() {
            let erased = ctx.lease.read().await?.all(audit_key::erased(&users)).await;
            ctx.lease.park();
            sweep.found.extend(erased?);
        }

        let is_through = next == sweep.position;
        sweep.position = next;
        Ok(is_through)
    }

    /// Destroys the collected keys; false while another process writes the file.
    async fn destroy(sweep: &mut Sweep, file: &KeysOnDisk) -> Result<bool, JobError> {
        if sweep.found.is_empty() {
            return Ok(true);
        }
        let (destroy, found) = (Arc::clone(&file.destroy), sweep.found.clone());
        match blocking(move || destroy(&found)).await? {
            Ok(keys) => {
                let users = sweep.found.len();
                tracing::info!(
                    users,
                    keys,
                    file = %file.path.display(),
                    "keys of erased users were destroyed"
                );
                sweep.found.clear();
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(failed(file, &error)),
        }
    }
}

fn failed(file: &KeysOnDisk, error: &io::Error) -> JobError {
    JobError::Audit(format!("the keys in {}: {error}", file.path.display()))
}

impl Job for PurgeErasedKeys {
    fn name(&self) -> &'static str {
        "purge_erased_keys"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    fn runs(&self) -> Runs {
        Runs::EveryNode
    }

    async fn step(&self, ctx: &mut OpContext<'_>) -> Result<Step, JobError> {
        let mut sweep = self.sweep.lock().await;
        // A time further ahead than any sweep is planned was set by a wrong clock.
        if sweep.due.is_some_and(|due| ctx.now < due && due <= ctx.now.plus(self.interval)) {
            return Ok(Step::Idle);
        }
        let Some(file) = self.files.get(sweep.file) else {
            *sweep = Sweep { due: Some(ctx.now.plus(self.interval)), ..Sweep::default() };
            return Ok(Step::Idle);
        };

        let is_through = self.look(&mut sweep, file, ctx).await?;
        let is_time = is_through || sweep.found.len() >= FOUND;
        if is_time && !Self::destroy(&mut sweep, file).await? {
            return Ok(Step::Idle);
        }

        if is_through {
            sweep.file += 1;
            sweep.position = KeyFilePosition::default();
        }
        Ok(Step::Again)
    }
}

impl fmt::Debug for PurgeErasedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files: Vec<_> = self.files.iter().map(|file| &file.path).collect();
        f.debug_struct("PurgeErasedKeys").field("files", &files).finish_non_exhaustive()
    }
}
