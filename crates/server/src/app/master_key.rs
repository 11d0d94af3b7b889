//! Reads and creates the master key file.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use model::{Rng, Secret};
use protocol::sealed::keyring::{Keyring, KeyringError};

use crate::app::file_owner::{Explained, NewFolders};
use crate::config::secret_file::{self, SecretFileError};

/// Why the master key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// The file does not exist.
    #[error("there is no master key at {0}; `gatewright keys init` creates one")]
    Missing(PathBuf),
    /// The file exists already and was not changed.
    #[error("{0} exists already and stays as it is")]
    Exists(PathBuf),
    /// The system does not let this process read the file.
    #[error("the master key at {} cannot be read: {}", .0.display(), Explained(.0, .1))]
    Unreadable(PathBuf, #[source] io::Error),
    /// The file may not be read, or has something else.
    #[error("the master key at {0}: {1}")]
    File(PathBuf, #[source] SecretFileError),
    /// The file cannot be written.
    #[error("the master key at {} cannot be written: {}", .0.display(), Explained(.0, .1))]
    Io(PathBuf, #[source] io::Error),
    /// The file does not contain a keyring.
    #[error("the master key at {0}: {1}")]
    Keyring(PathBuf, #[source] KeyringError),
}

/// Reads the keyring from a file of secrets.
pub fn read(path: &Path) -> Result<Keyring, MasterKeyError> {
    let bytes = secret_file::read(path).map_err(|why| match why {
        SecretFileError::Io(why) if why.kind() == ErrorKind::NotFound => {
            MasterKeyError::Missing(path.to_owned())
        }
        SecretFileError::Io(why) => MasterKeyError::Unreadable(path.to_owned(), why),
        why => MasterKeyError::File(path.to_owned(), why),
    })?;
    let text = std::str::from_utf8(bytes.expose()).map_err(io::Error::other);
    let text = text.map_err(|why| MasterKeyError::File(path.to_owned(), why.into()))?;
    Keyring::parse(text).map_err(|why| MasterKeyError::Keyring(path.to_owned(), why))
}

/// Creates a keyring with one new key, in a new file and if necessary a new directory. On success the file is
/// durable; on failure there is no partial file.
pub fn create(path: &Path, rng: &Rng) -> Result<Keyring, MasterKeyError> {
    let failed = |why: io::Error| match why.kind() {
        ErrorKind::AlreadyExists => MasterKeyError::Exists(path.to_owned()),
        _ => MasterKeyError::Io(path.to_owned(), why),
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let _folders = NewFolders::make(folder).map_err(failed)?;
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
    use std::os::unix::fs::PermissionsExt as _;

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
        std::fs::set_permissions(&path, Permissions::from_mode(0o604)).unwrap();
        let why = read(&path).err().unwrap().to_string();
        assert!(why.contains("0604") && why.contains("chmod 6"), "{why}");
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
        assert!(matches!(read(&path), Err(MasterKeyError::File(_, SecretFileError::TooLarge))));
        assert!(matches!(read(folder.path()), Err(MasterKeyError::File(_, SecretFileError::NotAFile))));
    }
}
