//! Opens what the server and the commands share: the database, the master key, the services.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use audit::Auditor;
use auth::signing_keys::{Rotated, SigningKeyError};
use auth::{OpContext, Services};
use model::{Channel, Clock, Event, Now, Origin, Rng, UserUuid};
use protocol::sealed::detail::DetailKeyId;
use protocol::sealed::keyring::Keyring;
use runtime::metric::Collector;
use runtime::{AuditContext, NoopRecorder, Recorder, Spawner};
use store::audit_db::Audit;
use store::queries::audit_key;
use store::{Faults, Lease, Store};
use uuid::Uuid;

use crate::app::audit_setup::{self, JournalOwner, UnopenedKeys};
use crate::app::cpu_quota::hashing_share;
use crate::app::file_owner::{NewFolders, is_there};
use crate::app::master_key::{self, MasterKeyError};
use crate::app::start_error::StartError;
use crate::config::{Config, DatabaseUrl};

/// How long after a realm began another node's records may not be in the database yet.
const YOUNG_REALM: Duration = Duration::from_mins(10);

/// Dependencies that a test can replace.
#[derive(Clone)]
pub struct RuntimeDeps {
    /// The clock.
    pub clock: Clock,
    /// The random number generator.
    pub rng: Rng,
    /// How many files the process may open; none for any number.
    pub open_files: Option<u64>,
    /// Writes the metrics of other parts of the process.
    pub collectors: Vec<Collector>,
    /// Stands before the journal and receives audit events first.
    pub recorder: Option<RecorderLayer>,
    /// Panics when a task takes a second connection; for tests.
    pub forbid_second_acquire: bool,
    /// Makes round trips to the database fail; for tests.
    pub faults: Option<Faults>,
}

/// Makes the recorder that receives audit events from the one that writes the journal.
pub type RecorderLayer = Arc<dyn Fn(Arc<dyn Recorder>) -> Arc<dyn Recorder> + Send + Sync>;

impl RuntimeDeps {
    /// The system's clock and randomness; events are recorded in the journal.
    pub fn system() -> Self {
        Self {
            clock: Clock::system(),
            rng: Rng::system(),
            open_files: None,
            collectors: Vec::new(),
            recorder: None,
            forbid_second_acquire: false,
            faults: None,
        }
    }
}

impl std::fmt::Debug for RuntimeDeps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RuntimeDeps")
            .field("clock", &self.clock)
            .field("rng", &self.rng)
            .finish_non_exhaustive()
    }
}

/// What happens when the database or a key is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMissing {
    /// Creates the data directory, the embedded database and its master key, and migrates if the
    /// configuration allows it.
    Create,
    /// Returns an error.
    Fail,
}

/// The database, the services and the audit trail.
pub struct Core {
    /// The connection pools.
    pub store: Store,
    /// The services.
    pub services: Arc<Services>,
    /// The audit context of this process.
    pub audit: AuditContext,
    /// The writer of the audit trail.
    pub auditor: Arc<Auditor>,
}

impl Core {
    /// Opens everything.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(
        config: &Config,
        public_url: &str,
        deps: &RuntimeDeps,
        origin: Origin,
        missing: IfMissing,
        spawner: &Spawner,
    ) -> Result<Self, StartError> {
        let mut settings = config.auth(public_url)?;
        settings.passwords.hashing.processor_share = hashing_share();
        let secret = config.tokens.shared_secret()?;
        let (database, embedded) = (database(config, deps), config.database.url.is_embedded());
        let writes = match origin.channel {
            Channel::CommandLine => JournalOwner::Command,
            Channel::Server | Channel::Http | Channel::Job | Channel::Journal => JournalOwner::Server,
        };
        if writes == JournalOwner::Server {
            store::reach(&database, spawner, config.database.connect_wait).await?;
        }
        let keyring = read_keyring(config, &database, spawner).await?;

        let (_folders, mut unused) = prepare(config, missing)?;
        if missing == IfMissing::Create && (embedded || config.database.auto_migrate) {
            migrate(&database, deps, spawner).await?;
        }
        let store = store::open(&database, spawner).await?;

        let audit = |recorder| AuditContext::new(recorder, deps.clock.clone(), origin.clone());
        let keyring = if let Some(keyring) = keyring {
            keyring
        } else {
            let lease = store.background.lease(audit(Arc::new(NoopRecorder)));
            let (keyring, is_made) = first_master_key(config, deps, lease).await?;
            unused.note_key(&config.master_key_file, is_made);
            keyring
        };

        let shipped = Audit::open(&database, spawner)?;
        let (data, clock, rng) = (&config.data_dir, &deps.clock, &deps.rng);
        let (auditor, unopened) = audit_setup::open(data, writes, &shipped, &keyring, clock, rng).await?;
        let journal: Arc<dyn Recorder> = Arc::<Auditor>::clone(&auditor);
        let recorder = match &deps.recorder {
            Some(layer) => layer(journal),
            None => journal,
        };

        let audit = audit(recorder);
        let services = Arc::new(Services::new(settings, keyring, deps.rng.clone(), deps.clock.clone()));
        let mut lease = store.background.lease(audit.clone());
        let mut ctx =
            OpContext { services: &services, lease: &mut lease, audit: &audit, now: deps.clock.now() };
        let realm = auth::realm::open(&mut ctx).await?;
        unused.keep();
        // Before anything is done by age.
        let has_served = auth::clock_watch::heads(&mut ctx).await?.clock.is_some();
        if writes == JournalOwner::Server && has_served {
            Box::pin(note_missing_past(&mut ctx, &shipped, &auditor, realm.created_at)).await;
        }
        open_lines(&mut ctx, data, writes, unopened).await?;
        auth::password::pepper::open(&mut ctx).await?;
        if let Some(secret) = secret {
            auth::signing_keys::use_shared_secret(&services, secret.expose()).map_err(|why| {
                StartError::Setting { key: "tokens.hs256_secret_file", why: why.to_string() }
            })?;
        }

        let journal = audit_setup::audit_dir(&config.data_dir, writes).join("journal");
        // Runs before later changes can hide the traces in the database. What cannot be determined now is
        // tried again later.
        if let Err(error) = jobs::reconcile(&mut ctx, &auditor, &journal).await {
            tracing::warn!(%error, "the intents that a killed process left are reconciled later");
        }

        if writes == JournalOwner::Server {
            raise_user_numbers(&mut ctx, &config.data_dir, realm.uuid).await?;
        }

        drop(lease);
        Ok(Self { store, services, audit, auditor })
    }

    /// Creates the signing keys that are missing or due.
    ///
    /// # Errors
    /// [`StartError::Keys`], [`StartError::Store`].
    pub async fn ensure_signing_keys(&self, clock: &Clock) -> Result<(), StartError> {
        let mut lease = self.store.background.lease(self.audit.clone());
        let mut ctx =
            OpContext { services: &self.services, lease: &mut lease, audit: &self.audit, now: clock.now() };
        loop {
            match auth::signing_keys::step(&mut ctx).await {
                // Another node that starts at the same time came first; its keys are used.
                Ok(Rotated::Nothing) | Err(SigningKeyError::Unknown) => return Ok(()),
                Ok(Rotated::Activated(_) | Rotated::Published(_) | Rotated::Removed(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("trail", &self.audit).finish_non_exhaustive()
    }
}

/// Notes that the records of before are gone, if this node's journal is new, and the database has none: the
/// realm is not new.
async fn note_missing_past(ctx: &mut OpContext<'_>, shipped: &Audit, auditor: &Auditor, began: Now) {
    if !auditor.voucher().is_first() || began >= ctx.now.minus(YOUNG_REALM) {
        return;
    }
    ctx.lease.park();
    match shipped.journals().await {
        Ok(known) if known.is_empty() => {}
        Ok(_) => return,
        Err(why) => {
            tracing::warn!(%why, "the database cannot be asked which audit journals it has");
            return;
        }
    }
    auditor.voucher().past_is_missing();
    ctx.audit.note(Event::AuditPastMissing {});
    tracing::error!(
        "the realm is not new, and neither this node nor the database has a record of it: the audit trail \
         was removed"
    );
}

/// The settings of the database, with what a test injects.
fn database(config: &Config, deps: &RuntimeDeps) -> store::Settings {
    let mut settings = store::Settings::from(&config.database);
    settings.forbid_second_acquire = deps.forbid_second_acquire;
    settings.faults.clone_from(&deps.faults);
    settings
}

/// Keeps the numbers of users that the journals name and an older database does not have.
async fn raise_user_numbers(ctx: &mut OpContext<'_>, data_dir: &Path, realm: Uuid) -> Result<(), StartError> {
    ctx.lease.park();
    for owner in [JournalOwner::Server, JournalOwner::Command] {
        let journal = audit_setup::audit_dir(data_dir, owner).join("journal");
        let highest = audit::blocking(move || audit::highest_user(&journal, realm)).await;
        match highest.map_err(journal::ReadError::Io).flatten() {
            Ok(Some(highest)) => auth::account::raise_numbers(ctx, highest).await?,
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "a journal cannot be searched for the highest user number"),
        }
    }
    Ok(())
}

/// Notes the lines of the master key file. A server checks that no line is missing that something needs.
async fn open_lines(
    ctx: &mut OpContext<'_>,
    data: &Path,
    writes: JournalOwner,
    unopened: Vec<UnopenedKeys>,
) -> Result<(), StartError> {
    auth::master_keys::register(ctx).await?;
    audit_setup::keep_successions(data, &auth::master_keys::successions(ctx).await?)?;
    match writes {
        JournalOwner::Server => {
            auth::master_keys::check(ctx).await?;
            check_detail_keys(ctx, unopened).await
        }
        JournalOwner::Command => Ok(()),
    }
}

/// Checks that the database has the detail keys that no line opens, sealed by a line that does.
async fn check_detail_keys(ctx: &mut OpContext<'_>, unopened: Vec<UnopenedKeys>) -> Result<(), StartError> {
    for UnopenedKeys { path, keys } in unopened {
        let users: HashSet<UserUuid> = keys.iter().map(|(_, user)| *user).collect();
        let ids = keys.iter().map(|(id, _)| id.as_slice());
        let calls = (audit_key::missing(ids), audit_key::erased(&users));
        let (missing, erased) = ctx.lease.read().await?.batch(calls).await?;
        let is_lost = |(id, user): &&(DetailKeyId, UserUuid)| {
            missing.iter().any(|missing| missing.as_slice() == id) && !erased.contains(user)
        };
        let lost = keys.iter().filter(is_lost).count();
        if lost > 0 {
            return Err(StartError::DetailKeys(lost, path));
        }
    }
    Ok(())
}

/// The keyring; `None` for an embedded database without a key file, which may be new.
async fn read_keyring(
    config: &Config,
    database: &store::Settings,
    spawner: &Spawner,
) -> Result<Option<Keyring>, StartError> {
    let file = &config.master_key_file;
    match master_key::read(file) {
        Ok(keyring) => Ok(Some(keyring)),
        Err(MasterKeyError::Missing(_)) if config.database.url.is_embedded() => Ok(None),
        Err(error @ MasterKeyError::Missing(_)) => {
            Err(sealed_by(database, spawner, file).await.unwrap_or(error.into()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Which master key sealed a database for which there is no key file; `None` for a database that is empty, or
/// cannot be asked.
async fn sealed_by(settings: &store::Settings, spawner: &Spawner, file: &Path) -> Option<StartError> {
    let store = store::open(&store::Settings { pool_min: 0, ..settings.clone() }, spawner).await.ok()?;
    let audit = AuditContext::new(Arc::new(NoopRecorder), Clock::system(), Origin::default());
    let realm =
        store.background.lease(audit).read().await.ok()?.one(store::queries::realm::find()).await.ok()?;
    Some(StartError::MasterKeyLost { file: file.to_owned(), wanted: realm?.master_key_id })
}

/// Creates the data directory.
fn prepare(config: &Config, missing: IfMissing) -> Result<(NewFolders, Unused), StartError> {
    let mut unused = Unused::default();
    if let DatabaseUrl::Sqlite(path) = &config.database.url
        && !is_there(path)?
    {
        if missing == IfMissing::Fail {
            return Err(StartError::NoDatabase(path.clone()));
        }
        unused.database = Some(path.clone());
    }
    let folders = match missing {
        IfMissing::Create => data_dir(&config.data_dir)?,
        IfMissing::Fail => NewFolders::default(),
    };
    Ok((folders, unused))
}

/// A database and a master key that a start has made; dropping removes them unless the realm was opened, so
/// that a start that fails leaves nothing behind.
#[derive(Default)]
struct Unused {
    database: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Unused {
    fn note_key(&mut self, file: &Path, is_made: bool) {
        self.key = is_made.then(|| file.to_owned());
    }

    fn keep(&mut self) {
        *self = Self::default();
    }
}

impl Drop for Unused {
    fn drop(&mut self) {
        // Another process may have used the file meanwhile.
        if let Some(database) = self.database.take()
            && store::remove_unused(&database)
            && let Some(key) = self.key.take()
        {
            // The error that led here is reported.
            let _ = std::fs::remove_file(key);
        }
    }
}

/// Creates the data directory, or one in it, with mode 0700. Where it stays empty, dropping removes it again.
pub(crate) fn data_dir(path: &Path) -> Result<NewFolders, StartError> {
    let failed = |why| StartError::DataDir(path.to_owned(), why);
    let made = NewFolders::make(path).map_err(failed)?;
    let mode = path.metadata().map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(
            path = %path.display(),
            mode = format!("{:04o}", mode & 0o7777),
            "other users of this machine can access the data directory: chmod 700"
        );
    }
    Ok(made)
}

async fn migrate(
    settings: &store::Settings,
    deps: &RuntimeDeps,
    spawner: &Spawner,
) -> Result<(), StartError> {
    for step in store::migrate(settings, deps.clock.now(), spawner).await? {
        tracing::info!(migration = step.name, "a migration was applied");
    }
    Ok(())
}

/// The master key of an embedded database that is still empty, and whether it was made now.
async fn first_master_key(
    config: &Config,
    deps: &RuntimeDeps,
    mut lease: Lease,
) -> Result<(Keyring, bool), StartError> {
    let file = &config.master_key_file;
    if let Some(realm) = lease.read().await?.one(store::queries::realm::find()).await? {
        return Err(StartError::MasterKeyLost { file: file.clone(), wanted: realm.master_key_id });
    }
    let keyring = match master_key::create(file, &deps.rng) {
        // Another process that starts at the same time came first.
        Err(MasterKeyError::Exists(_)) => return Ok((master_key::read(file)?, false)),
        made => made?,
    };

    let key = keyring.first_key_id();
    tracing::info!(path = %file.display(), key, "a master key was created; keep a copy of it");
    Ok((keyring, true))
}
