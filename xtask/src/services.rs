//! One PostgreSQL and one Redis for a whole test run, instead of one per test.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus};

use testkit::{Postgres, Redis, Scratch};

/// Runs the command with both servers and a temporary folder of its own, and returns its exit status. The
/// servers end with this process, and the folder is removed with what killed tests have left in it.
pub(crate) fn run(command: &str, arguments: &[&str]) -> ExitCode {
    // Every test has a pool or two, and as many tests run at once as there are cores.
    let postgres = Postgres::builder().setting("max_connections", "400").start();
    let redis = Redis::start();
    let scratch = Scratch::new();
    let status = Command::new(command)
        .args(arguments)
        .env("GATEWRIGHT_TEST_POSTGRES", postgres.url())
        .env("GATEWRIGHT_TEST_REDIS", redis.url())
        .env("TMPDIR", scratch.path())
        .status();
    match status {
        Ok(status) => ExitCode::from(code(status)),
        Err(error) => {
            eprintln!("cannot run {command}: {error}");
            ExitCode::from(127)
        }
    }
}

/// The exit status as a shell reports it: 128 plus the signal for a killed command.
pub(crate) fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_status_is_passed_on() {
        assert_eq!(code(ExitStatus::from_raw(0)), 0);
        assert_eq!(code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(code(ExitStatus::from_raw(9)), 137);
    }

    #[test]
    fn the_command_sees_both_servers() {
        let seen = "test -n \"$GATEWRIGHT_TEST_POSTGRES\" && test -n \"$GATEWRIGHT_TEST_REDIS\" && exit 5";
        assert_eq!(run("sh", &["-c", seen]), ExitCode::from(5));
        assert_eq!(run("/no/such/command", &[]), ExitCode::from(127));
    }

    #[test]
    fn what_the_command_leaves_in_its_temporary_folder_is_removed() {
        let note = tempfile::NamedTempFile::new().unwrap();
        let leave = "mktemp -d && printf %s \"$TMPDIR\" > \"$0\"";
        assert_eq!(run("sh", &["-c", leave, note.path().to_str().unwrap()]), ExitCode::SUCCESS);
        let folder = std::fs::read_to_string(note.path()).unwrap();
        assert!(folder.contains("gatewright-run-") && !std::path::Path::new(&folder).exists(), "{folder}");
    }
}
