//! What the server and the commands beside it stand on: the database, the master key, the rooms.

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use auth::audit::Auditor;
use auth::key::{KeyRoomError, Rotated};
use auth::{Rooms, Visit};
use model::trail::{Entry, Receipt, Recorder};
use model::{Clock, Origin, Rng, Spawner, Trail};
use protocol::seal::Keyring;
use store::audit::Audit;
use store::{Lease, Store};

use crate::audit::{self, Writes};
use crate::config::{Config, DatabaseUrl};
use crate::master_key::{self, MasterKeyError};
use crate::start_error::StartError;
use crate::wiring;

/// What is given instead of being taken from the surroundings, so that a test can give its own.
#[derive(Clone)]
pub struct Given {
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub rng: Rng,
    /// Where the trail leads instead of into the journal.
    pub recorder: Option<Arc<dyn Recorder>>,
    /// Panic when a task takes a second connection. For tests.
    pub forbid_second_acquire: bool,
}

impl Given {
    /// The system's clock and randomness; the trail leads into the journal.
    pub fn system() -> Self {
        Self { clock: Clock::system(), rng: Rng::system(), recorder: None, forbid_second_acquire: false }
    }
}

/// Takes what is noted before there is a journal, which is nothing.
struct Nowhere;

impl Recorder for Nowhere {
    fn record(&self, _: Entry) -> Option<Receipt> {
        None
    }
}

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Given").field("clock", &self.clock).field("rng", &self.rng).finish_non_exhaustive()
    }
}

/// Whether what is missing is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// A data directory, an embedded database and its master key are made, and migrations applied where the
    /// configuration says so.
    Made,
    /// Everything has to be there.
    Refused,
}

/// The database, the master key and the rooms.
pub struct Foundation {
    /// The doors of the database.
    pub store: Store,
    /// The rooms.
    pub rooms: Arc<Rooms>,
    /// The trail of whoever stands here.
    pub trail: Trail,
    /// What writes the trail, unless a recorder was given.
    pub auditor: Option<Arc<Auditor>>,
}

impl Foundation {
    /// Opens everything.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(
        config: &Config,
        public_url: &str,
        given: &Given,
        via: &'static str,
        missing: Missing,
        spawner: &Spawner,
    ) -> Result<Self, StartError> {
        let settings = wiring::auth(config, public_url)?;
        let secret = wiring::shared_secret(config)?;
        let mut database = wiring::store(config);
        database.forbid_second_acquire = given.forbid_second_acquire;
        let embedded = prepare(config, missing)?;
        let keyring = match master_key::read(&config.master_key_file) {
            Ok(keyring) => Some(keyring),
            Err(MasterKeyError::Missing(_)) if embedded => None,
            Err(error) => return Err(error.into()),
        };
        if missing == Missing::Made && (embedded || config.database.auto_migrate) {
            migrate(&database, given, spawner).await?;
        }
        let store = store::open(&database, spawner).await?;
        let origin = Origin { via, ..Origin::default() };
        let trail = |recorder| Trail::new(recorder, given.clock.clone(), origin.clone());
        let keyring = match keyring {
            Some(keyring) => keyring,
            None => first_master_key(config, given, store.back.lease(trail(Arc::new(Nowhere)))).await?,
        };
        let writes = if via == "cli" { Writes::Command } else { Writes::Server };
        let auditor = if given.recorder.is_some() {
            None
        } else {
            let shipped = match writes {
                Writes::Server => Some(Audit::open(&database, spawner)?),
                Writes::Command => None,
            };
            let (data, clock, rng) = (&config.data_dir, &given.clock, &given.rng);
            Some(audit::open(data, writes, shipped.as_ref(), &keyring, clock, rng).await?)
        };
        let recorder: Arc<dyn Recorder> = match (&given.recorder, &auditor) {
            (Some(recorder), _) => Arc::clone(recorder),
            (None, Some(auditor)) => Arc::<Auditor>::clone(auditor),
            (None, None) => Arc::new(Nowhere),
        };
        let trail = trail(recorder);
        let rooms = Arc::new(Rooms::new(settings, keyring, given.rng.clone()));
        let mut lease = store.back.lease(trail.clone());
        let mut visit = Visit { rooms: &rooms, lease: &mut lease, trail: &trail, now: given.clock.now() };
        auth::realm::open(&mut visit).await?;
        auth::password::pepper::open(&mut visit).await?;
        if let Some(secret) = secret {
            auth::key::use_shared_secret(&rooms, secret.expose()).map_err(|why| StartError::Setting {
                key: "tokens.hs256_secret_file",
                why: why.to_string(),
            })?;
        }
        if let Some(auditor) = &auditor {
            let journal = audit::place(&config.data_dir, writes).join("journal");
            // Before anything is changed that would hide it. What cannot be found out now is tried again later.
            if let Err(error) = auth::audit::settle(&mut visit, auditor, &journal).await {
                tracing::warn!(%error, "what a killed process has left in the audit trail is found out later");
            }
        }
        drop(lease);
        Ok(Self { store, rooms, trail, auditor })
    }

    /// Makes the signing keys that are missing or due.
    ///
    /// # Errors
    /// [`StartError::Keys`], [`StartError::Store`].
    pub async fn cut_keys(&self, clock: &Clock) -> Result<(), StartError> {
        let mut lease = self.store.back.lease(self.trail.clone());
        let mut visit = Visit { rooms: &self.rooms, lease: &mut lease, trail: &self.trail, now: clock.now() };
        loop {
            match auth::key::step(&mut visit).await {
                // Another node that starts at the same time was faster; its keys are as good.
                Ok(Rotated::Nothing) | Err(KeyRoomError::Unknown) => return Ok(()),
                Ok(Rotated::Activated(_) | Rotated::Published(_) | Rotated::Removed(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl std::fmt::Debug for Foundation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Foundation").field("trail", &self.trail).finish_non_exhaustive()
    }
}

/// Makes the data directory; says whether the database is the embedded one.
fn prepare(config: &Config, missing: Missing) -> Result<bool, StartError> {
    let embedded = match &config.database.url {
        DatabaseUrl::Sqlite(path) if missing == Missing::Refused && !path.exists() => {
            return Err(StartError::NoDatabase(path.clone()));
        }
        DatabaseUrl::Sqlite(_) => true,
        DatabaseUrl::Postgres(_) => false,
    };
    if missing == Missing::Made {
        data_dir(&config.data_dir)?;
    }
    Ok(embedded)
}

/// Makes the data directory, for its owner only.
pub(crate) fn data_dir(path: &Path) -> Result<(), StartError> {
    let failed = |why| StartError::DataDir(path.to_owned(), why);
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let mode = path.metadata().map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(
            path = %path.display(),
            mode = format!("{:04o}", mode & 0o7777),
            "other users of this machine can enter the data directory: chmod 700"
        );
    }
    Ok(())
}

async fn migrate(settings: &store::Settings, given: &Given, spawner: &Spawner) -> Result<(), StartError> {
    for step in store::migrate(settings, given.clock.now(), spawner).await? {
        tracing::info!(migration = step.name, "a migration was applied");
    }
    Ok(())
}

/// The master key of an embedded database that is still empty.
async fn first_master_key(config: &Config, given: &Given, mut lease: Lease) -> Result<Keyring, StartError> {
    let file = &config.master_key_file;
    if let Some(realm) = lease.read().await?.one(store::noun::realm::find()).await? {
        return Err(StartError::MasterKeyLost { file: file.clone(), wanted: realm.master_key_id });
    }
    let keyring = match master_key::create(file, &given.rng) {
        // Another process that starts at the same time was faster.
        Err(MasterKeyError::Exists(_)) => master_key::read(file)?,
        made => made?,
    };
    tracing::info!(path = %file.display(), key = keyring.first_key_id(), "a master key was made; keep a copy of it");
    Ok(keyring)
}
