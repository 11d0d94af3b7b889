//! A throwaway Redis (or Valkey), to be paused, killed and started again.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::supervise::Supervised;
use crate::{free_port, wait};

const VARIABLE: &str = "GATEWRIGHT_TEST_REDIS";
const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(10);
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
const PORTS_TO_TRY: usize = 5;

/// A Redis of one test, without persistence. Ended when dropped or when the test is killed.
#[derive(Debug)]
pub struct Redis {
    // Dropped first: the folder can be removed only after the last write.
    process: Supervised,
    folder: TempDir,
    program: PathBuf,
    port: u16,
    role: Role,
}

/// What the program is started as.
#[derive(Debug)]
enum Role {
    /// A server, with these arguments.
    Server(Vec<String>),
    /// A Sentinel, with these lines of configuration.
    Sentinel(String),
}

impl Redis {
    /// Starts the server and returns when it answers.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts the server with further arguments.
    pub fn start_with(arguments: &[&str]) -> Self {
        Self::start_as(Role::Server(arguments.iter().map(|&argument| argument.to_owned()).collect()))
    }

    /// Starts a Sentinel with further lines of configuration.
    pub(crate) fn start_sentinel(configuration: &str) -> Self {
        Self::start_as(Role::Sentinel(configuration.to_owned()))
    }

    fn start_as(role: Role) -> Self {
        let folder = tempfile::Builder::new().prefix("gatewright-redis-").tempdir();
        let folder = folder.expect("the temporary folder is writable");
        let process = Supervised::new(Some(folder.path()));
        let mut redis = Self { process, folder, program: program(), port: 0, role };
        for _ in 0..PORTS_TO_TRY {
            redis.port = free_port();
            if redis.run() {
                return redis;
            }
        }
        panic!("Redis does not start; its log:\n{}", redis.log());
    }

    /// The server that `GATEWRIGHT_TEST_REDIS` names, else a new one for this test.
    pub fn shared() -> SharedRedis {
        if let Ok(url) = std::env::var(VARIABLE) {
            return SharedRedis { url, _own: None };
        }
        let own = Self::start();
        SharedRedis { url: own.url(), _own: Some(own) }
    }

    /// Where to connect; no password.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The server's log so far.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.folder.path().join("redis.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Whether it answers `PING` within a second.
    pub fn answers(&self) -> bool {
        ping(self.port).unwrap_or(false)
    }

    /// Sends a command, its words separated by spaces, and returns the answer as it was sent.
    pub fn command(&self, command: &str) -> String {
        ask(self.port, command).unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// Pauses it: connections stay open without an answer.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.process.resume();
    }

    /// SIGKILL. Its data is lost.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts again, empty, on the same port.
    pub fn restart(&mut self) {
        let _status = self.process.stop(Signal::TERM, STOP_LIMIT);
        self.process.kill();
        assert!(self.run(), "Redis does not start again; its log:\n{}", self.log());
    }

    /// Whether the server started; it does not if another process has just taken the port.
    fn run(&mut self) -> bool {
        let log = File::options().create(true).append(true).open(self.folder.path().join("redis.log"));
        let log = log.expect("the log can be opened");
        let stderr = log.try_clone().expect("the log can be opened twice");
        let mut command = Command::new(&self.program);

        match &self.role {
            Role::Server(arguments) => {
                command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string()]);
                command
                    .args(["--save", "", "--appendonly", "no", "--daemonize", "no", "--dir"])
                    .arg(self.folder.path())
                    .args(arguments);
            }
            Role::Sentinel(lines) => {
                let file = self.folder.path().join("sentinel.conf");
                let text = format!(
                    "bind 127.0.0.1\nport {}\ndir {}\n{lines}",
                    self.port,
                    self.folder.path().display()
                );
                std::fs::write(&file, text).expect("the configuration can be written");
                command.arg(file).arg("--sentinel");
            }
        }

        self.process.spawn(command.stdin(Stdio::null()).stdout(log).stderr(stderr));
        let up = wait::until(START_LIMIT, || {
            if self.process.ended().is_some() {
                return Some(false);
            }
            self.answers().then_some(true)
        });
        up.unwrap_or_else(|| panic!("Redis gave no answer in {START_LIMIT:?}; its log:\n{}", self.log()))
    }
}

/// A server that other tests may also use: prefix keys with `random::name`, flush nothing.
#[derive(Debug)]
pub struct SharedRedis {
    url: String,
    // Held for its `Drop`.
    _own: Option<Redis>,
}

impl SharedRedis {
    /// Where to connect; no password.
    pub fn url(&self) -> &str {
        &self.url
    }
}

fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = std::env::split_paths(&path)
        .flat_map(|folder| ["redis-server", "valkey-server"].map(|name| folder.join(name)));
    candidates
        .find(|candidate| candidate.is_file())
        .expect("no redis-server or valkey-server in PATH: install the package redis-server")
}

fn ping(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer)?;
    Ok(&answer == b"+PONG\r\n")
}

/// Sends a command on a connection of its own.
fn ask(port: u16, command: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(START_LIMIT))?;
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    let mut answer = String::new();
    answer_of(&mut BufReader::new(stream), &mut answer)?;
    Ok(answer)
}

/// Reads one answer of RESP 2 as it was sent.
fn answer_of(stream: &mut impl BufRead, answer: &mut String) -> std::io::Result<()> {
    let begin = answer.len();
    stream.read_line(answer)?;
    let line = answer.get(begin..).unwrap_or_default().trim_end();
    let (kind, length) = line.split_at_checked(1).unwrap_or_default();
    let length = length.parse::<u64>();
    match (kind, length) {
        ("$", Ok(length)) => stream.take(length + 2).read_to_string(answer).map(drop),
        ("*", Ok(length)) => (0..length).try_for_each(|_| answer_of(stream, answer)),
        _ => Ok(()),
    }
}
