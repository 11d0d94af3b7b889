//! The detail keys of users, in a file beside the journal.
//!
//! A user's key is random. It is created at the user's first event on this node, sealed by the master key,
//! and appended to the file before the record that uses it counts as written. The file is not searched on
//! this path: a user who had no events for long gets another key. Erasing a user rewrites the file without
//! the user's keys.

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::{Rng, UserUuid, hex};
use protocol::sealed::detail::{DetailKey, DetailKeyId, stored};
use protocol::sealed::keyring::Keyring;
use tokio::sync::oneshot;
use uuid::Uuid;

/// Users whose keys are cached, in each of two generations: recent ones and earlier ones.
const REMEMBERED: usize = 50_000;
/// Largest number of keys and erasures in the queue for the file.
const WAITING: usize = 4096;

/// The detail keys of this node.
pub struct DetailKeyFile {
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
    Keep {
        line: String,
        kept: oneshot::Sender<()>,
    },
    Forget {
        users: HashSet<UserUuid>,
        forgotten: Option<oneshot::Sender<usize>>,
    },
    /// Looks whether the file is in place.
    Look,
    /// Signals that every earlier task was done or tried.
    Tell(SyncSender<()>),
}

/// A user's key, and for a new key the receipt of its write.
pub(super) struct Given {
    pub(super) key: DetailKey,
    pub(super) kept: Option<oneshot::Receiver<()>>,
}

impl DetailKeyFile {
    /// Opens the file; creates it if necessary.
    ///
    /// # Errors
    /// When the file cannot be opened, or its writer thread cannot be started.
    pub fn open(path: &Path, keyring: Keyring, rng: Rng) -> io::Result<Self> {
        let mut file = append(path)?;
        let is_cut = is_cut(&mut file)?;
        let (tasks, receiver) = sync_channel(WAITING);
        let path = path.to_owned();
        std::thread::Builder::new()
            .name("audit keys".to_owned())
            .spawn(move || write(&path, file, is_cut, &receiver))?;
        Ok(Self { known: Mutex::default(), rng, keyring, tasks })
    }

    /// The key of a user; None when a new one cannot be queued because the file is slow.
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

    /// Has the file looked at: where it was removed, it is written again.
    pub fn look(&self) {
        // A slow file is looked at the next time.
        let _ = self.tasks.try_send(Task::Look);
    }

    /// Queues the destruction of every key of a user in this file.
    pub fn forget(&self, user: UserUuid) {
        self.known().forget(user);
        let task = Task::Forget { users: HashSet::from([user]), forgotten: None };
        if let Err(TrySendError::Full(_)) = self.tasks.try_send(task) {
            // The job that compares the file with the database does it later.
            tracing::warn!("the keys of an erased user will be destroyed later: the disk is slow");
        }
    }

    /// Destroys every key of these users in this file, and waits for the result: the number of destroyed
    /// keys. Blocks; not for async code.
    ///
    /// # Errors
    /// When the queue is full, or the file cannot be written; nothing is destroyed then.
    pub fn forget_all(&self, users: &HashSet<UserUuid>) -> io::Result<usize> {
        for user in users {
            self.known().forget(*user);
        }
        let (forgotten, count) = oneshot::channel();
        let task = Task::Forget { users: users.clone(), forgotten: Some(forgotten) };
        self.tasks.try_send(task).map_err(|_| io::Error::from(io::ErrorKind::WouldBlock))?;
        count.blocking_recv().map_err(|_| io::Error::other("the file of keys cannot be written"))
    }

    /// Destroys every key of these users in a file that is not open in any process; returns the number of
    /// destroyed keys.
    ///
    /// # Errors
    /// When the file cannot be read or written; it is unchanged then.
    pub fn destroy(path: &Path, users: &HashSet<UserUuid>) -> io::Result<usize> {
        without(path, users).map(|(_, count)| count)
    }

    /// Seals every key of a file that is not open in any process again with the first line of the keyring.
    /// Keys that no line opens stay as they are, and are returned with their users.
    ///
    /// # Errors
    /// When the file cannot be read or written; it is unchanged then.
    pub fn reseal(path: &Path, keyring: &Keyring, rng: &Rng) -> io::Result<Vec<(DetailKeyId, UserUuid)>> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text?,
        };
        let (mut anew, mut unopened, mut is_changed) = (String::with_capacity(text.len()), Vec::new(), false);
        for old in text.lines() {
            let resealed = parse(old).and_then(|(id, user, sealed)| {
                let is_first =
                    stored::sealed_by(sealed.as_bytes()).is_ok_and(|id| id == keyring.first_key_id());
                let Ok(key) = stored::open(keyring, id, user, sealed.as_bytes()) else {
                    unopened.push((id, user));
                    return None;
                };
                (!is_first).then(|| line(user, &key, keyring, rng))
            });
            is_changed |= resealed.is_some();
            anew.push_str(&resealed.unwrap_or_else(|| format!("{old}\n")));
        }

        if is_changed {
            let beside = beside(path)?;
            let mut file = append(&beside)?;
            file.write_all(anew.as_bytes())?;
            file.sync_all()?;
            put(&beside, path)?;
        }
        Ok(unopened)
    }

    /// Waits until the queued tasks are done, at most `most`; returns whether they are.
    pub fn settle(&self, most: Duration) -> bool {
        let (told, done) = sync_channel(1);
        self.tasks.try_send(Task::Tell(told)).is_ok() && done.recv_timeout(most).is_ok()
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

    /// The user and key of one line, `KEYID USERUUID SEALED`; None where it cannot be opened.
    pub fn unseal(line: &str, keyring: &Keyring) -> Option<(UserUuid, DetailKey)> {
        let (id, user, sealed) = parse(line)?;
        Some((user, stored::open(keyring, id, user, sealed.as_bytes()).ok()?))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, user: UserUuid, key: &DetailKey) -> String {
        line(user, key, &self.keyring, &self.rng)
    }
}

fn line(user: UserUuid, key: &DetailKey, keyring: &Keyring, rng: &Rng) -> String {
    format!("{} {user} {}\n", hex::encode(&key.id()), stored::seal(keyring, user, key, rng))
}

/// `KEYID USERUUID SEALED`
fn parse(line: &str) -> Option<(DetailKeyId, UserUuid, &str)> {
    let mut words = line.split(' ');
    let id = words.next()?;
    let user = words.next()?;
    let sealed = words.next()?;
    Some((hex::decode_array(id)?, UserUuid(Uuid::parse_str(user).ok()?), sealed))
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
    OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)
}

/// Whether the last line is torn, by a crash or a full disk.
fn is_cut(file: &mut File) -> io::Result<bool> {
    let mut last = [b'\n'];
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    Ok(last != *b"\n")
}

/// Processes tasks until every sender is dropped. A torn line is ended before the next line, so that the next
/// one is whole.
fn write(path: &Path, mut file: File, mut is_cut: bool, tasks: &Receiver<Task>) {
    let mut failing = false;
    while let Ok(task) = tasks.recv() {
        let done = match task {
            Task::Keep { line, kept } => {
                let line = if is_cut { format!("\n{line}") } else { line };
                let written = file.write_all(line.as_bytes());
                is_cut = written.is_err();
                written.map(|()| {
                    // The receiver may have stopped waiting.
                    let _ = kept.send(());
                })
            }
            Task::Forget { users, forgotten } => without(path, &users).map(|(written, count)| {
                file = written;
                is_cut &= count == 0;
                let _ = forgotten.map(|forgotten| forgotten.send(count));
            }),
            Task::Look => match put_back(path, &file) {
                Ok(None) => Ok(()),
                Ok(Some(anew)) => {
                    file = anew;
                    Ok(())
                }
                Err(error) => Err(error),
            },
            Task::Tell(told) => {
                let _ = told.send(());
                continue;
            }
        };

        if let (Err(error), false) = (&done, failing) {
            tracing::error!(%error, file = %path.display(), "the keys of the audit trail cannot be written");
        }
        failing = done.is_err();
    }
}

/// Writes a file that was removed, replaced or moved away to its path again; `None` where it is there.
fn put_back(path: &Path, file: &File) -> io::Result<Option<File>> {
    let open = file.metadata()?;
    let is_there =
        fs::metadata(path).is_ok_and(|named| (named.dev(), named.ino()) == (open.dev(), open.ino()));
    if is_there {
        return Ok(None);
    }
    let folder = path.parent().unwrap_or(path);
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut content = vec![0; usize::try_from(open.len()).unwrap_or(0)];
    file.read_exact_at(&mut content, 0)?;
    let beside = beside(path)?;
    let mut anew = append(&beside)?;
    anew.write_all(&content)?;
    anew.sync_all()?;
    put(&beside, path)?;
    tracing::error!(file = %path.display(), "the keys of the audit trail were gone, and are written again");
    Ok(Some(anew))
}

/// Rewrites the file without the keys of these users, if it has any; returns the file to append to, and the
/// number of removed keys.
fn without(path: &Path, users: &HashSet<UserUuid>) -> io::Result<(File, usize)> {
    let beside = beside(path)?;

    let count = lines(path)?.filter(|line| line.as_ref().is_ok_and(|line| is_of(line, users))).count();
    if count == 0 {
        return Ok((append(path)?, 0));
    }
    let mut new = BufWriter::new(append(&beside)?);
    for line in lines(path)? {
        let line = line?;
        if !is_of(&line, users) {
            new.write_all(&line)?;
            new.write_all(b"\n")?;
        }
    }

    let new = new.into_inner().map_err(io::IntoInnerError::into_error)?;
    new.sync_all()?;
    put(&beside, path)?;
    Ok((new, count))
}

/// The path of a temporary file beside a file, which does not exist.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let mut beside: PathBuf = path.to_owned();
    beside.set_extension("new");

    // A temporary file that a crash left contains keys too.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(beside),
    }
}

/// Replaces a file by a temporary one that is synced.
fn put(beside: &Path, path: &Path) -> io::Result<()> {
    fs::rename(beside, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn lines(path: &Path) -> io::Result<io::Split<BufReader<File>>> {
    Ok(BufReader::new(File::open(path)?).split(b'\n'))
}

/// Whether a line names one of these users anywhere: a line that a crash damaged may contain two keys.
fn is_of(line: &[u8], users: &HashSet<UserUuid>) -> bool {
    let words = line.split(u8::is_ascii_whitespace);
    words.filter_map(|word| Uuid::try_parse_ascii(word).ok()).any(|uuid| users.contains(&UserUuid(uuid)))
}

impl std::fmt::Debug for DetailKeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DetailKeyFile").finish_non_exhaustive()
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
    async fn a_new_key_is_in_the_file_before_its_receipt_and_is_reused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let detail_keys = DetailKeyFile::open(&path, keyring(), Rng::seeded(2)).unwrap();
        let one = kept(detail_keys.key_of(user(1)).unwrap()).await;
        let other = kept(detail_keys.key_of(user(2)).unwrap()).await;
        let again = detail_keys.key_of(user(1)).unwrap();
        assert!(again.kept.is_none() && again.key.id() == one.id());
        let read = DetailKeyFile::read(&path, &keyring()).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[&one.id()].0, user(1));
        assert_eq!(read[&other.id()].1.expose(), other.expose());
        // The keys cannot be read without the master key.
        let stranger = Keyring::parse(Keyring::generate_line(&Rng::seeded(9)).expose()).unwrap();
        assert!(DetailKeyFile::read(&path, &stranger).unwrap().is_empty());
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn an_erased_user_has_no_key_and_others_keep_theirs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let detail_keys = DetailKeyFile::open(&path, keyring(), Rng::seeded(2)).unwrap();
        let gone = kept(detail_keys.key_of(user(1)).unwrap()).await;
        let stays = kept(detail_keys.key_of(user(2)).unwrap()).await;
        detail_keys.forget(user(1));
        // Tasks run in order: when this one is done, the earlier one is too.
        let next = kept(detail_keys.key_of(user(3)).unwrap()).await;
        let read = DetailKeyFile::read(&path, &keyring()).unwrap();
        assert!(!read.contains_key(&gone.id()));
        assert!(read.contains_key(&stays.id()) && read.contains_key(&next.id()));
        assert_ne!(kept(detail_keys.key_of(user(1)).unwrap()).await.id(), gone.id());
    }

    #[tokio::test]
    async fn many_users_are_erased_at_once_and_no_temporary_file_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let detail_keys = DetailKeyFile::open(&path, keyring(), Rng::seeded(2)).unwrap();
        for number in 1..=5 {
            kept(detail_keys.key_of(user(number)).unwrap()).await;
        }
        let before = fs::metadata(&path).unwrap();
        let strangers = HashSet::from([user(8), user(9)]);
        let (detail_keys, strangers) = (std::sync::Arc::new(detail_keys), std::sync::Arc::new(strangers));
        let forget = async |users: std::sync::Arc<HashSet<UserUuid>>| {
            let detail_keys = std::sync::Arc::clone(&detail_keys);
            tokio::task::spawn_blocking(move || detail_keys.forget_all(&users)).await.unwrap().unwrap()
        };

        // A partial file that a crash left.
        fs::write(folder.path().join("keys.new"), fs::read(&path).unwrap()).unwrap();
        assert_eq!(forget(strangers).await, 0);
        assert!(!folder.path().join("keys.new").exists());
        let inode = |about: &fs::Metadata| std::os::unix::fs::MetadataExt::ino(about);
        assert_eq!(inode(&fs::metadata(&path).unwrap()), inode(&before), "nothing to write");
        assert_eq!(forget(std::sync::Arc::new(HashSet::from([user(1), user(3), user(9)]))).await, 2);

        let read = DetailKeyFile::read(&path, &keyring()).unwrap();
        let mut left: Vec<_> = read.values().map(|(user, _)| user.0.as_u128()).collect();
        left.sort_unstable();
        assert_eq!(left, [2, 4, 5]);
        assert!(detail_keys.settle(Duration::from_secs(10)));
        assert_eq!(DetailKeyFile::destroy(&path, &HashSet::from([user(5)])).unwrap(), 1);
        assert_eq!(DetailKeyFile::read(&path, &keyring()).unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_file_is_sealed_again_with_the_first_line_and_keeps_what_no_line_opens() {
        // given two keys, one under a key that the keyring does not have
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let detail_keys = DetailKeyFile::open(&path, keyring(), Rng::seeded(2)).unwrap();
        let one = kept(detail_keys.key_of(user(1)).unwrap()).await;
        assert!(detail_keys.settle(Duration::from_secs(10)));
        let lost = Keyring::parse(Keyring::generate_line(&Rng::seeded(9)).expose()).unwrap();
        let other = DetailKey::generate(&Rng::seeded(4));
        let foreign = line(user(2), &other, &lost, &Rng::seeded(5));
        fs::write(&path, fs::read_to_string(&path).unwrap() + &foreign + "torn").unwrap();

        // when it is sealed again
        let new = Keyring::generate_line(&Rng::seeded(7)).expose().clone();
        let both = Keyring::parse(&format!("{new}\n{}", keyring().to_text().expose())).unwrap();
        let unopened = DetailKeyFile::reseal(&path, &both, &Rng::seeded(8)).unwrap();

        // then the new line suffices, and the rest is as it was
        assert_eq!(unopened, [(other.id(), user(2))]);
        let read = DetailKeyFile::read(&path, &Keyring::parse(&new).unwrap()).unwrap();
        assert_eq!(read[&one.id()].1.expose(), one.expose());
        assert!(DetailKeyFile::read(&path, &lost).unwrap().contains_key(&other.id()));
        assert!(!folder.path().join("keys.new").exists());
        let before = fs::read(&path).unwrap();
        DetailKeyFile::reseal(&path, &both, &Rng::seeded(8)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), before, "nothing is left to do");
    }

    #[tokio::test]
    async fn a_torn_line_damages_no_other_and_is_destroyed_with_its_user() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let detail_keys = DetailKeyFile::open(&path, keyring(), Rng::seeded(2)).unwrap();
        kept(detail_keys.key_of(user(1)).unwrap()).await;
        drop(detail_keys);
        let whole = fs::read_to_string(&path).unwrap();
        let cut = whole.get(..whole.len() - 5).unwrap();
        // A damaged file of an older version: two keys in one line.
        fs::write(
            &path,
            format!("{whole}{cut}{}{cut}", whole.replace(&user(1).to_string(), &user(2).to_string())),
        )
        .unwrap();
        let detail_keys = DetailKeyFile::open(&path, keyring(), Rng::seeded(2)).unwrap();
        let next = kept(detail_keys.key_of(user(3)).unwrap()).await;
        assert!(DetailKeyFile::read(&path, &keyring()).unwrap().contains_key(&next.id()));
        assert_eq!(DetailKeyFile::destroy(&path, &HashSet::from([user(2)])).unwrap(), 1);
        assert!(!fs::read_to_string(&path).unwrap().contains(&user(2).to_string()));
    }

    #[test]
    fn the_cache_of_users_is_bounded() {
        let mut known = Known::default();
        for number in 0..3 * REMEMBERED as u128 {
            known.remember(user(number), DetailKey::new([0; 8], [0; 32]));
        }
        assert!(known.lately.len() + known.before.len() <= 2 * REMEMBERED);
        let last = user(3 * REMEMBERED as u128 - 1);
        assert!(known.find(last).is_some() && known.find(user(0)).is_none());
    }
}
