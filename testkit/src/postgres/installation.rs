//! PostgreSQL's programs, and a data folder that is created once and copied for each server.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::unprivileged::{self, User};

const DEBIAN: &str = "/usr/lib/postgresql";
const KEPT_FOR: Duration = Duration::from_hours(24);

#[derive(Debug)]
pub(super) struct Installation {
    folder: PathBuf,
    pub(super) user: Option<User>,
}

impl Installation {
    /// From `PATH`, else the newest under Debian's folder.
    pub(super) fn find() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        folders.extend(debian());
        let complete =
            |folder: &PathBuf| ["initdb", "postgres"].iter().all(|name| folder.join(name).is_file());
        let folder = folders.into_iter().find(complete).unwrap_or_else(|| {
            panic!("no initdb and postgres in PATH or {DEBIAN}/*/bin: install the package postgresql")
        });
        Self { folder, user: User::to_drop_to() }
    }

    /// A command that runs as a user that PostgreSQL accepts, with a fixed language and time zone.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.folder.join(program));
        command.current_dir("/").env("LC_ALL", "C").env("TZ", "UTC").env_remove("PGDATA");
        unprivileged::run_as(&mut command, self.user);
        command
    }

    /// Creates a fresh data folder at `data`, whose parent belongs to the user of the servers. The copied
    /// template is of this version and user: `initdb` takes a second, a copy a few hundredths.
    pub(super) fn copy_template(&self, data: &Path) {
        let owner = unprivileged::owner(self.user);
        let name = format!("gatewright-testkit-postgres-{}-{owner}", self.version());
        let template = std::env::temp_dir().join(name);
        // Held until the copy is done, so that the template is not rebuilt meanwhile.
        let lock =
            File::create(format!("{}.lock", template.display())).expect("the temporary folder is writable");
        lock.lock().expect("the template can be locked");
        if is_old(&template) {
            std::fs::remove_dir_all(&template).expect("an old template can be removed");
        }
        if !template.exists() {
            self.make_template(&template);
        }
        let metadata = template.metadata().expect("the template has metadata");
        // Other users can guess the name: trust only a folder that we own.
        assert_eq!(metadata.uid(), owner, "{} belongs to somebody else", template.display());
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(&template).arg(data).current_dir("/");
        unprivileged::run_as(&mut copy, self.user);
        finish(&mut copy);
    }

    /// Created beside it and renamed, so that an existing template is complete.
    fn make_template(&self, template: &Path) {
        let aside = tempfile::Builder::new().prefix("gatewright-initdb-").tempdir();
        let aside = aside.expect("the temporary folder is writable");
        unprivileged::give(aside.path(), self.user);
        let data = aside.path().join("data");
        let mut initdb = self.command("initdb");
        initdb.arg("-D").arg(&data);
        finish(initdb.args([
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--wal-segsize=1",
            "--no-sync",
            "--no-instructions",
        ]));
        std::fs::rename(&data, template).expect("the template can be moved into place");
    }

    /// For example `15.19`.
    fn version(&self) -> String {
        let mut ask = self.command("postgres");
        let output = finish(ask.arg("--version"));
        let version =
            output.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
        version.unwrap_or_else(|| panic!("no version in {output:?}")).to_owned()
    }
}

/// Systems remove old files from the temporary folder one by one, which would leave an incomplete template.
fn is_old(template: &Path) -> bool {
    let made = template.metadata().and_then(|metadata| metadata.modified());
    made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > KEPT_FOR))
}

/// Newest first.
fn debian() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(DEBIAN) else { return Vec::new() };
    let mut versions: Vec<u32> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions.iter().map(|version| PathBuf::from(format!("{DEBIAN}/{version}/bin"))).collect()
}

/// Runs to the end and returns the output; panics with both outputs if it fails.
fn finish(command: &mut Command) -> String {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {}\n{printed}{complaint}", output.status);
    printed
}
