//! Opens the audit journal, and checks that it can be written.

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
use model::{Clock, Rng, UserUuid, hex};
use protocol::sealed::checkpoint::Succession;
use protocol::sealed::detail::DetailKeyId;
use protocol::sealed::keyring::Keyring;
use runtime::Spawner;
use store::audit_db::Audit;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::app::bootstrap::data_dir;
use crate::app::lifecycle::Health;
use crate::app::start_error::StartError;
use crate::config::Config;

/// The writer of a journal. The server keeps one journal open; commands share another one and take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalOwner {
    /// The server.
    Server,
    /// A command that runs beside the server.
    Command,
}

/// How long shutdown waits for the journal to drain.
const DRAIN: Duration = Duration::from_secs(5);
/// Interval of the health check of the journal.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);
/// Every so many checks, the files are looked at.
const LOOK_EVERY: u64 = 4;
/// How long a server waits for the previous one to exit, a command for another command, and the time between
/// two tries.
const SERVER_HANDOVER_WAIT: Duration = Duration::from_secs(2);
const COMMAND_HANDOVER_WAIT: Duration = Duration::from_secs(10);
const HANDOVER_RETRY: Duration = Duration::from_millis(20);
/// Bytes of the write check, more than the events of a command except an import, and how long a command waits
/// for its disk.
const WRITE_CHECK_BYTES: usize = 256 << 10;
const WRITE_CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// The name of the component in readiness.
const COMPONENT: &str = "audit";

/// The directory of a writer's journal and detail keys.
pub fn audit_dir(data_dir: &Path, writes: JournalOwner) -> PathBuf {
    let audit = data_dir.join("audit");
    match writes {
        JournalOwner::Server => audit,
        JournalOwner::Command => audit.join("cli"),
    }
}

/// Opens the journal of a writer and starts recording. `audit` is asked how far the journal was shipped.
///
/// # Errors
/// [`StartError::Audit`], [`StartError::DataDir`].
pub async fn open(
    data: &Path,
    writes: JournalOwner,
    audit: &Audit,
    keyring: &Keyring,
    clock: &Clock,
    rng: &Rng,
) -> Result<(Arc<Auditor>, Vec<UnopenedKeys>), StartError> {
    let place = audit_dir(data, writes);
    let (directory, intents) = (place.join("journal"), place.join("intents"));
    let _data = data_dir(data)?;
    let _folders = (data_dir(&directory)?, data_dir(&intents)?);
    let failed = |why: io::Error| StartError::Audit(place.clone(), why.to_string());

    let refused = |why| match why {
        OpenError::Locked(_) if writes == JournalOwner::Server => StartError::Audit(
            place.clone(),
            "another server writes there; give each server its own data_dir".to_owned(),
        ),
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
                "the audit directory was restored from an old copy; it is set aside, and a new one is created"
            );
            fs::rename(path, aside).map_err(failed)?;
            data_dir(path)?.keep();
        }
        journal = open_journal(&directory, Options::default(), writes, rng).await.map_err(refused)?;
    }

    // The journal's lock is held, so that no other process writes the file.
    let unopened = match writes {
        JournalOwner::Server => reseal_detail_keys(data, keyring, rng).map_err(failed)?,
        JournalOwner::Command => Vec::new(),
    };
    let begun = open_journal(&intents, audit::SEGMENTS, writes, rng).await.map_err(refused)?;
    let intents = IntentLog::start(begun, &intents, clock).map_err(failed)?;
    let detail_keys =
        DetailKeyFile::open(&place.join("keys"), keyring.clone(), rng.clone()).map_err(failed)?;
    let auditor =
        Auditor::start(journal, intents, detail_keys, keyring, clock.clone(), rng.clone()).map_err(failed)?;
    if writes == JournalOwner::Command {
        // So that the commands' journal states the server's too.
        let server = audit_dir(data, JournalOwner::Server).join("journal");
        if let Some(statement) = audit::latest_statement(&server).map_err(failed)? {
            auditor.voucher().repeat(&statement);
        }
    }
    Ok((Arc::new(auditor), unopened))
}

/// Detail keys in a file of this node that no line of the keyring opens.
#[derive(Debug)]
pub struct UnopenedKeys {
    /// The file.
    pub path: PathBuf,
    /// The ids of the keys, with their users.
    pub keys: Vec<(DetailKeyId, UserUuid)>,
}

/// Seals the detail keys of this node again with the first line: those of the server, and those of the
/// commands unless a command writes now.
fn reseal_detail_keys(data: &Path, keyring: &Keyring, rng: &Rng) -> io::Result<Vec<UnopenedKeys>> {
    let mut unopened = Vec::new();
    for writes in [JournalOwner::Server, JournalOwner::Command] {
        let place = audit_dir(data, writes);
        let path = place.join("keys");
        if !path.try_exists()? {
            continue;
        }
        let _turn = match writes {
            JournalOwner::Server => None,
            JournalOwner::Command => match turn(&place, rng) {
                Ok(turn) => Some(turn),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            },
        };
        let keys = DetailKeyFile::reseal(&path, keyring, rng)?;
        if !keys.is_empty() {
            unopened.push(UnopenedKeys { path, keys });
        }
    }
    Ok(unopened)
}

/// The file with the statements by which newer checkpoint keys vouch for older ones, one in a line, so that
/// the files of this node are verified without the database.
fn successions_file(data: &Path) -> PathBuf {
    audit_dir(data, JournalOwner::Server).join("checkpoint-keys")
}

/// Writes the statements by which newer checkpoint keys vouch for older ones, if they have changed.
///
/// # Errors
/// [`StartError::Audit`].
pub fn keep_successions(data: &Path, successions: &[Succession]) -> Result<(), StartError> {
    let path = successions_file(data);
    let text: String = successions.iter().map(|one| hex::encode(&one.format()) + "\n").collect();
    let failed = |why: io::Error| StartError::Audit(path.clone(), why.to_string());
    let known = read_if_there(&path).map_err(failed)?;
    if known.map_or(text.is_empty(), |known| known == text) {
        return Ok(());
    }
    let beside = path.with_extension("new");
    let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, &path));
    written.map_err(failed)
}

/// The statements in the file of [`keep_successions`]; lines that are none are left out.
///
/// # Errors
/// [`StartError::Unreadable`].
pub fn kept_successions(data: &Path) -> Result<Vec<Succession>, StartError> {
    let path = successions_file(data);
    let text = read_if_there(&path).map_err(|why| StartError::Unreadable(path, why))?.unwrap_or_default();
    Ok(text.lines().filter_map(|line| Succession::parse(&hex::decode(line)?)).collect())
}

fn read_if_there(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        text => text.map(Some),
    }
}

/// Whether the database has records of this journal after its end. Then the directory was restored from an
/// old copy and must not be continued, because it would give the same sequences to other events.
async fn restored_from_backup(audit: &Audit, head: Head) -> bool {
    match audit.journal(head.journal.0).await {
        Ok(known) => known.is_some_and(|known| known.shipped.sequence.unsigned_abs() > head.sequence),
        Err(why) => {
            tracing::warn!(%why, "the database cannot be asked how far the audit journal was shipped");
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
                        "an incomplete record was removed from the end of the audit journal"
                    );
                }
                if let Some(damage) = &recovery.damage {
                    tracing::error!(
                        ?damage,
                        path = %path.display(),
                        "the audit journal is damaged; it continues in a new segment"
                    );
                }
                return Ok(journal);
            }
        }
    }
}

/// The shippers that copy the journals of the server and of the commands into the database.
///
/// # Errors
/// [`StartError::Store`] when the settings are not valid.
pub fn shippers(
    config: &Config,
    auditor: &Arc<Auditor>,
    spawner: &Spawner,
    rng: &Rng,
) -> Result<Vec<(ShipperSettings, Database)>, StartError> {
    let audit = Arc::new(Audit::open(&store::Settings::from(&config.database), spawner)?);
    let settings = |name, writes| {
        let place = audit_dir(&config.data_dir, writes);
        ShipperSettings {
            name,
            journal: place.join("journal"),
            keys: Some(place.join("keys")),
            dead_letters: place.join("dead-letter.jsonl"),
            node: node_name(),
            voucher: Some(Arc::clone(auditor.voucher())),
            ..ShipperSettings::from(&config.audit)
        }
    };

    let (state, old) = (Arc::clone(auditor), Arc::clone(auditor));
    let server = ShipperSettings {
        // Ships only synced records: a power failure may remove the others, and their sequences are used
        // again.
        ready: Arc::new(move || state.state().synced),
        shipping: Arc::clone(auditor.shipping()),
        forget: Some(Arc::new(move |sequence| {
            old.remove_before(sequence);
            true
        })),
        ..settings("ship_audit", JournalOwner::Server)
    };

    let commands = settings("ship_audit_commands", JournalOwner::Command);
    let end = JournalTail::of(&commands.journal);
    let directory = audit_dir(&config.data_dir, JournalOwner::Command);
    let rng = rng.clone();
    let commands = ShipperSettings {
        ready: Arc::new(move || end.sequence()),
        shipping: auditor.shipping().part(),
        forget: Some(Arc::new(move |sequence| remove_before(&directory, sequence, &rng))),
        ..commands
    };

    let database = || Database::new(Arc::clone(&audit), Arc::clone(auditor.voucher()));
    Ok(vec![(server, database()), (commands, database())])
}

/// Destroys the detail keys of erased users in this data directory: in the server's file, and in the
/// commands' file while no command holds it.
pub fn detail_keys(config: &Config, auditor: &Arc<Auditor>, rng: &Rng) -> Vec<KeysOnDisk> {
    let own = Arc::clone(auditor);
    let destroy: Destroy = Arc::new(move |users| own.detail_keys().forget_all(users));
    let path = audit_dir(&config.data_dir, JournalOwner::Server).join("keys");
    let server = KeysOnDisk { path, destroy };

    let (commands, rng) = (audit_dir(&config.data_dir, JournalOwner::Command), rng.clone());
    let path = commands.join("keys");
    let destroy: Destroy = Arc::new(move |users| {
        // The holder of the journal has the keys; a command waits for its turn.
        let _turn = turn(&commands, &rng)?;
        DetailKeyFile::destroy(&commands.join("keys"), users)
    });
    vec![server, KeysOnDisk { path, destroy }]
}

/// Opens the commands' journal, which has one writer at a time.
fn turn(commands: &Path, rng: &Rng) -> io::Result<Journal> {
    let opened = Journal::open(&commands.join("journal"), Options::default(), JournalId(rng.bytes()));
    opened.map(|(journal, _)| journal).map_err(|why| match why {
        OpenError::Locked(_) => io::ErrorKind::WouldBlock.into(),
        OpenError::Io(_, error) => error,
        other @ OpenError::Version { .. } => io::Error::other(other),
    })
}

/// Removes old segments of the commands' journal, unless a command writes now.
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

/// Checks that the disk has space for the writer's events, by writing a file and removing it.
///
/// # Errors
/// The error of the disk, or a timeout after [`WRITE_CHECK_TIMEOUT`].
pub async fn can_write(data: &Path, writes: JournalOwner) -> io::Result<()> {
    let path = audit_dir(data, writes).join("room");
    let (tell, told) = oneshot::channel();
    // The thread is not joined: a disk that hangs must not block the command too.
    thread::Builder::new().name("audit write check".to_owned()).spawn(move || {
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

/// The host name.
pub(crate) fn node_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Writes the queued events, and logs an error when that fails.
pub fn drain(auditor: &Auditor) {
    let stopped = auditor.stop(DRAIN);
    if !stopped.finished || stopped.state.dropped > 0 {
        let (queued, dropped) = (stopped.state.queued, stopped.state.dropped);
        tracing::error!(queued, dropped, "events are missing from the audit journal");
    }
}

/// Updates readiness and the log whenever the journal starts or stops failing; runs until the task is
/// dropped.
pub async fn watch(auditor: Arc<Auditor>, health: Health) {
    let mut known = Condition::Well;
    let mut rewritten = 0;
    for round in 0_u64.. {
        if round % LOOK_EVERY == 0 {
            auditor.look();
        }
        let now = auditor.state().rewritten.saturating_add(auditor.intents().rewritten);
        if now > rewritten {
            tracing::error!("files of the audit journal were removed or moved away, and are written again");
            rewritten = now;
        }

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
