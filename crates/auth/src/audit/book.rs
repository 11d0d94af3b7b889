//! The keys of people's details, in a file beside the journal.
//!
//! A person's key is random, made at his first event on this node, sealed by the master key and appended to the file
//! before the record that needs it counts as written. Nothing is looked up on the way: a person who has not been met
//! for long gets another key. Erasing a person writes the file anew without his keys.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::{Rng, UserUuid};
use protocol::detail::{DetailKey, DetailKeyId};
use protocol::seal::Keyring;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::hex;

/// People whose keys are remembered, twice: those met lately, and those met before them.
const REMEMBERED: usize = 50_000;
/// Keys and erasures that wait for the file.
const WAITING: usize = 4096;
const PURPOSE: &str = "audit detail key";

/// The keys of this node.
pub struct KeyBook {
    known: Mutex<Known>,
    rng: Rng,
    keyring: Keyring,
    tasks: SyncSender<Task>,
}

#[derive(Default)]
struct Known {
    lately: HashMap<UserUuid, DetailKey>,
    before: HashMap<UserUuid, DetailKey>,
}

enum Task {
    Keep { line: String, kept: oneshot::Sender<()> },
    Forget(UserUuid),
}

/// A person's key, and what to wait for where it is new.
pub(super) struct Given {
    pub(super) key: DetailKey,
    pub(super) kept: Option<oneshot::Receiver<()>>,
}

impl KeyBook {
    /// Opens the file, making it where there is none.
    ///
    /// # Errors
    /// When the file cannot be opened, or the thread that writes it cannot be started.
    pub fn open(path: &Path, keyring: Keyring, rng: Rng) -> io::Result<Self> {
        let file = append(path)?;
        let (tasks, receiver) = sync_channel(WAITING);
        let path = path.to_owned();
        std::thread::Builder::new()
            .name("audit keys".to_owned())
            .spawn(move || write(&path, file, &receiver))?;
        Ok(Self { known: Mutex::default(), rng, keyring, tasks })
    }

    /// The key of a person; None where the file is so slow that a new one could not be kept.
    pub(super) fn key_of(&self, user: UserUuid) -> Option<Given> {
        if let Some(key) = self.known().find(user) {
            return Some(Given { key, kept: None });
        }
        let key = DetailKey::generate(&self.rng);
        let (kept, receipt) = oneshot::channel();
        self.tasks.try_send(Task::Keep { line: self.line(user, &key), kept }).ok()?;
        self.known().remember(user, key.clone());
        Some(Given { key, kept: Some(receipt) })
    }

    /// Destroys every key of a person on this node. It may take a moment.
    pub fn forget(&self, user: UserUuid) {
        self.known().forget(user);
        if let Err(TrySendError::Full(_)) = self.tasks.try_send(Task::Forget(user)) {
            // The job that compares the file with the database comes to it.
            tracing::warn!("the keys of an erased user will be destroyed later: the disk is slow");
        }
    }

    /// Reads every key of a file; lines that cannot be opened are left out.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(path: &Path, keyring: &Keyring) -> io::Result<HashMap<DetailKeyId, (UserUuid, DetailKey)>> {
        let text = fs::read_to_string(path)?;
        let open = |line| Self::unseal(line, keyring).map(|(user, key)| (key.id(), (user, key)));
        Ok(text.lines().filter_map(open).collect())
    }

    /// The key of one line, `KEYID USERUUID SEALED`, and whose it is; None where it cannot be opened.
    pub fn unseal(line: &str, keyring: &Keyring) -> Option<(UserUuid, DetailKey)> {
        let (id, user, sealed) = parse(line)?;
        let key = keyring.open(PURPOSE, &aad(id, user), &sealed).ok()?;
        Some((user, DetailKey::new(id, key.expose().as_slice().try_into().ok()?)))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, user: UserUuid, key: &DetailKey) -> String {
        let sealed = self.keyring.seal(PURPOSE, &aad(key.id(), user), key.expose(), &self.rng);
        format!("{} {user} {}\n", hex(&key.id()), STANDARD.encode(sealed))
    }
}

fn aad(id: DetailKeyId, user: UserUuid) -> Vec<u8> {
    [id.as_slice(), user.0.as_bytes()].concat()
}

/// `KEYID USERUUID SEALED`
fn parse(line: &str) -> Option<(DetailKeyId, UserUuid, Vec<u8>)> {
    let mut words = line.split(' ');
    let (id, user, sealed) = (words.next()?, words.next()?, words.next()?);
    let id = u64::from_str_radix(id, 16).ok().filter(|_| id.len() == 16)?.to_be_bytes();
    Some((id, UserUuid(Uuid::parse_str(user).ok()?), STANDARD.decode(sealed).ok()?))
}

impl Known {
    fn find(&mut self, user: UserUuid) -> Option<DetailKey> {
        if let Some(key) = self.lately.get(&user) {
            return Some(key.clone());
        }
        let key = self.before.remove(&user)?;
        self.remember(user, key.clone());
        Some(key)
    }

    fn remember(&mut self, user: UserUuid, key: DetailKey) {
        if self.lately.len() >= REMEMBERED {
            self.before = std::mem::take(&mut self.lately);
        }
        self.lately.insert(user, key);
    }

    fn forget(&mut self, user: UserUuid) {
        self.lately.remove(&user);
        self.before.remove(&user);
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// Keeps and forgets, until nobody can ask any more.
fn write(path: &Path, mut file: File, tasks: &Receiver<Task>) {
    let mut failing = false;
    while let Ok(task) = tasks.recv() {
        let done = match &task {
            Task::Keep { line, .. } => file.write_all(line.as_bytes()),
            Task::Forget(user) => without(path, *user).map(|written| file = written),
        };
        if let (Err(error), false) = (&done, failing) {
            tracing::error!(%error, file = %path.display(), "the keys of the audit trail cannot be written");
        }
        failing = done.is_err();
        if let (Task::Keep { kept, .. }, Ok(())) = (task, done) {
            // Whoever has stopped waiting does not mind.
            let _ = kept.send(());
        }
    }
}

/// Writes the file anew without a person's keys; the one to append to from now on.
fn without(path: &Path, user: UserUuid) -> io::Result<File> {
    let name = user.to_string();
    let text = fs::read_to_string(path)?;
    let is_other = |line: &&str| line.split(' ').nth(1) != Some(name.as_str());
    let kept: String = text.lines().filter(is_other).flat_map(|line| [line, "\n"]).collect();
    let mut beside: PathBuf = path.to_owned();
    beside.set_extension("new");
    // What a crash left of an attempt before this one.
    let _ = fs::remove_file(&beside);
    let mut new = append(&beside)?;
    new.write_all(kept.as_bytes())?;
    new.sync_all()?;
    fs::rename(&beside, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(new)
}

impl std::fmt::Debug for KeyBook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyBook").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring() -> Keyring {
        Keyring::parse(Keyring::generate_line(&Rng::seeded(1)).expose()).unwrap()
    }

    fn user(number: u128) -> UserUuid {
        UserUuid(Uuid::from_u128(number))
    }

    async fn kept(given: Given) -> DetailKey {
        if let Some(kept) = given.kept {
            kept.await.unwrap();
        }
        given.key
    }

    #[tokio::test]
    async fn a_key_is_in_the_file_before_it_counts_and_is_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let book = KeyBook::open(&path, keyring(), Rng::seeded(2)).unwrap();
        let one = kept(book.key_of(user(1)).unwrap()).await;
        let other = kept(book.key_of(user(2)).unwrap()).await;
        let again = book.key_of(user(1)).unwrap();
        assert!(again.kept.is_none() && again.key.id() == one.id());
        let read = KeyBook::read(&path, &keyring()).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[&one.id()].0, user(1));
        assert_eq!(read[&other.id()].1.expose(), other.expose());
        // Without the master key the file says nothing.
        let stranger = Keyring::parse(Keyring::generate_line(&Rng::seeded(9)).expose()).unwrap();
        assert!(KeyBook::read(&path, &stranger).unwrap().is_empty());
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn who_is_forgotten_has_no_key_and_others_keep_theirs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let book = KeyBook::open(&path, keyring(), Rng::seeded(2)).unwrap();
        let gone = kept(book.key_of(user(1)).unwrap()).await;
        let stays = kept(book.key_of(user(2)).unwrap()).await;
        book.forget(user(1));
        // Tasks are done in order: when this one is, so is that.
        let next = kept(book.key_of(user(3)).unwrap()).await;
        let read = KeyBook::read(&path, &keyring()).unwrap();
        assert!(!read.contains_key(&gone.id()));
        assert!(read.contains_key(&stays.id()) && read.contains_key(&next.id()));
        assert_ne!(kept(book.key_of(user(1)).unwrap()).await.id(), gone.id());
    }

    #[test]
    fn the_memory_of_people_is_bounded() {
        let mut known = Known::default();
        for number in 0..3 * REMEMBERED as u128 {
            known.remember(user(number), DetailKey::new([0; 8], [0; 32]));
        }
        assert!(known.lately.len() + known.before.len() <= 2 * REMEMBERED);
        let last = user(3 * REMEMBERED as u128 - 1);
        assert!(known.find(last).is_some() && known.find(user(0)).is_none());
    }
}
