//! A built `gatewright` as a child process: start, requests, signals, kill.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

pub use rustix::process::Signal;

use crate::supervise::Supervised;
use crate::unprivileged::{self, User};
use crate::wait;

const START_LIMIT: Duration = Duration::from_mins(1);
const STOP_LIMIT: Duration = Duration::from_mins(1);
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// Settings of the test environment that the program under test must not see.
const OURS: [&str; 6] = ["GATEWRIGHT_", "DATABASE_URL", "REDIS_URL", "DB_POOL_", "OTEL_", "RUST_LOG"];

/// The settings of `rate_limits`.
pub const LIMITS: [&str; 5] = ["register", "login", "refresh", "global", "account_login"];

/// The built binary: of `GATEWRIGHT_TEST_BINARY`, else of the test runner, else beside the test's own target
/// folder.
pub fn gatewright() -> PathBuf {
    let named = ["GATEWRIGHT_TEST_BINARY", "NEXTEST_BIN_EXE_gatewright", "CARGO_BIN_EXE_gatewright"];
    let named = named.iter().find_map(std::env::var_os).map(PathBuf::from);
    let built = || {
        let test = std::env::current_exe().ok()?;
        Some(test.parent()?.parent()?.join("gatewright"))
    };
    let binary = named.or_else(built).expect("a test has a path");
    assert!(binary.is_file(), "{} is not built: cargo build -p gatewright", binary.display());
    binary
}

/// The parameters of a process.
#[derive(Debug)]
#[must_use]
pub struct ServerBuilder {
    command: Command,
    ready: Ready,
}

#[derive(Debug)]
enum Ready {
    AtOnce,
    Line(String),
    Healthy(SocketAddr),
}

/// The result of a command.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The exit status.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

impl ServerBuilder {
    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Switches the limits of requests off, for a server that gets many requests from one address.
    pub fn without_limits(self) -> Self {
        LIMITS.iter().fold(self, |builder, name| {
            builder.env(format!("GATEWRIGHT_RATE_LIMITS__{}", name.to_ascii_uppercase()), "off")
        })
    }

    /// Runs it as another user, where the tests run as root.
    pub fn run_as(mut self, user: Option<User>) -> Self {
        unprivileged::run_as(&mut self.command, user);
        self
    }

    /// Sets the working directory.
    pub fn folder(mut self, folder: impl AsRef<Path>) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// `start` returns when a line of either output contains `text`.
    pub fn ready_on_line(mut self, text: &str) -> Self {
        self.ready = Ready::Line(text.to_owned());
        self
    }

    /// `start` returns when `GET /health/readiness` on `address` answers 200.
    pub fn ready_when_healthy(mut self, address: SocketAddr) -> Self {
        self.ready = Ready::Healthy(address);
        self
    }

    /// Starts it and waits until it is ready; panics with its output if it does not get ready.
    pub fn start(mut self) -> Server {
        let mut process = Supervised::new(None);
        self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = process.spawn(&mut self.command);
        let stdout = Capture::start(child.stdout.take().expect("standard output is a pipe"));
        let stderr = Capture::start(child.stderr.take().expect("standard error is a pipe"));
        let mut server = Server { process, status: None, stdout, stderr };
        server.wait_until(&self.ready);
        server
    }

    /// Runs a command to its end, with `input` as its standard input.
    pub fn run(self, input: impl AsRef<[u8]>) -> Finished {
        self.run_within(STOP_LIMIT, input)
    }

    /// Runs a command that may take as long as `limit`.
    pub fn run_within(mut self, limit: Duration, input: impl AsRef<[u8]>) -> Finished {
        let mut process = Supervised::new(None);
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = process.spawn(&mut self.command);
        let stdout = Capture::start(child.stdout.take().expect("standard output is a pipe"));
        let stderr = Capture::start(child.stderr.take().expect("standard error is a pipe"));
        let mut stdin = child.stdin.take().expect("standard input is a pipe");
        // A command that needs no input may have ended before.
        drop(stdin.write_all(input.as_ref()));
        drop(stdin);
        let status = wait::until(limit, || process.ended());
        let status = status.unwrap_or_else(|| panic!("{:?} did not end within {limit:?}", self.command));
        Finished { status, stdout: stdout.finish(), stderr: stderr.finish() }
    }
}

/// A running process with its output. Killed by its id when dropped, or when the test is killed.
#[derive(Debug)]
pub struct Server {
    process: Supervised,
    status: Option<ExitStatus>,
    stdout: Capture,
    stderr: Capture,
}

impl Server {
    /// `binary` without the tests' settings in its environment.
    pub fn builder(binary: impl AsRef<OsStr>) -> ServerBuilder {
        let mut command = Command::new(binary);
        for name in std::env::vars_os().map(|(name, _)| name).filter(ours) {
            command.env_remove(name);
        }
        ServerBuilder { command, ready: Ready::AtOnce }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its standard output up to now.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Its standard error up to now.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Sends any signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Pauses it (SIGSTOP).
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.process.resume();
    }

    /// SIGKILL, like a power failure; its output is complete afterwards.
    pub fn kill(&mut self) {
        self.status = self.status.or(self.process.kill());
        self.stdout.join();
        self.stderr.join();
    }

    /// Sends SIGTERM and returns the exit status; panics with its output if it does not end.
    pub fn terminate(&mut self) -> ExitStatus {
        if self.process.is_running() {
            self.process.resume();
            self.signal(Signal::TERM);
        }
        self.wait()
    }

    /// Waits for it to end by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let status = wait::until(STOP_LIMIT, || self.has_ended().then_some(self.status).flatten());
        status.unwrap_or_else(|| panic!("no end within {STOP_LIMIT:?}\n{}", self.output()))
    }

    /// Waits for a line with `text` in either output, and returns it.
    pub fn wait_for_line(&mut self, text: &str) -> String {
        let over = wait::until(START_LIMIT, || {
            let ended = self.has_ended();
            (ended || self.line_with(text).is_some()).then_some(())
        });
        over.and_then(|()| self.line_with(text))
            .unwrap_or_else(|| panic!("no line with {text:?} came ({:?})\n{}", self.status, self.output()))
    }

    fn wait_until(&mut self, ready: &Ready) {
        match ready {
            Ready::AtOnce => {}
            Ready::Line(text) => drop(self.wait_for_line(text)),
            Ready::Healthy(address) => self.wait_until_healthy(*address),
        }
    }

    fn wait_until_healthy(&mut self, address: SocketAddr) {
        let healthy = wait::until(START_LIMIT, || {
            if self.has_ended() {
                return Some(false);
            }
            is_healthy(address).unwrap_or(false).then_some(true)
        });
        assert!(healthy == Some(true), "not ready on {address} ({:?})\n{}", self.status, self.output());
    }

    fn has_ended(&mut self) -> bool {
        self.status = self.status.or_else(|| self.process.ended());
        if self.status.is_some() {
            // The output before its end must still be read.
            self.stdout.join();
            self.stderr.join();
        }
        self.status.is_some()
    }

    fn line_with(&self, text: &str) -> Option<String> {
        self.stdout.line_with(text).or_else(|| self.stderr.line_with(text))
    }

    fn output(&self) -> String {
        format!("standard output:\n{}\nstandard error:\n{}", self.stdout(), self.stderr())
    }
}

/// Reads a pipe to its end on a separate thread, so that the process never blocks on its output.
#[derive(Debug)]
struct Capture {
    text: Arc<Mutex<String>>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    fn start(pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::<Mutex<String>>::default();
        let shared = Arc::clone(&text);
        let thread = std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                lock(&shared).push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Self { text, thread: Some(thread) }
    }

    fn text(&self) -> String {
        lock(&self.text).clone()
    }

    fn line_with(&self, text: &str) -> Option<String> {
        lock(&self.text).lines().find(|line| line.contains(text)).map(str::to_owned)
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }

    fn finish(mut self) -> String {
        self.join();
        self.text()
    }
}

fn lock(text: &Mutex<String>) -> MutexGuard<'_, String> {
    text.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn ours(name: &OsString) -> bool {
    name.to_str().is_some_and(|name| OURS.iter().any(|ours| name.starts_with(ours)))
}

fn is_healthy(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    write!(stream, "GET /health/readiness HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer.starts_with(b"HTTP/1.1 200 "))
}
