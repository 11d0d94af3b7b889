//! One PostgreSQL and one Redis for a whole test run, instead of one per test.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus};

use testkit::{Postgres, Redis};

/// Runs the command with both servers and returns its exit status. Both servers end with this process.
pub(crate) fn run(command: &str, arguments: &[&str]) -> ExitCode {
    // Every test has a pool or two, and as many tests run at once as there are cores.
    let postgres = Postgres::builder().setting("max_connections", "400").start();
    let redis = Redis::start();
    let status = Command::new(command)
        .args(arguments)
        .env("GATEWRIGHT_TEST_POSTGRES", postgres.url())
        .env("GATEWRIGHT_TEST_REDIS", redis.url())
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
}
