//! The audit trail's place on disk, and whether it can be written.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use audit::ship::{JournalTail, ShipperSettings};
use audit::sinks::Database;
use audit::{Auditor, Condition, DetailKeyFile, IntentLog};
use jobs::{Destroy, KeysOnDisk};
use journal::{Head, Journal, JournalId, OpenError, Options};
use model::{Clock, Rng};
use protocol::sealed::keyring::Keyring;
use runtime::Spawner;
use store::audit_db::Audit;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::app::bootstrap::data_dir;
use crate::app::lifecycle::Health;
use crate::app::settings_mapping;
use crate::app::start_error::StartError;
use crate::config::Config;

/// Who writes: a server has one journal for its life, commands take turns at another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalOwner {
    /// The server.
    Server,
    /// A command beside it.
    Command,
}

/// How long whoever ends waits for the journal.
const DRAIN: Duration = Duration::from_secs(5);
/// How often the watch looks.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);
/// How long a server waits for the one before it to end, a command for another one, and how long between two tries.
const SERVER_HANDOVER_WAIT: Duration = Duration::from_secs(2);
const COMMAND_HANDOVER_WAIT: Duration = Duration::from_secs(10);
const HANDOVER_RETRY: Duration = Duration::from_millis(20);
/// Most records, and bytes of payloads, that go to the database at once.
const BATCH: (usize, usize) = (2000, 1 << 20);
/// More than the events of a command need, but for an import, and how long a command waits for its disk.
const WRITE_CHECK_BYTES: usize = 256 << 10;
const WRITE_CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// The component's name in readiness.
const COMPONENT: &str = "audit";

/// Where the journal and the keys of a writer are.
pub fn audit_dir(data_dir: &Path, writes: JournalOwner) -> PathBuf {
    let audit = data_dir.join("audit");
    match writes {
        JournalOwner::Server => audit,
        JournalOwner::Command => audit.join("cli"),
    }
}

/// Opens the journal of a writer and begins to record into it. `audit` knows how far it was shipped.
///
/// # Errors
/// [`StartError::Audit`], [`StartError::DataDir`].
pub async fn open(
    data: &Path,
    writes: JournalOwner,
    audit: Option<&Audit>,
    keyring: &Keyring,
    clock: &Clock,
    rng: &Rng,
) -> Result<Arc<Auditor>, StartError> {
    let place = audit_dir(data, writes);
    let (directory, intents) = (place.join("journal"), place.join("intents"));
    data_dir(data)?;
    data_dir(&directory)?;
    data_dir(&intents)?;
    let failed = |why: io::Error| StartError::Audit(place.clone(), why.to_string());
    let refused = |why| match why {
        OpenError::Locked(_) if writes == JournalOwner::Server => {
            StartError::Audit(place.clone(), "another server writes there; give each a data_dir".to_owned())
        }
        other => StartError::Audit(place.clone(), other.to_string()),
    };
    let mut journal = open_journal(&directory, Options::default(), writes, rng).await.map_err(refused)?;
    if restored_from_backup(audit, journal.head()).await {
        drop(journal);
        for path in [&directory, &intents] {
            let aside = path.with_extension(format!("put-back-{}", clock.now().micros()));
            tracing::error!(
                path = %path.display(),
                aside = %aside.display(),
                "the audit directory is older than what was shipped of it; it is set aside, and a new one begins"
            );
            fs::rename(path, aside).map_err(failed)?;
            data_dir(path)?;
        }
        journal = open_journal(&directory, Options::default(), writes, rng).await.map_err(refused)?;
    }
    let begun = open_journal(&intents, audit::SEGMENTS, writes, rng).await.map_err(refused)?;
    let intents = IntentLog::start(begun, &intents, clock).map_err(failed)?;
    let book = DetailKeyFile::open(&place.join("keys"), keyring.clone(), rng.clone()).map_err(failed)?;
    let auditor =
        Auditor::start(journal, intents, book, keyring, clock.clone(), rng.clone()).map_err(failed)?;
    Ok(Arc::new(auditor))
}

/// Whether the database has records of this journal behind its end. Somebody has put back an old copy then: it must not
/// go on, since it would give the same sequences to other events.
async fn restored_from_backup(audit: Option<&Audit>, head: Head) -> bool {
    let Some(audit) = audit else { return false };
    match audit.journal(head.journal.0).await {
        Ok(known) => known.is_some_and(|known| known.shipped.sequence.unsigned_abs() > head.sequence),
        Err(why) => {
            tracing::warn!(%why, "it is not known how far the audit journal was shipped");
            false
        }
    }
}

async fn open_journal(
    path: &Path,
    options: Options,
    writes: JournalOwner,
    rng: &Rng,
) -> Result<Journal, OpenError> {
    let mut left = match writes {
        JournalOwner::Server => SERVER_HANDOVER_WAIT,
        JournalOwner::Command => COMMAND_HANDOVER_WAIT,
    };
    loop {
        match Journal::open(path, options, JournalId(rng.bytes())) {
            Err(OpenError::Locked(_)) if !left.is_zero() => {
                sleep(HANDOVER_RETRY).await;
                left = left.saturating_sub(HANDOVER_RETRY);
            }
            Err(why) => return Err(why),
            Ok((journal, recovery)) => {
                if let Some(cut) = &recovery.cut {
                    tracing::warn!(
                        ?cut,
                        path = %path.display(),
                        "a record that was not whole was cut off the end of the audit journal"
                    );
                }
                if let Some(damage) = &recovery.damage {
                    tracing::error!(
                        ?damage,
                        path = %path.display(),
                        "the audit journal is damaged; it goes on in a new segment"
                    );
                }
                return Ok(journal);
            }
        }
    }
}

/// What ships the server's journal, and that of the commands beside it, into the database's trail; nothing where a
/// recorder was given instead.
///
/// # Errors
/// [`StartError::Store`] when the settings do not fit.
pub fn shippers(
    config: &Config,
    auditor: Option<&Arc<Auditor>>,
    spawner: &Spawner,
    rng: &Rng,
) -> Result<Vec<(ShipperSettings, Database)>, StartError> {
    let Some(auditor) = auditor else { return Ok(Vec::new()) };
    let audit = Arc::new(Audit::open(&settings_mapping::store(config), spawner)?);
    let settings = |name, writes| {
        let place = audit_dir(&config.data_dir, writes);
        ShipperSettings {
            name,
            journal: place.join("journal"),
            keys: Some(place.join("keys")),
            batch: BATCH,
            patience: None,
            dead_letters: place.join("dead-letter.jsonl"),
            node: node_name(),
            retention: config.audit.retention,
            journal_keep: config.audit.journal_keep,
            ready: Arc::new(|| u64::MAX),
            shipping: Arc::default(),
            forget: None,
        }
    };
    let (state, old) = (Arc::clone(auditor), Arc::clone(auditor));
    let server = ShipperSettings {
        // What is synced only: a power failure takes back the rest, and its sequences are given again.
        ready: Arc::new(move || state.state().synced),
        shipping: Arc::clone(auditor.shipping()),
        forget: Some(Arc::new(move |sequence| {
            old.remove_before(sequence);
            true
        })),
        ..settings("ship_audit", JournalOwner::Server)
    };
    let commands = settings("ship_audit_commands", JournalOwner::Command);
    let (end, directory, rng) =
        (JournalTail::of(&commands.journal), audit_dir(&config.data_dir, JournalOwner::Command), rng.clone());
    let commands = ShipperSettings {
        ready: Arc::new(move || end.sequence()),
        shipping: auditor.shipping().part(),
        forget: Some(Arc::new(move |sequence| remove_before(&directory, sequence, &rng))),
        ..commands
    };
    Ok(vec![(server, Database(Arc::clone(&audit))), (commands, Database(audit))])
}

/// What destroys the keys of erased users in this data directory: in the server's own file, and in that of the commands
/// beside it while none of them is at work.
pub fn detail_keys(config: &Config, auditor: Option<&Arc<Auditor>>, rng: &Rng) -> Vec<KeysOnDisk> {
    let mut files = Vec::new();
    if let Some(auditor) = auditor {
        let own = Arc::clone(auditor);
        let destroy: Destroy = Arc::new(move |users| own.detail_keys().forget_all(users));
        files.push(KeysOnDisk {
            path: audit_dir(&config.data_dir, JournalOwner::Server).join("keys"),
            destroy,
        });
        let (commands, rng) = (audit_dir(&config.data_dir, JournalOwner::Command), rng.clone());
        let path = commands.join("keys");
        let destroy: Destroy = Arc::new(move |users| {
            // Whoever has the journal has the keys; a command waits for its turn.
            let _turn = turn(&commands, &rng)?;
            DetailKeyFile::destroy(&commands.join("keys"), users)
        });
        files.push(KeysOnDisk { path, destroy });
    }
    files
}

/// The commands' journal, which nobody else writes as long as it is held.
fn turn(commands: &Path, rng: &Rng) -> io::Result<Journal> {
    let opened = Journal::open(&commands.join("journal"), Options::default(), JournalId(rng.bytes()));
    opened.map(|(journal, _)| journal).map_err(|why| match why {
        OpenError::Locked(_) => io::ErrorKind::WouldBlock.into(),
        OpenError::Io(_, error) => error,
        other @ OpenError::Version { .. } => io::Error::other(other),
    })
}

/// Removes segments of the commands' journal, unless one of them writes just now.
fn remove_before(commands: &Path, sequence: u64, rng: &Rng) -> bool {
    match turn(commands, rng).and_then(|mut journal| journal.remove_before(sequence)) {
        Ok(_) => true,
        Err(error) => {
            if error.kind() != io::ErrorKind::WouldBlock {
                tracing::warn!(%error, "old files of the commands' audit journal cannot be removed");
            }
            false
        }
    }
}

/// Whether the trail of this writer has room for what is about to be done: written to the disk, and removed again.
///
/// # Errors
/// What the disk said, or that it said nothing for [`WRITE_CHECK_TIMEOUT`].
pub async fn can_write(data: &Path, writes: JournalOwner) -> io::Result<()> {
    let path = audit_dir(data, writes).join("room");
    let (tell, told) = oneshot::channel();
    // A thread that nobody joins: a disk that hangs must not hold the command too.
    thread::Builder::new().name("room for the trail".to_owned()).spawn(move || {
        let written = fs::File::create(&path).and_then(|mut file| {
            file.write_all(&vec![0; WRITE_CHECK_BYTES])?;
            file.sync_all()
        });
        let _ = tell.send(fs::remove_file(&path).and(written));
    })?;
    match timeout(WRITE_CHECK_TIMEOUT, told).await {
        Ok(Ok(tried)) => tried,
        Ok(Err(_)) | Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// The machine's name.
pub(crate) fn node_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Writes what waits, and says so where that cannot be done.
pub fn drain(auditor: &Auditor) {
    let stopped = auditor.stop(DRAIN);
    if !stopped.finished || stopped.state.dropped > 0 {
        let (queued, dropped) = (stopped.state.queued, stopped.state.dropped);
        tracing::error!(queued, dropped, "events are missing from the audit journal");
    }
}

/// Tells readiness and the log whenever the trail begins or ceases to fail, for ever.
pub async fn watch(auditor: Arc<Auditor>, health: Health) {
    let mut known = Condition::Well;
    loop {
        let condition = auditor.condition();
        if condition != known {
            let (state, intents) = (auditor.state(), auditor.intents());
            match condition {
                Condition::Failing => {
                    tracing::error!(?state, ?intents, "events cannot be written to the audit journal");
                    health.degrade(COMPONENT);
                }
                Condition::Well => {
                    tracing::info!(dropped = state.dropped, "events are written to the audit journal again");
                    health.recover(COMPONENT);
                }
            }
            known = condition;
        }
        sleep(WATCH_INTERVAL).await;
    }
}
