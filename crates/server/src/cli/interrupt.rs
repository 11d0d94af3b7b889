//! Signals that end a command. All commands pass through here: none dies between a record and the signature
//! of its end.
//!
//! A command that records nothing ends at once. From the opening of the audit trail to its closing the first
//! signal is only noted: the command finishes what it does, or stops between two steps where it looks for the
//! signal, and signs its end; a second signal ends it at once. Either way the exit status is 128 and the
//! number of the signal, as shells show it, and a terminal is left as it was. So it is by SIGQUIT, which ends
//! a command at once, and while SIGTSTP (Ctrl-Z) stops it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal as Stop, raise};
use rustix::process::{Pid, Signal as Number, getpgid, getppid, getsid};
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::Notify;

use super::Failure;
use super::secret::Silence;
use crate::app::lifecycle::Signals;

/// The exit status of a process that a signal has ended is this and the signal's number, as shells show it.
const BY_SIGNAL: u8 = 128;
/// How often a command that waits for input looks for a signal.
const LOOK: Duration = Duration::from_millis(20);

/// The signals that came. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Interrupt(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    is_free: Notify,
}

#[derive(Default)]
struct State {
    /// The exit status after the first signal; 0 before.
    status: u8,
    /// How many audit trails are open.
    held: usize,
    /// A terminal whose echo is off.
    silence: Option<Silence>,
    /// Files that are of no use unless they are whole.
    unfinished: Vec<PathBuf>,
}

impl State {
    /// Ends the process by a signal: the terminal is left as it was, and no half-written file.
    fn end(&mut self, status: u8) -> ! {
        drop(self.silence.take());
        for file in &self.unfinished {
            // It may not be there yet.
            let _ = fs::remove_file(file);
        }
        std::process::exit(i32::from(status))
    }
}

/// A file that is being written: a signal that ends the process before it is dropped removes it.
pub(super) struct Unfinished(Interrupt, PathBuf);

/// An open audit trail: until it is dropped, the first signal does not end the process.
pub(super) struct Held(Interrupt);

/// Gives a terminal its echo back when it is dropped.
pub(super) struct Silenced(Interrupt);

impl Interrupt {
    /// From now on a signal does not end the process by itself. Signals that what started the process wants
    /// ignored, as `nohup` does, stay so.
    pub(super) fn watch() -> io::Result<Self> {
        let interrupt = Self::default();
        let (ready, is_ready) = channel();
        let known = interrupt.clone();
        // A thread of its own: the command may be blocked in a read.
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            if let Err(why) = known.receive(&ready) {
                // The command waits for it.
                let _ = ready.send(Err(why));
            }
        })?;
        is_ready.recv().map_err(io::Error::other)??;
        Ok(interrupt)
    }

    fn receive(&self, ready: &Sender<io::Result<()>>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let ignored = ignored();
            let mut signals = Signals::except(ignored)?;
            let mut quit = of_terminal(Number::QUIT, ignored)?;
            let mut stop = of_terminal(Number::TSTP, ignored)?;
            // The command may have ended meanwhile.
            let _ = ready.send(Ok(()));
            loop {
                let number = tokio::select! {
                    (_, number) = signals.numbered() => number,
                    () = next_of(&mut quit) => self.state().end(status_of(Number::QUIT.as_raw())),
                    () = next_of(&mut stop) => {
                        self.stop();
                        continue;
                    }
                };
                self.came(status_of(number));
            }
        })
    }

    /// Stops the process as SIGTSTP does by default, and gives the terminal its echo meanwhile.
    fn stop(&self) {
        if !can_be_continued() {
            return;
        }
        let state = self.state();
        if let Some(silence) = &state.silence {
            silence.end();
        }
        // To this thread, so that it goes on only when the process is continued.
        let _ = raise(Stop::SIGSTOP);
        if let Some(silence) = &state.silence {
            // A terminal that is gone is noticed by the read.
            let _ = silence.begin();
        }
    }

    fn came(&self, status: u8) {
        let mut state = self.state();
        if state.held == 0 || state.status > 0 {
            // The lock is held: no trail is opened any more.
            state.end(status);
        }
        state.status = status;
        tracing::warn!("a signal came: the command ends after this step, and at once after a second one");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that an audit trail is open.
    pub(super) fn hold(&self) -> Held {
        self.state().held += 1;
        Held(self.clone())
    }

    /// Notes that a file is being written.
    pub(super) fn unfinished(&self, file: &Path) -> Unfinished {
        self.state().unfinished.push(file.to_owned());
        Unfinished(self.clone(), file.to_owned())
    }

    /// Turns off a terminal's echo; a signal that ends the process turns it on again.
    ///
    /// # Errors
    /// That of the terminal.
    pub(super) fn silence(&self, terminal: &File) -> io::Result<Silenced> {
        // The lock is held: no signal ends the process in between.
        self.state().silence = Some(Silence::on(terminal)?);
        Ok(Silenced(self.clone()))
    }

    /// Between two steps of a command.
    ///
    /// # Errors
    /// When a signal came.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match self.state().status {
            0 => Ok(()),
            status => Err(Failure::interrupted(status)),
        }
    }

    /// Reads input, which may never come.
    ///
    /// # Errors
    /// That of `read`, or when a signal came first.
    pub(super) fn reading<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (tell, told) = channel();
        // Where a signal comes first, the thread ends with the process.
        let begun = thread::Builder::new().name("input".to_owned()).spawn(move || {
            // The command may have ended meanwhile.
            let _ = tell.send(read());
        });
        begun.map_err(|why| Failure::failed(format!("no thread can be started: {why}")))?;
        loop {
            match told.recv_timeout(LOOK) {
                Ok(read) => return read,
                Err(RecvTimeoutError::Timeout) => self.check()?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::failed("the input cannot be read"));
                }
            }
        }
    }

    /// Runs a command to its end, or until its audit trail is closed after a signal; what it did then counts
    /// as ended by the signal.
    pub(super) async fn run(
        &self,
        command: impl Future<Output = Result<(), Failure>>,
    ) -> Result<(), Failure> {
        let ended = tokio::select! {
            biased;
            () = self.0.is_free.notified() => Ok(()),
            ended = command => ended,
        };
        match (self.state().status, ended) {
            (0, ended) => ended,
            (status, Ok(())) => Err(Failure::interrupted(status)),
            (status, Err(failure)) => Err(failure.by_signal(status)),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.held = state.held.saturating_sub(1);
        if state.held == 0 && state.status > 0 {
            self.0.0.is_free.notify_one();
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.0.state().unfinished.retain(|file| *file != self.1);
    }
}

impl Drop for Silenced {
    fn drop(&mut self) {
        drop(self.0.state().silence.take());
    }
}

fn status_of(number: i32) -> u8 {
    BY_SIGNAL.saturating_add(u8::try_from(number).unwrap_or_default())
}

/// A signal that a terminal sends, unless it was ignored at the start.
fn of_terminal(number: Number, ignored: u64) -> io::Result<Option<unix::Signal>> {
    let bit = u32::try_from(number.as_raw()).unwrap_or(0).saturating_sub(1);
    if ignored.checked_shr(bit).unwrap_or(0) & 1 == 1 {
        return Ok(None);
    }
    unix::signal(SignalKind::from_raw(number.as_raw())).map(Some)
}

/// Whether a shell can continue this process: one in its session, above its process group. Without it the
/// system ignores SIGTSTP (POSIX: an orphaned process group), as in a container that is one command.
fn can_be_continued() -> bool {
    let (Ok(group), Ok(session)) = (getpgid(None), getsid(None)) else { return false };
    let mut above = getppid();
    while let Some(pid) = above {
        if getsid(Some(pid)) != Ok(session) {
            return false;
        }
        if getpgid(Some(pid)) != Ok(group) {
            return true;
        }
        let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        above = parent.and_then(|parent| Pid::from_raw(parent.trim().parse().ok()?));
    }
    false
}

async fn next_of(signal: &mut Option<unix::Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// The signals that were ignored at the start, as a mask; none where the system does not tell.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
