//! Reads files that hold secrets: the master key, the secret of HS256, private keys, secrets of sinks.
//!
//! One rule for all of them, which is that of PostgreSQL for its private key and lets the files of container
//! platforms pass: a file of the server's own user is for that user alone; one that root owns may be readable
//! by the server's group (a Kubernetes secret is 0440, `root` and `fsGroup`). Docker and Swarm mount secrets
//! that every user of the container can read (0444) below `/run/secrets`: they are accepted with a warning.
//! A command that root runs beside a server of another user reads the files of that user: those that no one
//! else can access.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use model::Secret;

/// Largest file that is read, in bytes.
const MOST_BYTES: u64 = 64 * 1024;
/// Where container platforms mount secrets.
const MOUNTED: &str = "/run/secrets";

/// Why a file of secrets is not read.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The file does not exist, or cannot be opened or read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is a directory, or something else that has no content of its own.
    #[error("it is not a file")]
    NotAFile,
    /// It is larger than any secret.
    #[error("it is larger than 64 KiB")]
    TooLarge,
    /// Others than the server's user can access it; its permission bits.
    #[error(
        "others can read or change it (mode {0:04o}): `chmod 600` it, and replace the secret if others could \
         read it"
    )]
    Exposed(u32),
    /// Root owns it, and others than root's group can access it, or the group can change it.
    #[error(
        "others can read or change it (mode {0:04o}): `chmod 640` it, and replace the secret if others could \
         read it"
    )]
    ExposedOfRoot(u32),
    /// Another user owns it, and can change it.
    #[error(
        "it belongs to the user {owner}, and this process runs as the user {user}: it has to belong to that \
             user or to root"
    )]
    Owner {
        /// The owner.
        owner: u32,
        /// The user of this process.
        user: u32,
    },
}

/// Who may access a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Access {
    owner: u32,
    mode: u32,
}

/// Reads a whole file that only the server may read.
///
/// # Errors
/// [`SecretFileError`]; nothing is read from a file that the rule refuses.
pub(crate) fn read(path: &Path) -> Result<Secret<Vec<u8>>, SecretFileError> {
    // A pipe is not opened: that would wait for a program that writes into it.
    if !std::fs::metadata(path)?.is_file() {
        return Err(SecretFileError::NotAFile);
    }
    let file = File::open(path)?;
    // Checks the open file, so that it cannot be replaced between check and read.
    let about = file.metadata()?;
    let access = Access::of(&about);
    if access.check(rustix::process::geteuid().as_raw(), is_mounted(path))? {
        let path = path.display();
        tracing::warn!(%path, "every user of this machine or container can read a file of secrets");
    }

    if about.len() > MOST_BYTES {
        return Err(SecretFileError::TooLarge);
    }
    // One byte more than the file has, so that the vector does not grow and leave a copy behind.
    let room = usize::try_from(about.len()).unwrap_or_default() + 1;
    let mut bytes = Vec::with_capacity(room);
    let ended = file.take(MOST_BYTES).read_to_end(&mut bytes);
    let bytes = Secret::new(bytes);
    ended?;
    Ok(bytes)
}

/// Reads a private key, as [`read`].
pub(crate) fn read_key(path: &Path) -> io::Result<Vec<u8>> {
    match read(path) {
        Ok(key) => Ok(key.expose().clone()),
        Err(SecretFileError::Io(why)) => Err(why),
        Err(why) => Err(io::Error::other(why)),
    }
}

/// Whether the file, after links, is where container platforms mount secrets.
fn is_mounted(path: &Path) -> bool {
    path.canonicalize().is_ok_and(|path| path.starts_with(MOUNTED))
}

impl Access {
    fn of(about: &Metadata) -> Self {
        Self { owner: about.uid(), mode: about.mode() & 0o7777 }
    }

    /// Applies the rule for a server that runs as `user`. Returns whether every user can read a mounted
    /// secret, which deserves a warning.
    fn check(self, user: u32, is_mounted: bool) -> Result<bool, SecretFileError> {
        const ROOT: u32 = 0;
        let Self { owner, mode } = self;
        // Root reads what the server's user alone can access.
        if owner != ROOT && owner != user && user != ROOT {
            return Err(SecretFileError::Owner { owner, user });
        }
        let refused = if owner == ROOT { 0o027 } else { 0o077 };
        if mode & refused == 0 {
            return Ok(false);
        }
        if is_mounted && mode & 0o022 == 0 {
            return Ok(true);
        }
        Err(if owner == ROOT { SecretFileError::ExposedOfRoot(mode) } else { SecretFileError::Exposed(mode) })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const ROOT: u32 = 0;
    const SERVER: u32 = 10_001;

    fn check(owner: u32, mode: u32, is_mounted: bool) -> Result<bool, SecretFileError> {
        Access { owner, mode }.check(SERVER, is_mounted)
    }

    #[test]
    fn a_file_of_the_servers_user_is_for_that_user_alone() {
        for mode in [0o600, 0o400, 0o700] {
            assert!(matches!(check(SERVER, mode, false), Ok(false)), "{mode:o}");
        }
        for mode in [0o640, 0o604, 0o660, 0o610, 0o440, 0o444, 0o602, 0o601] {
            assert!(matches!(check(SERVER, mode, false), Err(SecretFileError::Exposed(_))), "{mode:o}");
        }
    }

    #[test]
    fn a_file_of_root_may_be_readable_by_the_servers_group() {
        for mode in [0o600, 0o400, 0o440, 0o640] {
            assert!(matches!(check(ROOT, mode, false), Ok(false)), "{mode:o}");
        }
        for mode in [0o660, 0o644, 0o444, 0o460, 0o604, 0o641] {
            assert!(matches!(check(ROOT, mode, false), Err(SecretFileError::ExposedOfRoot(_))), "{mode:o}");
        }
    }

    #[test]
    fn a_mounted_secret_that_every_user_can_read_is_warned_of_and_one_that_others_can_change_is_refused() {
        assert!(matches!(check(ROOT, 0o444, true), Ok(true)));
        assert!(matches!(check(SERVER, 0o444, true), Ok(true)));
        assert!(matches!(check(ROOT, 0o440, true), Ok(false)));
        for mode in [0o446, 0o464, 0o666] {
            assert!(check(ROOT, mode, true).is_err(), "{mode:o}");
        }
        assert!(!is_mounted(Path::new("/run/secrets/../../etc/hosts")));
    }

    #[test]
    fn a_file_of_another_user_is_refused() {
        for (mode, is_mounted) in [(0o600, false), (0o444, true)] {
            let refused = check(10_002, mode, is_mounted).unwrap_err().to_string();
            assert!(refused.contains("10002") && refused.contains("10001"), "{refused}");
        }
    }

    #[test]
    fn root_reads_a_file_that_only_the_servers_user_can_access() {
        let check = |mode| Access { owner: SERVER, mode }.check(ROOT, false);
        assert!(matches!(check(0o600), Ok(false)));
        for mode in [0o640, 0o604, 0o660] {
            assert!(matches!(check(mode), Err(SecretFileError::Exposed(_))), "{mode:o}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_do_and_a_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "s3cret").unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();

        let refused = read(&link).unwrap_err().to_string();
        assert!(refused.contains("mode 0644") && refused.contains("chmod 6"), "{refused}");
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read(&link).unwrap().expose(), b"s3cret");
        assert!(matches!(read(folder.path()), Err(SecretFileError::NotAFile)));
    }
}
