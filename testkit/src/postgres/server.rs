//! One PostgreSQL server as a child process.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::client::{self, Row};
use super::installation::Installation;
use super::shared::SharedPostgres;
use crate::supervise::Supervised;
use crate::{free_port, unprivileged, wait};

const START_LIMIT: Duration = Duration::from_mins(1);
const STOP_LIMIT: Duration = Duration::from_secs(20);
const PORTS_TO_TRY: usize = 5;

/// The parameters of a server.
#[derive(Debug, Default)]
#[must_use]
pub struct PostgresBuilder {
    fsync: bool,
    settings: Vec<(String, String)>,
    files: Vec<(String, String)>,
}

impl PostgresBuilder {
    /// Whether a commit waits for the disk. Off by default: most tests do not simulate a power failure.
    pub fn fsync(mut self, fsync: bool) -> Self {
        self.fsync = fsync;
        self
    }

    /// A line of `postgresql.conf`.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A file of the data directory, for the server alone, such as `server.key` or `pg_hba.conf`.
    pub fn file(mut self, name: &str, content: &str) -> Self {
        self.files.push((name.to_owned(), content.to_owned()));
        self
    }

    /// Starts the server and returns when it answers a query.
    pub fn start(self) -> Postgres {
        let installation = Installation::find();
        let folder = tempfile::Builder::new().prefix("gatewright-postgres-").tempdir();
        let folder = folder.expect("the temporary folder is writable");
        unprivileged::give(folder.path(), installation.user);

        let data = folder.path().join("data");
        installation.copy_template(&data);
        for (name, content) in &self.files {
            let path = data.join(name);
            std::fs::write(&path, content).expect("the data directory is writable");
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&path, private).expect("the file is ours");
            unprivileged::give(&path, installation.user);
        }

        Postgres::on(folder, installation, self)
    }
}

/// A PostgreSQL of one test. Ended, and its folder removed, when dropped or when the test is killed.
#[derive(Debug)]
pub struct Postgres {
    // Dropped first: the folder can be removed only after the last write.
    process: Supervised,
    folder: TempDir,
    installation: Installation,
    builder: PostgresBuilder,
    port: u16,
}

impl Postgres {
    /// A server with the settings that start and commit fastest.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Starts a server on the data in `folder`.
    fn on(folder: TempDir, installation: Installation, builder: PostgresBuilder) -> Self {
        let process = Supervised::new(Some(folder.path()));
        let mut postgres = Self { process, folder, installation, builder, port: 0 };
        for _ in 0..PORTS_TO_TRY {
            postgres.port = free_port();
            if postgres.run() {
                return postgres;
            }
        }
        panic!("PostgreSQL does not start; its log:\n{}", postgres.log());
    }

    /// A hot standby that follows this server until it is promoted. This server is stopped and started again,
    /// to be copied.
    #[must_use]
    pub fn standby(&mut self) -> Self {
        let folder = tempfile::Builder::new().prefix("gatewright-standby-").tempdir();
        let folder = folder.expect("the temporary folder is writable");
        let (user, data) = (self.installation.user, folder.path().join("data"));
        unprivileged::give(folder.path(), user);

        self.stop_fast();
        let copied = Command::new("cp").arg("-a").arg(self.folder.path().join("data")).arg(&data).status();
        assert!(copied.is_ok_and(|status| status.success()), "the data can be copied");
        let follow = format!("primary_conninfo = 'host=127.0.0.1 port={} user=postgres'\n", self.port);
        for (name, content) in [("standby.signal", ""), ("postgresql.auto.conf", &follow)] {
            std::fs::write(data.join(name), content).expect("the data directory is writable");
            unprivileged::give(&data.join(name), user);
        }
        self.restart();
        Self::on(folder, Installation::find(), PostgresBuilder::default())
    }

    /// Ends the recovery of a standby: it accepts writes when this returns.
    pub fn promote(&self) {
        self.sql("SELECT pg_promote()");
    }

    /// A server with the given settings.
    pub fn builder() -> PostgresBuilder {
        PostgresBuilder::default()
    }

    /// The server that `GATEWRIGHT_TEST_POSTGRES` names, else a new one for this test.
    pub fn shared() -> SharedPostgres {
        SharedPostgres::from_environment()
    }

    /// The superuser's URL of the database `postgres`; no password.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The postmaster's process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Creates the database `name` and returns its URL.
    pub fn database(&self, name: &str) -> String {
        self.sql(&format!("CREATE DATABASE {}", client::quoted(name)));
        client::with_database(&self.url(), name)
    }

    /// Runs `sql` in the database `postgres`; panics with PostgreSQL's message if it fails.
    pub fn sql(&self, sql: &str) -> Vec<Row> {
        client::rows(&self.url(), sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The server's log so far.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.folder.path().join("postgres.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Pauses the postmaster and all of its processes: connections stay open without an answer.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.process.resume();
    }

    /// SIGKILL to all processes, like a power failure; `restart` recovers from the log.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Rolls back open transactions and ends connections, as an operator's `pg_ctl stop -m fast` does.
    pub fn stop_fast(&mut self) {
        let stopped = self.process.stop(Signal::INT, STOP_LIMIT);
        assert!(stopped.is_some(), "PostgreSQL did not stop within {STOP_LIMIT:?}; its log:\n{}", self.log());
    }

    /// Starts again on the same port and data, after `kill`, `stop_fast` or, if it still runs, a fast stop.
    pub fn restart(&mut self) {
        if self.process.is_running() {
            self.stop_fast();
        }
        assert!(self.run(), "PostgreSQL does not start again; its log:\n{}", self.log());
    }

    /// Whether the server started; it does not if another process has just taken the port.
    fn run(&mut self) -> bool {
        let log = File::options().create(true).append(true).open(self.folder.path().join("postgres.log"));
        let log = log.expect("the log can be opened");
        let mut command = self.installation.command("postgres");
        command.arg("-D").arg(self.folder.path().join("data")).args(["-p", &self.port.to_string()]);
        let switch = if self.builder.fsync { "on" } else { "off" };

        let ours = [
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", ""),
            ("shared_buffers", "32MB"),
            ("fsync", switch),
            ("full_page_writes", switch),
            ("log_line_prefix", "%m [%p] "),
        ];

        let theirs = self.builder.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in ours.into_iter().chain(theirs) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let stderr = log.try_clone().expect("the log can be opened twice");
        self.process.spawn(command.stdin(Stdio::null()).stdout(log).stderr(stderr));

        let up = wait::until(START_LIMIT, || {
            if self.process.ended().is_some() {
                return Some(false);
            }
            client::rows(&self.url(), "SELECT 1").is_ok().then_some(true)
        });
        up.unwrap_or_else(|| panic!("PostgreSQL gave no answer in {START_LIMIT:?}; its log:\n{}", self.log()))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // An immediate shutdown, unlike SIGKILL, releases its System V memory segment.
        let _status = self.process.stop(Signal::QUIT, STOP_LIMIT);
    }
}
