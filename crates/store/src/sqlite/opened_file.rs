//! Whether an open file of a database is still the one at its path.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::OnceLock;

/// Device and number of a file.
type Identity = (u64, u64);

/// A file that was opened.
#[derive(Debug)]
pub(crate) struct OpenedFile {
    path: Box<Path>,
    file: Option<Identity>,
    /// The same of its write-ahead log, which is there while the file is open.
    log: OnceLock<Identity>,
}

impl OpenedFile {
    /// The file that was opened at this path.
    pub(crate) fn of(path: &Path) -> Self {
        Self { path: path.into(), file: identity(path), log: OnceLock::new() }
    }

    /// Whether the opened file and its log are still those at their paths: in others every write would be
    /// lost. The first call that finds the log remembers it.
    pub(crate) fn is_in_place(&self) -> bool {
        if self.file.is_none() {
            return true;
        }
        let mut log = self.path.as_os_str().to_owned();
        log.push("-wal");
        let has_log = match identity(Path::new(&log)) {
            Some(found) => *self.log.get_or_init(|| found) == found,
            None => self.log.get().is_none(),
        };
        has_log && identity(&self.path) == self.file
    }
}

fn identity(path: &Path) -> Option<Identity> {
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}
