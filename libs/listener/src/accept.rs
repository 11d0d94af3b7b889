//! Taking connections from a socket, and what to do when that fails.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::Stream;

/// Where connections come from.
pub trait Accept: Send + 'static {
    /// One connection.
    type Io: Stream;

    /// The next connection and its peer's address.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Self::Io, SocketAddr)>>;
}

impl Accept for TcpListener {
    type Io = TcpStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<(TcpStream, SocketAddr)>> {
        let (stream, peer) = ready!(Self::poll_accept(self, cx))?;
        // answers are written whole; where the option is refused they are only slower
        let _ = stream.set_nodelay(true);
        Poll::Ready(Ok((stream, peer)))
    }
}

const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// The growing wait after failures that are not one connection's: no file descriptors, no memory.
#[derive(Default)]
pub(super) struct Pause(Option<Duration>);

impl Pause {
    /// How long to wait after `why`, if at all; `why` itself when waiting does not help.
    pub(super) fn after(&mut self, why: Error) -> Result<Option<Duration>> {
        match why.kind() {
            ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted => Ok(None),
            // EINVAL: this is no listening socket (any more)
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
