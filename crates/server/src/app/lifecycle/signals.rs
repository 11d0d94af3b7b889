//! Signals of the operating system, or of a test. One list, for the server and for commands.
//!
//! - SIGTERM and SIGINT shut down; a second one stops at once, except within a quarter of a second: programs
//!   that pass signals on, as `timeout` does, send each twice. SIGPWR shuts down as well (the power fails, or
//!   `lxc-stop` asks), and SIGXCPU, which says that the limit of processor time is near: neither counts as a
//!   second one, as the kernel repeats SIGXCPU every second.
//! - SIGHUP reloads the configuration; a command ends.
//! - SIGXFSZ: the write beyond a limit of file sizes fails, as on a full disk. SIGPIPE is ignored by Rust's
//!   runtime: a write to a closed pipe fails.
//! - The other signals that would end the process, SIGUSR1 to the real-time ones, leave a line in the log.
//!   They mean nothing here, and tools send them to servers to which they mean "reopen the log" or "print the
//!   state".
//! - SIGSYS is blocked. So one that is sent has no effect, while one that the kernel raises, because a filter
//!   of seccomp refuses a call, ends the process all the same: it must not go on as if the call had
//!   succeeded.
//! - SIGQUIT and SIGABRT end the process at once, which is what they are sent for, and so do SIGILL, SIGTRAP,
//!   SIGBUS, SIGFPE and SIGSEGV, which faults raise.

use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal as Blocked};
use rustix::process::Signal as Number;
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The request of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Shut down; a second one stops at once.
    Stop,
    /// Reload the configuration.
    Reload,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// [`Signal::Stop`].
    Stop,
    /// [`Signal::Stop`], unless there was one.
    StopOnce,
    /// [`Signal::Reload`].
    Reload,
    /// Nothing: it is logged the first time.
    Nothing,
}

/// The signals that are handled, except the real-time ones.
const HANDLED: &[(Number, &str, Meaning)] = &[
    (Number::TERM, "SIGTERM", Meaning::Stop),
    (Number::INT, "SIGINT", Meaning::Stop),
    (Number::XCPU, "SIGXCPU", Meaning::StopOnce),
    #[cfg(target_os = "linux")]
    (Number::POWER, "SIGPWR", Meaning::StopOnce),
    (Number::HUP, "SIGHUP", Meaning::Reload),
    (Number::XFSZ, "SIGXFSZ", Meaning::Nothing),
    (Number::USR1, "SIGUSR1", Meaning::Nothing),
    (Number::USR2, "SIGUSR2", Meaning::Nothing),
    (Number::ALARM, "SIGALRM", Meaning::Nothing),
    (Number::VTALARM, "SIGVTALRM", Meaning::Nothing),
    (Number::PROF, "SIGPROF", Meaning::Nothing),
    (Number::IO, "SIGIO", Meaning::Nothing),
    #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
    (Number::STKFLT, "SIGSTKFLT", Meaning::Nothing),
];

/// A signal that follows the first one within this is the same one, sent twice.
const REPEATED_WITHIN: Duration = Duration::from_millis(250);

/// A source of signals.
#[derive(Debug)]
pub struct Signals(Kind);

#[derive(Debug)]
enum Kind {
    System { handled: Vec<Handled>, stopped: Option<Instant> },
    Channel(mpsc::Receiver<Signal>),
}

impl Signals {
    /// The operating system's signals; from now on they do not end the process by themselves.
    ///
    /// # Errors
    /// When a handler cannot be installed.
    pub fn system() -> io::Result<Self> {
        Self::except(0)
    }

    /// The operating system's signals without those in `ignored`, a mask as `/proc/self/status` has it: what
    /// started the process (`nohup`, a shell that puts it in the background) wants them to have no effect.
    ///
    /// # Errors
    /// When a handler cannot be installed.
    pub fn except(ignored: u64) -> io::Result<Self> {
        let named =
            HANDLED.iter().map(|(number, name, meaning)| (number.as_raw(), (*name).to_owned(), *meaning));
        let real_time = real_time().map(|(number, name)| (number, name, Meaning::Nothing));
        let is_wanted = |number: i32| {
            let bit = u32::try_from(number).unwrap_or(0).saturating_sub(1);
            ignored.checked_shr(bit).unwrap_or(0) & 1 == 0
        };
        let wanted = named.chain(real_time).filter(|(number, ..)| is_wanted(*number));
        // Profilers and debuggers keep real-time signals for themselves: those do not reach the process.
        let handled = wanted.map(Handled::system).filter(|handled| !handled.as_ref().is_err_and(is_reserved));
        Ok(Self(Kind::System { handled: handled.collect::<io::Result<_>>()?, stopped: None }))
    }

    /// A source fed through the returned sender; it ends when the sender is dropped.
    pub fn channel() -> (mpsc::Sender<Signal>, Self) {
        let (sender, receiver) = mpsc::channel(8);
        (sender, Self(Kind::Channel(receiver)))
    }

    /// The next signal. Cancel safe.
    pub async fn next(&mut self) -> Signal {
        self.numbered().await.0
    }

    /// The next signal, and its number. Cancel safe.
    pub async fn numbered(&mut self) -> (Signal, i32) {
        match &mut self.0 {
            Kind::System { handled, stopped } => loop {
                let (number, meaning) = next_of(handled).await;
                match meaning {
                    Meaning::StopOnce if stopped.is_some() => {}
                    Meaning::Stop if stopped.is_some_and(|at| at.elapsed() < REPEATED_WITHIN) => {}
                    Meaning::Stop | Meaning::StopOnce => {
                        *stopped = Some(Instant::now());
                        return (Signal::Stop, number);
                    }
                    Meaning::Reload => return (Signal::Reload, number),
                    Meaning::Nothing => {}
                }
            },
            Kind::Channel(receiver) => match receiver.recv().await {
                Some(Signal::Stop) => (Signal::Stop, Number::TERM.as_raw()),
                Some(Signal::Reload) => (Signal::Reload, Number::HUP.as_raw()),
                None => std::future::pending().await,
            },
        }
    }
}

/// The numbers of real-time signals, and their names as the shell has them.
#[cfg(target_os = "linux")]
fn real_time() -> impl Iterator<Item = (i32, String)> {
    let first = nix::libc::SIGRTMIN();
    (first..=nix::libc::SIGRTMAX()).map(move |number| (number, format!("SIGRTMIN+{}", number - first)))
}

/// The numbers of real-time signals: there are none.
#[cfg(not(target_os = "linux"))]
fn real_time() -> impl Iterator<Item = (i32, String)> {
    std::iter::empty()
}

/// Whether the system has this signal and does not give it to this process.
fn is_reserved(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput
}

/// What the whole process does about signals, from its first thread on, in which this is called: SIGSYS is
/// blocked.
pub fn block_sent_faults() {
    let mut set = SigSet::empty();
    set.add(Blocked::SIGSYS);
    // Without it such a signal ends the process, as it does by default.
    let _ = set.thread_block();
}

/// Has writes beyond a limit of file sizes fail, instead of ending the process. Takes effect until its end.
///
/// # Errors
/// When the handler cannot be installed.
pub fn survive_file_size_limit() -> io::Result<()> {
    unix::signal(SignalKind::from_raw(Number::XFSZ.as_raw())).map(drop)
}

/// A signal that does not end the process by itself.
#[derive(Debug)]
struct Handled {
    number: i32,
    name: String,
    meaning: Meaning,
    signal: unix::Signal,
    is_told: bool,
}

impl Handled {
    fn system((number, name, meaning): (i32, String, Meaning)) -> io::Result<Self> {
        let signal = unix::signal(SignalKind::from_raw(number))?;
        Ok(Self { number, name, meaning, signal, is_told: false })
    }

    fn tell(&mut self) {
        if self.meaning == Meaning::Nothing && !std::mem::replace(&mut self.is_told, true) {
            tracing::warn!(signal = self.name, "a signal without a meaning is ignored, and later ones too");
        }
    }
}

/// The next signal that came.
async fn next_of(handled: &mut [Handled]) -> (i32, Meaning) {
    poll_fn(|context| {
        for one in &mut *handled {
            if matches!(one.signal.poll_recv(context), Poll::Ready(Some(()))) {
                one.tell();
                return Poll::Ready((one.number, one.meaning));
            }
        }
        Poll::Pending
    })
    .await
}
