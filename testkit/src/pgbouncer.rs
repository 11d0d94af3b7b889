//! A throwaway PgBouncer in front of a PostgreSQL.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::postgres::rows;
use crate::supervise::Supervised;
use crate::unprivileged::{self, User};
use crate::{Postgres, free_port, wait};

const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(10);
const PORTS_TO_TRY: usize = 5;

/// A PgBouncer of one test, as PostgreSQL's superuser without a password. Ended when dropped or when the test
/// is killed.
#[derive(Debug)]
pub struct PgBouncer {
    // Dropped first: the folder can be removed only after the last write.
    process: Supervised,
    folder: TempDir,
    port: u16,
}

impl PgBouncer {
    /// Starts it with a pool mode (`transaction`, `session` or `statement`) and a number of server
    /// connections for each database.
    pub fn start(server: &Postgres, mode: &str, pool_size: u32) -> Self {
        let folder = tempfile::Builder::new().prefix("gatewright-pgbouncer-").tempdir();
        let folder = folder.expect("the temporary folder is writable");
        let user = User::to_drop_to();
        unprivileged::give(folder.path(), user);
        let mut bouncer = Self { process: Supervised::new(Some(folder.path())), folder, port: 0 };
        for _ in 0..PORTS_TO_TRY {
            bouncer.port = free_port();
            if bouncer.run(server.port(), mode, pool_size, user) {
                return bouncer;
            }
        }
        panic!("PgBouncer does not start; its log:\n{}", bouncer.log());
    }

    /// The URL of a database of the server behind it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.folder.path().join("pgbouncer.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Whether it started; it does not if another process has just taken the port.
    fn run(&mut self, upstream: u16, mode: &str, pool_size: u32, user: Option<User>) -> bool {
        let path = |name: &str| self.folder.path().join(name);
        std::fs::write(path("users.txt"), "\"postgres\" \"\"\n").expect("the folder is writable");
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={upstream}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = {mode}\n\
             default_pool_size = {pool_size}\nmax_client_conn = 200\n",
            self.port,
            path("users.txt").display()
        );
        let file = path("pgbouncer.ini");
        std::fs::write(&file, settings).expect("the folder is writable");

        let log = File::options().create(true).append(true).open(path("pgbouncer.log"));
        let log = log.expect("the log can be opened");
        let stderr = log.try_clone().expect("the log can be opened twice");
        let mut command = Command::new(program());
        unprivileged::run_as(&mut command, user);
        command.arg(&file).current_dir("/").stdin(Stdio::null()).stdout(log).stderr(stderr);
        self.process.spawn(&mut command);

        // Only the statement mode refuses a simple query in no case.
        let up = wait::until(START_LIMIT, || {
            if self.process.ended().is_some() {
                return Some(false);
            }
            rows(&self.url("postgres"), "SELECT 1").is_ok().then_some(true)
        });
        up.unwrap_or_else(|| panic!("PgBouncer gave no answer in {START_LIMIT:?}; its log:\n{}", self.log()))
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _status = self.process.stop(Signal::INT, STOP_LIMIT);
    }
}

fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([Path::new("/usr/sbin").to_path_buf()]);
    folders
        .map(|folder| folder.join("pgbouncer"))
        .find(|candidate| candidate.is_file())
        .expect("no pgbouncer in PATH: install the package pgbouncer")
}
