//! Signals that stop a long command between two steps.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

/// The exit status of a process that a signal has ended is this and the signal's number, as shells show it.
const BY_SIGNAL: u8 = 128;

/// SIGINT, SIGTERM and SIGHUP, which a command looks for between its steps.
pub(super) struct Interrupt(Arc<AtomicU8>);

impl Interrupt {
    /// From now on a signal does not end the process by itself; a second one ends it at once.
    pub(super) fn watch() -> io::Result<Self> {
        let received = Arc::new(AtomicU8::new(0));
        let (ready, is_ready) = channel();
        let known = Arc::clone(&received);
        // A thread of its own: the command may be blocked in a read.
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            if let Err(why) = receive(&known, &ready) {
                // The command waits for it.
                let _ = ready.send(Err(why));
            }
        })?;
        is_ready.recv().map_err(io::Error::other)??;
        Ok(Self(received))
    }

    /// The exit status after the signal that came, if one did.
    pub(super) fn status(&self) -> Option<u8> {
        Some(self.0.load(Ordering::Relaxed)).filter(|status| *status > 0)
    }
}

fn receive(received: &AtomicU8, ready: &Sender<io::Result<()>>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        // The command may have ended meanwhile.
        let _ = ready.send(Ok(()));
        loop {
            let kind = tokio::select! {
                _ = interrupt.recv() => SignalKind::interrupt(),
                _ = terminate.recv() => SignalKind::terminate(),
                _ = hangup.recv() => SignalKind::hangup(),
            };
            let number = u8::try_from(kind.as_raw_value()).unwrap_or_default();
            let status = BY_SIGNAL.saturating_add(number);
            if received.swap(status, Ordering::Relaxed) > 0 {
                std::process::exit(i32::from(status));
            }
            tracing::warn!(
                "a signal came: the command stops after this step, and at once after a second one"
            );
        }
    })
}
