//! Reads and creates the master key file.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use model::{Rng, Secret};
use protocol::sealed::keyring::{Keyring, KeyringError};

/// Largest file that is read, in bytes.
const MOST_BYTES: u64 = 64 * 1024;

/// Why the master key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// The file does not exist.
    #[error("there is no master key at {0}; `gatewright keys init` creates one")]
    Missing(PathBuf),
    /// The file exists already and was not changed.
    #[error("{0} exists already and stays as it is")]
    Exists(PathBuf),
    /// Other users can read or write the file; its permission bits.
    #[error("{0} is not private (mode {1:04o}): `chmod 600 {0}`, and rotate the key if others could read it")]
    Exposed(PathBuf, u32),
    /// The file cannot be read or written.
    #[error("the master key at {0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// The file does not contain a keyring.
    #[error("the master key at {0}: {1}")]
    Keyring(PathBuf, #[source] KeyringError),
}

/// Reads the keyring from a file that only its owner can access.
pub fn read(path: &Path) -> Result<Keyring, MasterKeyError> {
    let failed = |why: io::Error| match why.kind() {
        ErrorKind::NotFound => MasterKeyError::Missing(path.to_owned()),
        _ => MasterKeyError::Io(path.to_owned(), why),
    };
    let file = File::open(path).map_err(failed)?;
    // Checks the open file, so that it cannot be replaced between check and read.
    let about = file.metadata().map_err(failed)?;
    let mode = about.permissions().mode() & 0o7777;
    if !about.is_file() {
        return Err(failed(io::Error::other("not a file")));
    }
    if mode & 0o077 != 0 {
        return Err(MasterKeyError::Exposed(path.to_owned(), mode));
    }
    if about.len() > MOST_BYTES {
        return Err(failed(io::Error::other("too large for a keyring")));
    }
    let room = usize::try_from(about.len()).unwrap_or_default() + 1;
    let mut text = String::with_capacity(room);
    let ended = file.take(MOST_BYTES).read_to_string(&mut text);
    let text = Secret::new(text);
    ended.map_err(failed)?;
    Keyring::parse(text.expose()).map_err(|why| MasterKeyError::Keyring(path.to_owned(), why))
}

/// Creates a keyring with one new key, in a new file and if necessary a new directory. On success the file is
/// durable; on failure there is no partial file.
pub fn create(path: &Path, rng: &Rng) -> Result<Keyring, MasterKeyError> {
    let failed = |why: io::Error| match why.kind() {
        ErrorKind::AlreadyExists => MasterKeyError::Exists(path.to_owned()),
        _ => MasterKeyError::Io(path.to_owned(), why),
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let line = Keyring::generate_line(rng);
    let keyring =
        Keyring::parse(line.expose()).map_err(|why| MasterKeyError::Keyring(path.to_owned(), why))?;
    if path.symlink_metadata().is_ok() {
        return Err(MasterKeyError::Exists(path.to_owned()));
    }
    let draft = folder.join(format!(".master-key-{:016x}", u64::from_be_bytes(rng.bytes())));
    let made = write_new(&draft, &line).and_then(|()| match std::fs::hard_link(&draft, path) {
        // For file systems without hard links: creating the name is exclusive too, but not atomic.
        Err(why) if why.kind() != ErrorKind::AlreadyExists => write_new(path, &line),
        linked => linked,
    });
    let removed = std::fs::remove_file(&draft);
    made.and(removed).and_then(|()| File::open(folder)?.sync_all()).map_err(failed)?;
    Ok(keyring)
}

fn write_new(path: &Path, line: &Secret<String>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(line.expose().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn a_new_file_is_private_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/master.key");
        let made = create(&path, &Rng::seeded(1)).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(path.parent().unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(read(&path).unwrap().first_key_id(), made.first_key_id());
        let names = path.parent().unwrap().read_dir().unwrap().count();
        assert_eq!(names, 1, "no temporary file is left");
    }

    #[test]
    fn an_existing_file_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let first = create(&path, &Rng::seeded(1)).unwrap();
        let again = create(&path, &Rng::seeded(2)).unwrap_err();
        assert!(matches!(again, MasterKeyError::Exists(_)));
        assert_eq!(read(&path).unwrap().first_key_id(), first.first_key_id());
        let dangling = folder.path().join("dangling");
        std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
        assert!(matches!(create(&dangling, &Rng::seeded(2)), Err(MasterKeyError::Exists(_))));
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        create(&path, &Rng::seeded(1)).unwrap();
        for mode in [0o640, 0o604, 0o660, 0o610] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let why = read(&path).err().unwrap().to_string();
            assert!(why.contains(&format!("{mode:04o}")) && why.contains("chmod 600"), "{why}");
        }
        std::fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        read(&path).unwrap();
    }

    #[test]
    fn missing_broken_and_huge_files_have_different_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        assert!(read(&path).err().unwrap().to_string().contains("keys init"));
        write_new(&path, &Secret::new("not a key at all".to_owned())).unwrap();
        let why = read(&path).err().unwrap();
        assert!(matches!(why, MasterKeyError::Keyring(..)) && !why.to_string().contains("not a key at all"));
        std::fs::remove_file(&path).unwrap();
        write_new(&path, &Secret::new("#".repeat(70_000))).unwrap();
        assert!(matches!(read(&path), Err(MasterKeyError::Io(..))));
        assert!(matches!(read(folder.path()), Err(MasterKeyError::Io(..))));
    }
}
