//! Signals of the operating system, or of a test.

use std::io;

use tokio::signal::unix::{self, SignalKind};
use tokio::sync::mpsc;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: shut down; a second one stops at once.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
}

/// Where signals come from.
#[derive(Debug)]
pub struct Signals(Kind);

#[derive(Debug)]
enum Kind {
    System { terminate: unix::Signal, interrupt: unix::Signal, hangup: unix::Signal },
    Channel(mpsc::Receiver<Signal>),
}

impl Signals {
    /// The operating system's; from now on they no longer end the process by themselves.
    pub fn system() -> io::Result<Self> {
        Ok(Self(Kind::System {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hangup: unix::signal(SignalKind::hangup())?,
        }))
    }

    /// What is sent through the other half; none any more when that is dropped.
    pub fn channel() -> (mpsc::Sender<Signal>, Self) {
        let (sender, receiver) = mpsc::channel(8);
        (sender, Self(Kind::Channel(receiver)))
    }

    /// The next signal. Nothing is lost when this future is dropped.
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
