//! A temporary folder for a whole run of tests.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::TempDir;

use crate::supervise::Supervised;

/// A folder that every user may write to, as `/tmp`. Removed with all that it has when it is dropped, and by
/// a watchdog when this process is killed.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    _watchdog: Supervised,
}

impl Scratch {
    /// A new folder below the temporary folder of the system.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("gatewright-run-").tempdir();
        let folder = folder.expect("the temporary folder is writable");
        let open = Permissions::from_mode(0o1777);
        std::fs::set_permissions(folder.path(), open).expect("the folder is ours");
        let watchdog = Supervised::new(Some(folder.path()));
        Self { folder, _watchdog: watchdog }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::*;
    use crate::wait;

    #[test]
    fn it_is_removed_with_what_killed_children_leave_in_it() {
        let scratch = Scratch::new();
        let path = scratch.path().to_owned();
        std::fs::create_dir_all(path.join("left/behind")).unwrap();
        std::fs::write(path.join("left/file"), "x").unwrap();
        drop(scratch);
        assert!(!path.exists());
    }

    /// The test runs itself in another process, which kills itself while it has a folder.
    #[test]
    fn it_is_removed_when_its_process_is_killed() {
        const INSIDE: &str = "GATEWRIGHT_TEST_SCRATCH";
        if let Some(note) = std::env::var_os(INSIDE) {
            let scratch = Scratch::new();
            std::fs::write(scratch.path().join("file"), "x").unwrap();
            std::fs::write(note, scratch.path().display().to_string()).unwrap();
            std::process::abort();
        }

        let note = tempfile::NamedTempFile::new().unwrap();
        let aborted = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "scratch::tests::it_is_removed_when_its_process_is_killed"])
            .env(INSIDE, note.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(!aborted.unwrap().success());
        let path = std::fs::read_to_string(note.path()).unwrap();
        assert!(path.contains("gatewright-run-"), "{path}");
        wait::until(Duration::from_secs(30), || (!Path::new(&path).exists()).then_some(())).unwrap();
    }
}
