//! Signals of the operating system, or of a test.

use std::io;

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
    System { terminate: unix::Signal, interrupt: unix::Signal, hangup: unix::Signal },
    Channel(mpsc::Receiver<Signal>),
}

impl Signals {
    /// The operating system's signals; from now on they do not end the process by themselves.
    pub fn system() -> io::Result<Self> {
        Ok(Self(Kind::System {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hangup: unix::signal(SignalKind::hangup())?,
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
            Kind::System { terminate, interrupt, hangup } => tokio::select! {
                Some(()) = terminate.recv() => Signal::Stop,
                Some(()) = interrupt.recv() => Signal::Stop,
                Some(()) = hangup.recv() => Signal::Reload,
                else => std::future::pending().await,
            },
            Kind::Channel(receiver) => match receiver.recv().await {
                Some(signal) => signal,
                None => std::future::pending().await,
            },
        }
    }
}
