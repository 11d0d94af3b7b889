//! Clients that exist, in Python and Node, against the built binary. `cargo xtask clients` installs their
//! libraries; where that is not possible, `./test` leaves these tests out and says so.

mod generated;
mod matrix;
mod schemathesis;

use std::path::{Path, PathBuf};

use serde_json::Value;
use testkit::process::{Finished, Server, ServerBuilder};

/// The scripts of `tests/clients` in a folder of their own, beside the installed libraries.
pub(crate) struct Scripts {
    folder: tempfile::TempDir,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(sources()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
        }
        let modules = installed("node", "package-lock.json").join("node_modules");
        std::os::unix::fs::symlink(modules, folder.path().join("node_modules")).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program of the Python libraries.
    pub(crate) fn python(&self, program: &str) -> ServerBuilder {
        let program = installed("python", "requirements.txt").join("bin").join(program);
        self.program(program).env("PYTHONDONTWRITEBYTECODE", "1").env("NO_COLOR", "1")
    }

    /// Node, with the libraries in reach of scripts of this folder.
    pub(crate) fn node(&self) -> ServerBuilder {
        self.program("node")
    }

    fn program(&self, program: impl AsRef<std::ffi::OsStr>) -> ServerBuilder {
        Server::builder(program).folder(self.folder.path())
    }
}

/// The JSON that a script has written.
pub(crate) fn json_of(finished: &Finished) -> Value {
    let found: Result<Value, _> = serde_json::from_str(&finished.stdout);
    assert!(found.is_ok(), "no JSON: {}{}", finished.stdout, finished.stderr);
    found.unwrap()
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// The folder of the installed libraries of a language; they are those of its lock file.
fn installed(language: &str, lock: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/clients").join(language);
    let wanted = std::fs::read_to_string(sources().join(lock)).unwrap();
    let found = std::fs::read_to_string(folder.join("installed")).unwrap_or_default();
    assert!(found == wanted, "the libraries of tests/clients/{lock} are not installed: cargo xtask clients");
    folder
}

/// Compares a page of the documentation with what a run gives; `INSTA_UPDATE=always` writes it.
#[expect(clippy::disallowed_methods, reason = "the environment says whether to write pages")]
fn assert_is_page(path: &Path, page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(&path, page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = found.lines().zip(page.lines()).find(|(found, made)| found != made);
    let path = path.display();
    assert!(
        found == page,
        "{path} is not what the libraries do: INSTA_UPDATE=always writes it\n{differs:#?}"
    );
}
