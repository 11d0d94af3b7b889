//! Libraries of Python and Node that tests use as clients, in `target/clients`: the versions that
//! `tests/clients` locks. They are installed once for each change of a lock file.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};
use std::{io, thread};

/// A file of this name, written last, holds the lock file that was installed.
const STAMP: &str = "installed";

/// Installs what is missing. Fails with the reason, for example that a registry does not answer.
pub(crate) fn run(root: &Path) -> Result<ExitCode, String> {
    let (locks, target) = (root.join("tests/clients"), root.join("target/clients"));
    let (python, node) = thread::scope(|scope| {
        let python = scope.spawn(|| install(&locks, "requirements.txt", &target.join("python"), python));
        let node = scope.spawn(|| install(&locks, "package-lock.json", &target.join("node"), node));
        (python.join(), node.join())
    });

    let outcomes = [("Python", python), ("Node", node)].map(|(language, outcome)| {
        let outcome = outcome.unwrap_or_else(|_| Err("the installation panicked".to_owned()));
        outcome.map_err(|why| format!("the libraries of {language} cannot be installed: {why}"))
    });
    let failures: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    if failures.is_empty() { Ok(ExitCode::SUCCESS) } else { Err(failures.join("\n")) }
}

/// Installs what a lock file names into a folder, unless that has been done.
fn install(
    locks: &Path,
    lock: &str,
    folder: &Path,
    fill: impl Fn(&Path, &Path) -> Result<(), String>,
) -> Result<(), String> {
    let told = |why: io::Error| why.to_string();
    let wanted = fs::read_to_string(locks.join(lock)).map_err(told)?;
    let stamp = folder.join(STAMP);
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    println!("installing the libraries of tests/clients/{lock}");
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(told)?;
    }
    fs::create_dir_all(folder).map_err(told)?;
    fill(locks, folder)?;
    fs::write(stamp, wanted).map_err(told)
}

fn python(locks: &Path, folder: &Path) -> Result<(), String> {
    call(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input", "--retries", "1"]);
    call(pip.args(["--require-hashes", "-r"]).arg(locks.join("requirements.txt")))
}

fn node(locks: &Path, folder: &Path) -> Result<(), String> {
    for file in ["package.json", "package-lock.json"] {
        fs::copy(locks.join(file), folder.join(file)).map_err(|why| why.to_string())?;
    }
    let mut npm = Command::new("npm");
    npm.args([
        "ci",
        "--ignore-scripts",
        "--engine-strict",
        "--no-audit",
        "--no-fund",
        "--no-update-notifier",
    ]);
    call(npm.args(["--loglevel", "error", "--fetch-retries", "1"]).current_dir(folder))
}

fn call(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status: ExitStatus = command.status().map_err(|why| format!("{program}: {why}"))?;
    if status.success() { Ok(()) } else { Err(format!("{program}: {status}")) }
}
