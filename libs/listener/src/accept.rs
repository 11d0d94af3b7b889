//! Accepts connections from a socket, and waits when accepting fails.

use std::io::{Error, ErrorKind, Result};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::{Peer, Stream};

/// A source of connections.
pub trait Accept: Send + 'static {
    /// One connection.
    type Io: Stream;

    /// Polls for the next connection and its peer.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] ends [`serve`](crate::serve). The listener goes on after every other
    /// error: at once when the error concerns a single connection, else after a pause.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Self::Io, Peer)>>;
}

impl Accept for TcpListener {
    type Io = TcpStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<(TcpStream, Peer)>> {
        let (stream, peer) = ready!(Self::poll_accept(self, cx))?;
        // Responses are written whole. Where the system refuses the option they are only slower.
        let _ = stream.set_nodelay(true);
        Poll::Ready(Ok((stream, Peer::Address(peer))))
    }
}

/// The shortest and the longest pause after a failure.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// The pause after failures that do not concern a single connection, such as a lack of file descriptors or of
/// memory. It doubles with each failure.
#[derive(Default)]
pub(super) struct Pause(Option<Duration>);

impl Pause {
    /// Returns how long to wait after the failure `why`: `None` when it concerned a single connection, and
    /// `why` itself when accepting cannot succeed again.
    pub(super) fn after(&mut self, why: Error) -> Result<Option<Duration>> {
        match why.kind() {
            ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted => Ok(None),
            // EINVAL: the socket does not listen, or no longer does.
            ErrorKind::InvalidInput => Err(why),
            _ => {
                let wait = match self.0 {
                    None => {
                        tracing::warn!(error = %why, "no connection can be accepted; trying again");
                        PAUSE.0
                    }
                    Some(last) => last.saturating_mul(2).min(PAUSE.1),
                };
                self.0 = Some(wait);
                Ok(Some(wait))
            }
        }
    }
}
