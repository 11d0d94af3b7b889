//! Whose the files of the data directory are, and as whom a command makes its own.
//!
//! One rule (ADR 25): a command that root runs beside the data of another user makes its files as that user,
//! and a server that root starts there is refused. Files that the operator names, such as an export, are read
//! and made as the operator: [`as_operator`].

use std::ffi::CString;
use std::fmt;
use std::fs::{DirBuilder, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, User};

use crate::app::master_key::MasterKeyError;
use crate::app::start_error::StartError;
use crate::config::{Config, DatabaseUrl};

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    uid: Uid,
    gid: Gid,
    name: Option<String>,
}

impl Owner {
    fn of(about: &Metadata) -> Self {
        let uid = Uid::from_raw(about.uid());
        let known = User::from_uid(uid).ok().flatten();
        let gid = known.as_ref().map_or(Gid::from_raw(about.gid()), |user| user.gid);
        Self { uid, gid, name: known.map(|user| user.name) }
    }

    fn is_this_process(&self) -> bool {
        self.uid == Uid::effective()
    }

    /// How a shell runs a command as this user.
    fn sudo(&self) -> String {
        match &self.name {
            Some(name) => format!("sudo -u {name}"),
            None => format!("sudo -u '#{}'", self.uid),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.uid),
        }
    }
}

/// Where a server keeps what only its own user writes; the first one that is there shows the user. A data
/// directory may be the root of a volume, which belongs to root although the server's user writes in it.
fn places(config: &Config) -> impl Iterator<Item = PathBuf> {
    let database = match &config.database.url {
        DatabaseUrl::Sqlite(path) => Some(path.clone()),
        DatabaseUrl::Postgres(_) => None,
    };
    let data = &config.data_dir;
    [Some(data.join("audit")), database, Some(data.clone())].into_iter().flatten()
}

/// The user of existing data, and the place that shows it.
fn existing(config: &Config) -> Option<(PathBuf, Owner)> {
    places(config).find_map(|place| {
        let about = place.metadata().ok()?;
        Some((place, Owner::of(&about)))
    })
}

/// The user to whom new data belong: that of the master key, else of the folder in which they are made.
fn intended(config: &Config) -> Option<(PathBuf, Owner)> {
    let data = std::path::absolute(&config.data_dir).ok()?;
    let above = data.ancestors().skip(1).map(Path::to_owned).collect::<Vec<_>>();
    std::iter::once(config.master_key_file.clone()).chain(above).find_map(|place| {
        let about = place.metadata().ok()?;
        Some((place, Owner::of(&about)))
    })
}

/// For every command: where root runs it, this process makes its files as the user of the data from now on.
///
/// # Errors
/// [`StartError::OtherOwner`] where the system does not allow it.
pub(crate) fn act_as_owner(config: &Config) -> Result<(), StartError> {
    let Some((place, owner)) = existing(config).or_else(|| intended(config)) else { return Ok(()) };
    if owner.is_this_process() || !Uid::effective().is_root() {
        return Ok(());
    }
    let is_done = become_user(&owner);
    if is_done { Ok(()) } else { Err(StartError::OtherOwner { place, sudo: owner.sudo(), owner }) }
}

/// Runs `make` as the user of the data, and where that user may not write there, as the operator; what was
/// made is given to the user of the data then.
///
/// # Errors
/// Those of `make`.
pub(crate) fn make_for_owner<T>(
    config: &Config,
    path: &Path,
    make: impl Fn() -> Result<T, MasterKeyError>,
) -> Result<T, MasterKeyError> {
    let owner = existing(config).or_else(|| intended(config)).map(|(_, owner)| owner);
    match make() {
        Err(MasterKeyError::Io(_, why))
            if why.kind() == ErrorKind::PermissionDenied && Uid::effective().is_root() =>
        {
            as_operator(|| {
                let made = make()?;
                let Some(Owner { uid, gid, .. }) = owner else { return Ok(made) };
                std::os::unix::fs::chown(path, Some(uid.as_raw()), Some(gid.as_raw()))
                    .map_err(|why| MasterKeyError::Io(path.to_owned(), why))?;
                Ok(made)
            })
        }
        made => made,
    }
}

/// For the server: root serves no data of another user, who could not write them afterwards.
///
/// # Errors
/// [`StartError::OtherOwner`].
pub(crate) fn refuse_data_of_others(config: &Config) -> Result<(), StartError> {
    match existing(config) {
        Some((place, owner)) if Uid::effective().is_root() && !owner.is_this_process() => {
            Err(StartError::OtherOwner { place, sudo: owner.sudo(), owner })
        }
        _ => Ok(()),
    }
}

/// Gives this thread, and those that it starts, the rights of a user on files.
#[cfg(target_os = "linux")]
fn become_user(owner: &Owner) -> bool {
    use nix::unistd::{initgroups, setfsgid, setfsuid, setgroups};

    let name = owner.name.as_ref().and_then(|name| CString::new(name.as_str()).ok());
    // Without the user's groups, files that only a group may read are refused with their names.
    let _ = match name {
        Some(name) => initgroups(&name, owner.gid),
        None => setgroups(&[owner.gid]),
    };
    setfsgid(owner.gid);
    setfsuid(owner.uid);
    // The calls return what was before, and no error.
    setfsuid(owner.uid) == owner.uid
}

#[cfg(not(target_os = "linux"))]
fn become_user(_: &Owner) -> bool {
    false
}

/// Reads or makes a file that the operator has named with the operator's own rights.
pub(crate) fn as_operator<T>(work: impl FnOnce() -> T) -> T {
    let _operator = AsOperator::begin();
    work()
}

/// Until it is dropped, this thread has the rights of the process on files again.
pub(crate) struct AsOperator {
    #[cfg(target_os = "linux")]
    before: (Uid, Gid),
}

impl AsOperator {
    #[cfg(target_os = "linux")]
    pub(crate) fn begin() -> Self {
        let uid = nix::unistd::setfsuid(Uid::effective());
        Self { before: (uid, nix::unistd::setfsgid(Gid::effective())) }
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn begin() -> Self {
        Self {}
    }
}

impl Drop for AsOperator {
    fn drop(&mut self) {
        #[cfg(target_os = "linux")]
        {
            nix::unistd::setfsgid(self.before.1);
            nix::unistd::setfsuid(self.before.0);
        }
    }
}

/// Whether something is at a path. What may not be looked at is not absent.
///
/// # Errors
/// [`StartError::Unreadable`].
pub(crate) fn is_there(path: &Path) -> Result<bool, StartError> {
    path.try_exists().map_err(|why| StartError::Unreadable(path.to_owned(), why))
}

/// An error of the system about a file, and as whom to run where the file is another user's.
pub(crate) struct Explained<'a>(pub(crate) &'a Path, pub(crate) &'a io::Error);

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(path, why) = self;
        write!(f, "{why}")?;
        if why.kind() != ErrorKind::PermissionDenied {
            return Ok(());
        }
        let Ok(path) = std::path::absolute(path) else { return Ok(()) };
        let seen = path.ancestors().find_map(|place| Some((place, place.metadata().ok()?)));
        let Some((place, owner)) = seen.map(|(place, about)| (place, Owner::of(&about))) else {
            return Ok(());
        };
        let (shown, sudo) = (place.display(), owner.sudo());
        match owner.uid.is_root() {
            true => write!(f, "; {shown} belongs to root"),
            false if owner.is_this_process() => Ok(()),
            false => write!(f, "; {shown} belongs to the user {owner}: run this as that user (`{sudo} …`)"),
        }
    }
}

/// Folders that were made; dropping removes those that are still empty, so that a failed start leaves none.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct NewFolders(Vec<PathBuf>);

impl NewFolders {
    /// Makes a folder and those above it, for this user alone.
    ///
    /// # Errors
    /// That of the system.
    pub(crate) fn make(path: &Path) -> io::Result<Self> {
        let mut missing = Vec::new();
        for place in path.ancestors().filter(|place| !place.as_os_str().is_empty()) {
            if place.try_exists()? {
                break;
            }
            missing.push(place.to_owned());
        }
        let made = Self(missing);
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        Ok(made)
    }

    /// Leaves the folders where they are, for what is written later.
    pub(crate) fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for NewFolders {
    fn drop(&mut self) {
        for folder in &self.0 {
            // A folder with content is not removed, nor those above it.
            let _ = std::fs::remove_dir(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_stay_empty_are_removed_and_others_stay() {
        let place = tempfile::tempdir().unwrap();
        let deep = place.path().join("a/b/c");
        drop(NewFolders::make(&deep).unwrap());
        assert!(!place.path().join("a").exists());

        let made = NewFolders::make(&deep).unwrap();
        std::fs::write(place.path().join("a/b/file"), "").unwrap();
        drop(made);
        assert!(!deep.exists() && place.path().join("a/b/file").exists());
        drop(NewFolders::make(&place.path().join("a/b")).unwrap());
        assert!(place.path().join("a/b").exists(), "it was there before");
    }

    #[test]
    fn the_owner_of_what_the_server_writes_is_the_user_of_the_data() {
        let place = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.data_dir = place.path().join("data");
        config.master_key_file = config.data_dir.join("master.key");
        assert_eq!(existing(&config), None);
        assert_eq!(intended(&config).unwrap().0, place.path());
        std::fs::create_dir_all(config.data_dir.join("audit")).unwrap();
        let (shown_by, owner) = existing(&config).unwrap();
        assert!(shown_by.ends_with("audit") && owner.is_this_process());
        assert!(act_as_owner(&config).is_ok() && refuse_data_of_others(&config).is_ok());
    }
}
