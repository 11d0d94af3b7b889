//! Signals of the operating system, or of a test.
//!
//! - SIGTERM and SIGINT shut down; a second one stops at once. SIGHUP reloads the configuration.
//! - SIGXFSZ: the write beyond a limit of file sizes fails, as on a full disk; in commands too. SIGPIPE is
//!   ignored by Rust's runtime: a write to a closed pipe fails.
//! - SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF and SIGIO leave a line in the log. They mean nothing here,
//!   and tools send them to servers to which they mean "reopen the log" or "print the state".
//! - SIGQUIT, SIGABRT, SIGXCPU and the others end the process at once, which is what they are sent for.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::task::Poll;

use rustix::process::Signal as Number;
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::mpsc;

/// The request of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: shut down; a second one stops at once.
    Stop,
    /// SIGHUP: reload the configuration.
    Reload,
}

/// A source of signals.
#[derive(Debug)]
pub struct Signals(Kind);

#[derive(Debug)]
enum Kind {
    System { terminate: unix::Signal, interrupt: unix::Signal, hangup: unix::Signal, ignored: Vec<Ignored> },
    Channel(mpsc::Receiver<Signal>),
}

impl Signals {
    /// The operating system's signals; from now on they do not end the process by themselves.
    pub fn system() -> io::Result<Self> {
        Ok(Self(Kind::System {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hangup: unix::signal(SignalKind::hangup())?,
            ignored: IGNORED.iter().map(Ignored::system).collect::<io::Result<_>>()?,
        }))
    }

    /// A source fed through the returned sender; it ends when the sender is dropped.
    pub fn channel() -> (mpsc::Sender<Signal>, Self) {
        let (sender, receiver) = mpsc::channel(8);
        (sender, Self(Kind::Channel(receiver)))
    }

    /// The next signal. Cancel safe.
    pub async fn next(&mut self) -> Signal {
        match &mut self.0 {
            Kind::System { terminate, interrupt, hangup, ignored } => tokio::select! {
                Some(()) = terminate.recv() => Signal::Stop,
                Some(()) = interrupt.recv() => Signal::Stop,
                Some(()) = hangup.recv() => Signal::Reload,
                never = report(ignored) => match never {},
                else => std::future::pending().await,
            },
            Kind::Channel(receiver) => match receiver.recv().await {
                Some(signal) => signal,
                None => std::future::pending().await,
            },
        }
    }
}

/// Signals that would end the process, with their names.
const IGNORED: [(Number, &str); 7] = [
    (Number::XFSZ, "SIGXFSZ"),
    (Number::USR1, "SIGUSR1"),
    (Number::USR2, "SIGUSR2"),
    (Number::ALARM, "SIGALRM"),
    (Number::VTALARM, "SIGVTALRM"),
    (Number::PROF, "SIGPROF"),
    (Number::IO, "SIGIO"),
];

/// Has writes beyond a limit of file sizes fail, instead of ending the process. Takes effect until its end.
///
/// # Errors
/// When the handler cannot be installed.
pub fn survive_file_size_limit() -> io::Result<()> {
    unix::signal(SignalKind::from_raw(Number::XFSZ.as_raw())).map(drop)
}

/// A signal that does nothing, and is logged the first time.
#[derive(Debug)]
struct Ignored {
    name: &'static str,
    signal: unix::Signal,
    is_told: bool,
}

impl Ignored {
    fn system((number, name): &(Number, &'static str)) -> io::Result<Self> {
        let signal = unix::signal(SignalKind::from_raw(number.as_raw()))?;
        Ok(Self { name, signal, is_told: false })
    }
}

/// Logs signals that are ignored; never completes.
async fn report(ignored: &mut [Ignored]) -> Infallible {
    poll_fn(|context| {
        for one in &mut *ignored {
            while matches!(one.signal.poll_recv(context), Poll::Ready(Some(()))) {
                if !std::mem::replace(&mut one.is_told, true) {
                    tracing::warn!(
                        signal = one.name,
                        "a signal without a meaning is ignored, and later ones too"
                    );
                }
            }
        }
        Poll::Pending
    })
    .await
}
